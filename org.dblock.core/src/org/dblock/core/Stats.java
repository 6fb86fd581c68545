package org.dblock.core;

import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.dblock.api.device.DeviceStats;

/**
 * A device's counters: for each kind of request and each stripe of threads one array, made on first use, that holds a
 * histogram of 8 buckets per power of two, and a few sums behind it.
 */
final class Stats implements DeviceStats {
    private static final int OPS = Op.values().length;
    private static final int STRIPES =
            Math.min(8, Integer.highestOneBit(2 * Runtime.getRuntime().availableProcessors() - 1));
    private static final int BUCKETS = 256;
    private static final int BYTES = BUCKETS;
    private static final int ERRORS = BUCKETS + 1;
    private static final int FUA = BUCKETS + 2;
    private static final int CELLS = BUCKETS + 3;

    private final BlockDevice device;
    private final AtomicReferenceArray<AtomicLongArray> cells = new AtomicReferenceArray<>(OPS * STRIPES);
    private volatile long swaps;
    private volatile long lastSwapNanos;

    Stats(BlockDevice device) {
        this.device = device;
    }

    /** Counts a finished request. */
    void record(Op op, long nanos, long bytes, boolean fua, boolean failed) {
        int index = op.ordinal() * STRIPES + ((int) Thread.currentThread().getId() & STRIPES - 1);
        AtomicLongArray array = cells.get(index);
        if (array == null) {
            cells.compareAndSet(index, null, new AtomicLongArray(CELLS));
            array = cells.get(index);
        }
        array.getAndIncrement(bucket(nanos));
        if (bytes != 0) array.getAndAdd(BYTES, bytes);
        if (fua) array.getAndIncrement(FUA);
        if (failed) array.getAndIncrement(ERRORS);
    }

    /** Counts a swap. Called by one thread at a time. */
    void swapped(long nanos) {
        lastSwapNanos = nanos;
        swaps = swaps + 1;
    }

    static int bucket(long nanos) {
        if (nanos < 8) return (int) Math.max(0, nanos);
        int exponent = 63 - Long.numberOfLeadingZeros(nanos);
        return Math.min(BUCKETS - 1, (exponent - 2) * 8 + (int) (nanos >>> exponent - 3 & 7));
    }

    /** The middle of a bucket. */
    static long middle(int bucket) {
        if (bucket < 8) return bucket;
        int shift = bucket / 8 - 1;
        return (8L + bucket % 8 << shift) + (1L << shift) / 2;
    }

    private long sum(Op op, int cell) {
        long sum = 0;
        for (int i = 0; i < STRIPES; i++) {
            AtomicLongArray array = cells.get(op.ordinal() * STRIPES + i);
            if (array != null) sum += array.get(cell);
        }
        return sum;
    }

    @Override
    public long count(Op op) {
        long count = 0;
        for (int i = 0; i < BUCKETS; i++) count += sum(op, i);
        return count;
    }

    @Override
    public long bytes(Op op) {
        return sum(op, BYTES);
    }

    @Override
    public long errors(Op op) {
        return sum(op, ERRORS);
    }

    @Override
    public long latency(Op op, double quantile) {
        long count = count(op);
        long rank = Math.max(1, (long) Math.ceil(quantile * count));
        for (int i = 0; i < BUCKETS && count > 0; i++) {
            rank -= sum(op, i);
            if (rank <= 0) return middle(i);
        }
        return 0;
    }

    @Override
    public long fua() {
        return sum(Op.WRITE, FUA) + sum(Op.WRITE_ZEROES, FUA);
    }

    @Override
    public int inFlight() {
        OpenVolume open = device.current();
        return open == null ? 0 : open.gate.inside();
    }

    @Override
    public long swaps() {
        return swaps;
    }

    @Override
    public long lastSwapNanos() {
        return lastSwapNanos;
    }
}
