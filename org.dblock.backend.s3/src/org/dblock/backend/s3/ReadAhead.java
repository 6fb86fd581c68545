package org.dblock.backend.s3;

/** Sees when reads are sequential, and then asks for what will be read next. Guarded by the volume's lock. */
final class ReadAhead {
    private static final int STREAMS = 8;
    private static final int FIRST = 64; // blocks: 256 KiB
    private static final int MOST = 4096; // blocks: 16 MiB
    /** How many reads in a row make a stream. */
    private static final int ROW = 2;
    /** By how many requests those of a stream may be out of order. */
    private static final int SLACK = 4;

    private static final int BUSY = 8;

    private final Scheduler scheduler;
    private final int most;
    /** For each stream where its next read would begin, up to where it was read ahead, and how far it reads ahead. */
    private final long[] next = new long[STREAMS];

    private final long[] ahead = new long[STREAMS];
    private final int[] reach = new int[STREAMS];
    private final int[] row = new int[STREAMS];
    private int victim;
    private int busy;

    /** Reads a range into the cache. */
    interface Loader {
        void load(long lba, int blocks);
    }

    /** @param cacheBytes the size of the cache, of which no stream gets more than a quarter */
    ReadAhead(Scheduler scheduler, long cacheBytes) {
        this.scheduler = scheduler;
        most = (int) Math.min(MOST, cacheBytes / 4 / Header.BLOCK);
    }

    /** Is told of a read before it; call without the lock. */
    void before(long lba, int blocks, long end, Loader loader) {
        long from;
        int count;
        scheduler.lock();
        try {
            int s = stream(lba, blocks);
            if (s < 0) {
                victim = (victim + 1) % STREAMS;
                next[victim] = lba + blocks;
                ahead[victim] = lba + blocks;
                reach[victim] = FIRST;
                row[victim] = 0;
                return;
            }
            next[s] = Math.max(next[s], lba + blocks);
            if (++row[s] < ROW || busy >= BUSY) return;
            from = Math.max(ahead[s], next[s]);
            // a piece is worth a task from a quarter of the reach on
            int now = Math.min(most, reach[s]);
            long limit = Math.min(next[s] + now, end);
            if (from >= limit || limit - from < now / 4 && limit < end) return;
            count = (int) (limit - from);
            reach[s] = Math.min(MOST, reach[s] * 2);
            ahead[s] = from + count;
            busy++;
        } finally {
            scheduler.unlock();
        }
        try {
            scheduler.run("read ahead", () -> {
                try {
                    loader.load(from, count);
                } finally {
                    idle();
                }
            });
        } catch (RuntimeException | Error e) {
            idle(); // no thread for it; the read itself needs none
        }
    }

    private void idle() {
        scheduler.lock();
        busy--;
        scheduler.unlock();
    }

    private int stream(long lba, int blocks) {
        long slack = (long) SLACK * blocks;
        for (int s = 0; s < STREAMS; s++) if (Math.abs(lba - next[s]) <= slack && next[s] > 0) return s;
        return -1;
    }
}
