package org.dblock.nbd;

import java.util.concurrent.atomic.AtomicInteger;

/** Who may spin: so many connections at a time that half of the processors stay free. Thread-safe. */
final class Spinners {
    private final AtomicInteger places;
    private final long most;

    /**
     * For a number of processors.
     *
     * @param nanos the longest that a connection spins; 0: none does
     */
    Spinners(int processors, long nanos) {
        places = new AtomicInteger(processors / 2);
        most = processors < 2 ? 0 : nanos;
    }

    /** Takes a place; false when there is none. */
    boolean enter() {
        if (places.get() <= 0) return false;
        if (places.decrementAndGet() >= 0) return true;
        places.incrementAndGet();
        return false;
    }

    /** Gives it back. */
    void leave() {
        places.incrementAndGet();
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
