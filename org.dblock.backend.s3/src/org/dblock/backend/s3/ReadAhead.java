package org.dblock.backend.s3;

/** Sees when reads are sequential, and then asks for what will be read next. Guarded by the volume's lock. */
final class ReadAhead {
    private static final int STREAMS = 8;
    private static final int FIRST = 32; // blocks: 128 KiB
    private static final int MOST = 1024; // blocks: 4 MiB
    private static final int BUSY = 4;

    private final Scheduler scheduler;
    /** For each stream where its next read would begin, up to where it was read ahead, and how far it reads ahead. */
    private final long[] next = new long[STREAMS];

    private final long[] ahead = new long[STREAMS];
    private final int[] reach = new int[STREAMS];
    private int victim;
    private int busy;

    /** Reads a range into the cache. */
    interface Loader {
        void load(long lba, int blocks);
    }

    ReadAhead(Scheduler scheduler) {
        this.scheduler = scheduler;
    }

    /** Is told of a read after it; call without the lock. */
    void after(long lba, int blocks, long end, Loader loader) {
        long from;
        int count;
        scheduler.lock();
        try {
            int s = 0;
            while (s < STREAMS && next[s] != lba) s++;
            if (s == STREAMS) {
                victim = (victim + 1) % STREAMS;
                next[victim] = lba + blocks;
                ahead[victim] = lba + blocks;
                reach[victim] = FIRST;
                return;
            }
            next[s] = lba + blocks;
            from = Math.max(ahead[s], lba + blocks);
            // the next piece is asked for when half of the last one has been read
            if (from - next[s] > reach[s] / 2 || from >= end || busy >= BUSY) return;
            reach[s] = Math.min(MOST, reach[s] * 2);
            count = (int) Math.min(reach[s], end - from);
            ahead[s] = from + count;
            busy++;
        } finally {
            scheduler.unlock();
        }
        scheduler.run("read ahead", () -> {
            try {
                loader.load(from, count);
            } finally {
                scheduler.lock();
                busy--;
                scheduler.unlock();
            }
        });
    }
}
