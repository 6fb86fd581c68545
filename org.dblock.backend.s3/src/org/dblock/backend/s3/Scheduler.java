package org.dblock.backend.s3;

/**
 * The threads, the lock, the clock and the dice of one volume: real ones in the gateway, seeded ones in the simulation.
 *
 * <p>All of a volume's state is guarded by this one lock; nobody calls the object store while holding it.
 */
interface Scheduler {
    /** A clock that only goes forward, in nanoseconds. */
    long nanos();

    /** The time of day, in milliseconds since 1970. */
    long millis();

    /** 64 random bits. */
    long random();

    /** Runs a task on a thread of its own. */
    void run(String name, Runnable task);

    void lock();

    void unlock();

    /** Lets go of the lock until somebody signals or the time is over, at times for no reason. */
    void await(long nanos);

    /** Wakes all that await. */
    void signal();

    /** Waits until all tasks have ended or the time is over; returns whether they have. */
    boolean join(long nanos);
}
