package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/** One volume's way to the object store: repeats what failed, with growing pauses and full jitter. */
final class Bucket {
    /** For ever. */
    static final long EVER = Long.MAX_VALUE;

    private static final long FIRST_PAUSE = 50_000_000L;
    private static final long LONGEST_PAUSE = 10_000_000_000L;
    /** For how long trouble is nothing to tell of. */
    private static final long QUIET = 2_000_000_000L;

    /** What takes longer is slow. */
    private static final long SLOW = 2_000_000_000L;

    static final String HEALTHY = "healthy";

    private static final System.Logger LOG = System.getLogger(Bucket.class.getName());

    private final ObjectStore store;
    private final Scheduler scheduler;
    private final String volume;
    private String trouble = "";
    /** How many requests are being repeated: while one is, another's success doesn't end the trouble. */
    private int repeating;

    private long troubleSince;
    private boolean told;
    /** How many calls are under way, since when there was no answer while some were, and the usual time of one. */
    private int calls;

    private long unanswered;
    private double usual;
    private boolean ending;

    private interface Call<T> {
        T run() throws IOException;
    }

    Bucket(ObjectStore store, Scheduler scheduler, String volume) {
        this.store = store;
        this.scheduler = scheduler;
        this.volume = volume;
    }

    /** See {@link ObjectStore#putIfAbsent}; after a repeated try false may mean that this very put had taken effect. */
    boolean putIfAbsent(String key, ByteBuffer body, long patience) throws IOException {
        return repeat(() -> store.putIfAbsent(key, body.duplicate()), patience);
    }

    /** Reads up to {@code length} bytes of an object; fewer where it ends. */
    ByteBuffer get(String key, long offset, int length, long patience) throws IOException {
        return repeat(
                () -> {
                    ByteBuffer into = ByteBuffer.allocate(length);
                    store.get(key, offset, into);
                    return into.flip();
                },
                patience);
    }

    List<ObjectStore.Item> list(String prefix, String after, int most, long patience) throws IOException {
        return repeat(() -> store.list(prefix, after, most), patience);
    }

    /** All objects whose keys begin with a prefix. */
    List<ObjectStore.Item> listAll(String prefix, long patience) throws IOException {
        List<ObjectStore.Item> all = new ArrayList<>();
        String after = "";
        while (true) {
            List<ObjectStore.Item> some = list(prefix, after, 1000, patience);
            all.addAll(some);
            if (some.size() < 1000) return all;
            after = some.get(some.size() - 1).key();
        }
    }

    /** Whether an object is there. */
    boolean exists(String key, long patience) throws IOException {
        List<ObjectStore.Item> first = list(key, "", 1, patience);
        return !first.isEmpty() && first.get(0).key().equals(key);
    }

    void delete(List<String> keys, long patience) throws IOException {
        for (int i = 0; i < keys.size(); i += 1000) {
            List<String> some = keys.subList(i, Math.min(keys.size(), i + 1000));
            repeat(
                    () -> {
                        store.delete(some);
                        return null;
                    },
                    patience);
        }
    }

    private <T> T repeat(Call<T> call, long patience) throws IOException {
        long start = scheduler.nanos();
        long pause = FIRST_PAUSE;
        boolean counted = false;
        boolean answered = false;
        try {
            while (true) {
                boolean interrupted = Thread.currentThread().isInterrupted();
                try {
                    T result = ask(call);
                    answered = true;
                    return result;
                } catch (ObjectStore.Missing e) {
                    answered = true;
                    throw e;
                } catch (IOException | RuntimeException e) {
                    boolean first = !counted;
                    counted = true;
                    pause(e, first, start, pause, patience);
                    pause = Math.min(pause * 2, LONGEST_PAUSE);
                } finally {
                    // the SDK interrupts a call that takes too long; that must not close the journal's file after it
                    if (!interrupted) Thread.interrupted();
                }
            }
        } finally {
            done(counted, answered);
        }
    }

    /** Asks once, and remembers how long it took. */
    private <T> T ask(Call<T> call) throws IOException {
        long began = scheduler.nanos();
        scheduler.lock();
        if (calls++ == 0) unanswered = began;
        scheduler.unlock();
        boolean good = false;
        try {
            T result = call.run();
            good = true;
            return result;
        } catch (ObjectStore.Missing e) {
            good = true;
            throw e;
        } finally {
            scheduler.lock();
            calls--;
            if (good) {
                unanswered = scheduler.nanos();
                usual += (unanswered - began - usual) / 8;
            }
            scheduler.unlock();
        }
    }

    private void done(boolean counted, boolean answered) {
        scheduler.lock();
        if (counted) repeating--;
        if (answered && repeating == 0 && !trouble.isEmpty()) {
            if (told) LOG.log(System.Logger.Level.INFO, "volume " + volume + ": the object store answers again");
            trouble = "";
            told = false;
        }
        scheduler.unlock();
    }

    private void pause(Exception failure, boolean first, long start, long pause, long patience) throws BlockException {
        scheduler.lock();
        try {
            if (first) repeating++;
            long now = scheduler.nanos();
            if (trouble.isEmpty()) troubleSince = now;
            if (!told && now - troubleSince > QUIET) {
                told = true;
                LOG.log(
                        System.Logger.Level.WARNING,
                        "volume " + volume + ": the object store fails, will be asked again: " + failure);
            }
            trouble = failure instanceof IOException ? String.valueOf(failure.getMessage()) : failure.toString();
            if (ending)
                throw new BlockException(
                        Reason.SHUTTING_DOWN, "shutting down while the object store fails: " + trouble);
            if (patience != EVER && now - start >= patience)
                throw new BlockException(
                        Reason.IO,
                        "no good answer from the object store in " + patience / 1_000_000_000L + " s: " + trouble,
                        failure);
            long left = patience == EVER ? EVER : patience - (now - start);
            long until = now + Math.min(Math.floorMod(scheduler.random(), pause) + 1, left);
            while (!ending && scheduler.nanos() < until) scheduler.await(until - scheduler.nanos());
        } finally {
            scheduler.unlock();
        }
    }

    /** Lets everything that is being repeated fail; call with the lock. */
    void end() {
        ending = true;
        scheduler.signal();
    }

    boolean ending() {
        return ending;
    }

    /** How the store is, for people. Call with the lock. */
    String state() {
        long now = scheduler.nanos();
        if (!trouble.isEmpty())
            return "unreachable since " + Instant.ofEpochMilli(scheduler.millis() - (now - troubleSince) / 1_000_000)
                    + ": " + trouble;
        if (calls > 0 && now - unanswered > SLOW)
            return "slow: no answer for " + (now - unanswered) / 1_000_000_000L + " s";
        if (usual > SLOW) return "slow: answers take " + Math.round(usual / 1e8) / 10.0 + " s";
        return HEALTHY;
    }

    /** What is wrong with the store; empty: nothing. Call with the lock. */
    String trouble() {
        return trouble.isEmpty()
                ? ""
                : trouble + " (for " + (scheduler.nanos() - troubleSince) / 1_000_000_000L + " s)";
    }
}
