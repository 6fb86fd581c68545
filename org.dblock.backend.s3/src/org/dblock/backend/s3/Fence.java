package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/**
 * Reads a volume's state from the bucket, and makes this gateway its one owner: by a TAKEOVER in the next slot of the
 * log, where the old owner's next put will fail. No lease, no clock. Step by step in docs/s3-format.md.
 */
final class Fence {
    private static final System.Logger LOG = System.getLogger(Fence.class.getName());
    private static final int FIRST_READ = 64 << 10;
    private static final int MOST_ATTEMPTS = 100;
    private static final int LOSSES = 3;
    private static final int READERS = 8;

    private final Bucket bucket;
    private final Keys keys;
    private final Format format;
    private final Checkpoints checkpoints;
    private final Scheduler scheduler;
    private final Settings settings;
    private final Rules rules;

    /** Is asked before each takeover whether the present owner may be displaced, and prepares the journal. */
    interface Admission {
        /** Returns the nonce of the owner to be, which the journal knows by now. */
        long admit(State state) throws IOException;
    }

    Fence(
            Bucket bucket,
            Keys keys,
            Format format,
            Checkpoints checkpoints,
            Scheduler scheduler,
            Settings settings,
            Rules rules) {
        this.bucket = bucket;
        this.keys = keys;
        this.format = format;
        this.checkpoints = checkpoints;
        this.scheduler = scheduler;
        this.settings = settings;
        this.rules = rules;
    }

    /** A state together with the root from which it was read. */
    record Reading(String root, State state) {}

    /**
     * Reads the state at the end of the log; what it names was there when the reading began. A root that is damaged is
     * made up for by the one before it, from which the log leads to the same state.
     */
    Reading read() throws IOException {
        IOException last = null;
        for (int attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
            String root = checkpoints.newest();
            State state = null;
            try {
                state = from(root);
                last = null;
            } catch (ObjectStore.Missing | Corruption e) {
                // with an owner at work this may be one of its deletions; without, it is real
                if (last != null && last.getMessage().equals(e.getMessage()) && attempt > LOSSES) {
                    state = around(root, e);
                    last = null;
                } else {
                    last = e;
                }
            }
            if (rules.unchangedBefore(root, checkpoints.newest()) && last == null) return new Reading(root, state);
        }
        throw new BlockException(
                Reason.IN_USE,
                "volume " + format.volume() + " changes too fast to be read: stop its owner, or try again");
    }

    /** Reads the state from a root on; from an empty volume where it is empty. */
    private State from(String root) throws IOException {
        State state = root.isEmpty() ? checkpoints.first(format) : checkpoints.load(root);
        replay(state);
        return state;
    }

    /** Reads the state without a root that doesn't serve: from an older one, if the log still has all that follows. */
    private State around(String damaged, IOException damage) throws IOException {
        Corruption refusal = new Corruption("volume " + format.volume() + " is damaged: " + damage.getMessage());
        if (damaged.isEmpty()) throw refusal;
        List<String> older = new ArrayList<>();
        for (ObjectStore.Item root : bucket.list(keys.roots(), damaged, 2, settings.patienceNanos()))
            older.add(root.key());
        older.add("");
        for (String root : older) {
            try {
                State state = from(root);
                if (state.slot < Keys.rootSlot(damaged)) continue;
                LOG.log(
                        System.Logger.Level.ERROR,
                        refusal.getMessage() + "; it was read from " + (root.isEmpty() ? "the beginning" : root)
                                + " instead, and nothing of it is lost");
                return state;
            } catch (ObjectStore.Missing | Corruption e) {
                refusal.addSuppressed(e);
            }
        }
        throw refusal;
    }

    /** A state as far as the log leads from a root without a fault, and that fault. */
    record Partial(State state, IOException fault) {}

    /** Reads as much as can be read of a volume that {@link #read} refuses; null: a clone of which nothing can. */
    Partial readable() throws IOException {
        Partial best = null;
        List<String> roots = new ArrayList<>();
        for (ObjectStore.Item root : bucket.list(keys.roots(), "", 3, settings.patienceNanos())) roots.add(root.key());
        roots.add("");
        for (String root : roots) {
            State state = null;
            IOException fault = null;
            try {
                state = root.isEmpty() ? checkpoints.first(format) : checkpoints.load(root);
                replay(state);
            } catch (ObjectStore.Missing | Corruption e) {
                fault = e;
            }
            if (state != null && (best == null || state.slot > best.state.slot)) best = new Partial(state, fault);
        }
        return best;
    }

    /** Takes the volume: returns the state of which this gateway is the owner. */
    State take(Admission admission) throws IOException {
        int losses = 0;
        for (int attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
            Reading reading = read();
            State state = reading.state;
            long nonce = admission.admit(state);
            // not more: what lies beyond the window tells readers that something is missing
            int width = losses < LOSSES ? 1 : format.window();
            if (!takeover(state, nonce, width)) {
                losses++;
                continue;
            }
            if (rules.unchangedAfter(reading.root, checkpoints.newest())) return state;
        }
        throw new BlockException(
                Reason.IN_USE,
                "volume " + format.volume()
                        + " is written to faster than it can be taken over: stop its owner, or try again");
    }

    /**
     * Puts takeovers into the next {@code width} slots; returns whether the volume is ours, and then has it applied.
     */
    private boolean takeover(State state, long nonce, int width) throws IOException {
        Header[] mine = new Header[width];
        int[] crc = {state.crc};
        for (int i = 0; i < width; i++) mine[i] = header(state, nonce, state.slot + 1 + i, crc[0]);
        // the highest first: an owner that is faster than we are runs into one of them
        boolean[] won = new boolean[width];
        for (int i = width - 1; i >= 0; i--) {
            ByteBuffer body = ByteBuffer.allocate(Header.BLOCK);
            mine[i].encode(body);
            won[i] = bucket.putIfAbsent(keys.log(mine[i].slot), body.flip(), settings.patienceNanos());
        }
        long epoch = state.epoch;
        for (int i = 0; i < width; i++) {
            Header found = mine[i];
            if (!won[i]) {
                try {
                    found = readHeader(bucket, keys.log(mine[i].slot), settings.patienceNanos());
                } catch (ObjectStore.Missing e) {
                    return false; // deleted since: the state is old
                }
                won[i] = rules.isOwn(mine[i], found);
            }
            // of an opening of ours that had no answer: read again
            if (!won[i] && found.nonce == nonce) return false;
            if (!won[i] && found.type == Header.Type.TAKEOVER)
                throw new BlockException(
                        Reason.IN_USE,
                        "volume " + format.volume() + " was just taken over by " + found.host + " at "
                                + Instant.ofEpochMilli(found.time));
            if (won[i]) {
                // each names the header before the first as its previous one, unless it is the first
                check(state, mine[i], mine[i].objectBytes(), true);
                state.apply(mine[i]);
                return true;
            }
            check(state, found, found.objectBytes(), false);
            if (found.epoch != epoch) return false;
            state.apply(found);
        }
        return false;
    }

    private Header header(State state, long nonce, long slot, int previousCrc) {
        Header header = new Header();
        header.type = Header.Type.TAKEOVER;
        header.volume = format.volume();
        header.slot = slot;
        header.epoch = state.epoch + 1;
        header.nonce = nonce;
        header.previousCrc = previousCrc;
        header.lastRecord = state.lastRecord;
        header.argument = rules.resumeAt(slot, format.window());
        header.time = scheduler.millis();
        header.host = settings.host();
        return header;
    }

    /** Applies the objects of the log that follow a state, to the last without a gap. */
    private void replay(State state) throws IOException {
        long seen = state.slot;
        String after = keys.log(state.slot);
        long first = state.slot;
        while (true) {
            List<ObjectStore.Item> items = bucket.list(keys.logs(), after, 1000, settings.patienceNanos());
            Object[] headers = headers(items);
            for (int i = 0; i < headers.length; i++) {
                ObjectStore.Item item = items.get(i);
                long slot = Keys.slot(item.key());
                seen = slot;
                after = item.key();
                if (headers[i] instanceof IOException e && !(e instanceof Corruption && slot <= state.slot)) throw e;
                if (slot <= state.slot) {
                    orphan(state, slot, headers[i]);
                } else if (slot == state.slot + 1) {
                    Header header = (Header) headers[i];
                    check(state, header, item.size(), header.type == Header.Type.TAKEOVER);
                    state.apply(header);
                } else {
                    after = keys.log(state.slot); // a gap: it may be filled by now
                    break;
                }
            }
            if (items.size() == 1000 && seen <= state.slot) continue;
            if (seen <= state.slot || state.slot == first) break;
            first = state.slot;
        }
        if (seen <= state.slot) return;
        for (ObjectStore.Item item : bucket.list(keys.logs(), keys.log(state.slot), 1000, settings.patienceNanos()))
            if (rules.beyondWindow(Keys.slot(item.key()), state.slot, format.window()))
                throw new Corruption("log slot " + (state.slot + 1) + " is missing, but there is a slot "
                        + Keys.slot(item.key()) + ": it has been there, and was deleted or lost");
    }

    /** An object in a slot that a takeover made void: nothing needs it, unless it is a takeover. */
    private static void orphan(State state, long slot, Object header) {
        if (header instanceof Header found && found.type != Header.Type.TAKEOVER)
            state.add(slot, new State.Stored(found.headerBlocks(), found.payloadCrc.length, found.crc, 0));
    }

    /** Reads the headers of some objects, several at a time; each a {@link Header} or the failure. */
    private Object[] headers(List<ObjectStore.Item> items) throws IOException {
        Object[] headers = new Object[items.size()];
        int[] next = new int[2];
        int readers = Math.min(READERS, items.size());
        for (int r = 0; r < readers; r++) scheduler.run("header", () -> readSome(items, headers, next));
        scheduler.lock();
        while (next[1] < items.size()) scheduler.await(1_000_000_000L);
        scheduler.unlock();
        return headers;
    }

    private void readSome(List<ObjectStore.Item> items, Object[] headers, int[] next) {
        while (true) {
            scheduler.lock();
            int i = next[0]++;
            scheduler.unlock();
            if (i >= headers.length) return;
            Object result;
            try {
                result = readHeader(bucket, items.get(i).key(), settings.patienceNanos());
            } catch (IOException e) {
                result = e;
            } catch (RuntimeException | Error e) {
                result = new IOException(e);
            }
            scheduler.lock();
            headers[i] = result;
            next[1]++;
            scheduler.signal();
            scheduler.unlock();
        }
    }

    /** Checks that a header continues the log at a state. */
    private void check(State state, Header header, long size, boolean takeover) throws Corruption {
        String what = "log slot " + (state.slot + 1);
        if (!header.volume.equals(format.volume())) throw new Corruption(what + " is of volume " + header.volume);
        if (header.slot != state.slot + 1) throw new Corruption(what + " holds slot " + header.slot);
        if (size != header.objectBytes())
            throw new Corruption(what + " has " + size + " bytes instead of " + header.objectBytes());
        if (takeover) {
            if (header.epoch <= state.epoch || header.argument <= header.slot)
                throw new Corruption(what + " is a takeover to epoch " + header.epoch + " after " + state.epoch);
        } else {
            if (header.epoch != state.epoch || header.nonce != state.nonce)
                throw new Corruption(what + " is of epoch " + header.epoch + ", but the owner's is " + state.epoch);
            if (header.previousCrc != state.crc) throw new Corruption(what + " doesn't follow the object before it");
        }
    }

    /** Reads the header of a log object and checks its CRC. */
    static Header readHeader(Bucket bucket, String key, long patience) throws IOException {
        try {
            ByteBuffer in = bucket.get(key, 0, FIRST_READ, patience);
            int length = Header.length(in);
            if (length > in.limit() && in.limit() == FIRST_READ) in = bucket.get(key, 0, length, patience);
            return Header.decode(in);
        } catch (Corruption e) {
            throw new Corruption(key + ": " + e.getMessage());
        }
    }
}
