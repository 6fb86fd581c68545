package org.dblock.backend.s3;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * What may be found on a volume. Each session of an owner finds what the session before it in the order of epochs left:
 * all that it wrote up to some operation, which is not older than what was promised for what has happened since.
 */
final class History {
    private final long[] begin;
    private final List<Session> sessions = new ArrayList<>();
    private final List<Header> takeovers = new ArrayList<>();
    int openings;
    int operations;

    /** A host with a disk. */
    static final class Host {
        final String name;
        SimDisk disk;
        int crashes;
        int wipes;

        Host(String name, SimDisk disk) {
            this.name = name;
            this.disk = disk;
        }
    }

    private record Operation(int lba, int count, long id) {}

    /** What one owner did. */
    final class Session {
        final Host host;
        final long epoch;
        final int crashes;
        final int wipes;
        Session before;
        /** What it found; null: it never got to know. */
        long[] base;

        private final List<Operation> operations = new ArrayList<>();
        private int acknowledged;
        // -1: not even what it found; that may still be nowhere but in the journal's unsynced pages
        private int synced = -1;
        private int remote = -1;
        /** How many operations of the session from which it begins it found. */
        private int foundAt;

        private Session from;
        private int limit = Integer.MAX_VALUE;
        private boolean overtaken;
        boolean released;
        boolean fenced;

        Session(Host host, long epoch) {
            this.host = host;
            this.epoch = epoch;
            crashes = host.crashes;
            wipes = host.wipes;
        }

        private void overtakenBy(Header takeover) {
            if (epoch < takeover.epoch && !host.name.equals(takeover.host)) overtaken = true;
        }

        /** Begins an operation; its number is for {@link #done}. */
        int begin(int lba, int count, long id) {
            operations.add(new Operation(lba, count, id));
            return operations.size();
        }

        int count() {
            return operations.size();
        }

        void done(int operation) {
            expectAlive();
            acknowledged = Math.max(acknowledged, operation);
            History.this.operations++;
        }

        void synced(int operation) {
            expectAlive();
            synced = Math.max(synced, operation);
        }

        void remote(int operation) {
            expectAlive();
            remote = Math.max(remote, operation);
            if (operation > limit)
                throw new AssertionError(this + " acknowledged a remote flush of " + operation
                        + " operations, but the next owner found " + limit);
        }

        private void expectAlive() {
            if (fenced) throw new AssertionError(this + " acknowledged something after it was fenced");
        }

        long[] now() {
            return after(operations.size());
        }

        private long[] after(int count) {
            long[] content = base.clone();
            for (Operation o : operations.subList(0, count)) Arrays.fill(content, o.lba, o.lba + o.count, o.id);
            return content;
        }

        @Override
        public String toString() {
            return "the owner " + host.name + " of epoch " + epoch;
        }
    }

    /** @param begin what the volume begins with */
    History(long[] begin) {
        this.begin = begin;
    }

    /** Is told of each takeover that reaches the log. */
    void taken(Header takeover) {
        takeovers.add(takeover);
        for (Session session : sessions) session.overtakenBy(takeover);
    }

    /** A gateway became the owner, and doesn't know yet what it finds. */
    Session opened(Host host, long epoch) {
        Session session = new Session(host, epoch);
        takeovers.forEach(session::overtakenBy); // it may have slept since its own
        for (Session other : sessions) {
            if (other.epoch == epoch) throw new AssertionError("two owners of epoch " + epoch);
            if (other.epoch < epoch && (session.before == null || other.epoch > session.before.epoch))
                session.before = other;
            if (other.epoch > epoch) session.limit = 0;
        }
        sessions.add(session);
        openings++;
        return session;
    }

    /** Checks what an owner found. */
    void found(Session session, long[] content, boolean forced) {
        session.base = content;
        Session before = session.before;
        while (before != null && before.base == null) before = before.before;
        if (before == null) {
            if (!Arrays.equals(content, begin))
                throw new AssertionError(
                        "a new volume holds " + Arrays.toString(content) + " instead of " + Arrays.toString(begin));
            return;
        }
        int most = before.count();
        while (true) {
            int promised = promised(before, session, forced);
            for (int k = most; k >= Math.max(0, promised); k--) {
                if (!Arrays.equals(content, before.after(k))) continue;
                before.limit = Math.min(before.limit, k);
                session.foundAt = k;
                session.from = before;
                return;
            }
            if (promised >= 0 || before.from == null) throw lost(session, content, before, promised);
            // what this one found had not been stored either
            before.limit = -1;
            most = before.foundAt;
            before = before.from;
        }
    }

    private static int promised(Session before, Session session, boolean forced) {
        if (!forced && before.host != session.host && !before.overtaken) return before.acknowledged;
        if (before.host != session.host || before.wipes != session.host.wipes || before.overtaken) return before.remote;
        return Math.max(before.remote, before.crashes == session.host.crashes ? before.acknowledged : before.synced);
    }

    private static AssertionError lost(Session session, long[] content, Session before, int promised) {
        for (int k = before.count(); k >= 0; k--)
            if (Arrays.equals(content, before.after(k)))
                return new AssertionError(session + " found " + k + " operations of " + before + ", which had promised "
                        + promised + " of " + before.count());
        return new AssertionError(session + " found " + Arrays.toString(content) + ", no state of " + before + " with "
                + before.count() + " operations, last " + Arrays.toString(before.now()) + ", promised " + promised);
    }
}
