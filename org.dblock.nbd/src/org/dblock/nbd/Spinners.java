package org.dblock.nbd;

import java.util.concurrent.atomic.AtomicLong;

/**
 * Whether a connection may spin: while no more connections have traffic than half of the processors. With more, a
 * spinning one would take the processor from a client or from another connection. Thread-safe.
 */
final class Spinners {
    /** Connections are counted anew every 4 ms or so: the bits of a nanosecond clock that are left out. */
    private static final int TICK = 22;

    private static final int COUNT = 16;

    private final int places;
    private final long most;
    /** The tick, and in the low bits how many connections have had traffic in it. */
    private final AtomicLong now = new AtomicLong();
    /** How many had in the tick before. */
    private volatile int before;

    /**
     * For a number of processors.
     *
     * @param nanos the longest that a connection spins; 0: none does
     */
    Spinners(int processors, long nanos) {
        places = processors / 2;
        most = places == 0 ? 0 : nanos;
    }

    /**
     * Notes that a connection has traffic.
     *
     * @param tick what this returned for the same connection the last time, or 0
     * @param nanoTime the moment, of {@link System#nanoTime()}
     */
    long note(long tick, long nanoTime) {
        long current = nanoTime >> TICK;
        while (current != tick) {
            long seen = now.get();
            long counted = seen >> COUNT;
            if (current == counted) {
                if (now.compareAndSet(seen, seen + 1)) break;
            } else if (now.compareAndSet(seen, (current << COUNT) + 1)) {
                before = current - counted == 1 ? count(seen) : 0;
                break;
            }
        }
        return current;
    }

    /** Whether a connection with traffic may spin now. */
    boolean room() {
        return before <= places && count(now.get()) <= places;
    }

    private static int count(long seen) {
        return (int) (seen & ((1 << COUNT) - 1));
    }

    /** The longest that a connection spins, in nanoseconds. */
    long most() {
        return most;
    }

    /** What is too short to be worth it. */
    long least() {
        return most / 8;
    }
}
