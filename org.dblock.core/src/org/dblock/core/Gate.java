package org.dblock.core;

import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.locks.LockSupport;

/**
 * The gate of an open volume: counts the requests inside, and keeps new ones out while it is closed.
 *
 * <p>A request counts itself in <i>before</i> it looks whether the gate is closed, and the closer closes <i>before</i>
 * it counts; both with full fences, so one of them sees the other. Counts are striped by thread, so that requests of
 * different threads touch different cache lines.
 */
final class Gate {
    private static final int STRIPES =
            Math.min(64, Integer.highestOneBit(2 * Runtime.getRuntime().availableProcessors() - 1));
    /** Longs between two stripes: two cache lines, for processors that fetch them in pairs. */
    private static final int PAD = 16;

    private final AtomicLongArray inside = new AtomicLongArray((STRIPES + 1) * PAD);
    private volatile boolean closed;
    private volatile Thread drainer;

    private static int stripe() {
        return (((int) Thread.currentThread().getId() & STRIPES - 1) + 1) * PAD;
    }

    /** Enters, unless the gate is closed. Whoever entered calls {@link #leave()} on the same thread. */
    boolean enter() {
        inside.getAndIncrement(stripe());
        if (!closed) return true;
        // the same stripe is counted down again, so a drain that sums meanwhile never sees less than is inside
        leave();
        return false;
    }

    /**
     * Counts a call in although the gate may be closed, so that a drain that begins later waits for it. It may
     * {@link #leave()} on another thread.
     */
    void count() {
        inside.getAndIncrement(stripe());
    }

    /** Leaves after a successful {@link #enter()}, or a {@link #count()}. */
    void leave() {
        inside.getAndDecrement(stripe());
        if (closed) LockSupport.unpark(drainer);
    }

    /** Keeps new requests out; those inside go on. */
    void close() {
        closed = true;
    }

    /** Lets requests in. */
    void open() {
        closed = false;
    }

    boolean closed() {
        return closed;
    }

    /** How many requests are inside; exact only while the gate is closed. */
    int inside() {
        long sum = 0;
        for (int i = PAD; i < inside.length(); i += PAD) sum += inside.get(i);
        return (int) Math.max(0, sum);
    }

    /**
     * Waits until nobody is inside the closed gate. One thread at a time.
     *
     * @param nanos how long at most
     * @return whether the gate is empty
     */
    boolean drain(long nanos) {
        long start = System.nanoTime();
        drainer = Thread.currentThread();
        try {
            while (inside() != 0) {
                long left = nanos - (System.nanoTime() - start);
                if (left <= 0) return false;
                LockSupport.parkNanos(this, left);
            }
            return true;
        } finally {
            drainer = null;
        }
    }
}
