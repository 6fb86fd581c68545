package org.dblock.backend.s3;

import java.security.SecureRandom;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/** Real threads and clocks. */
class Threads implements Scheduler {
    private static final SecureRandom DICE = new SecureRandom();

    private final ReentrantLock lock = new ReentrantLock();
    private final Condition changed = lock.newCondition();
    private final ExecutorService pool;

    Threads(String volume) {
        pool = Executors.newCachedThreadPool(task -> {
            Thread thread = new Thread(task, "s3 " + volume);
            thread.setDaemon(true);
            return thread;
        });
    }

    @Override
    public long nanos() {
        return System.nanoTime();
    }

    @Override
    public long millis() {
        return System.currentTimeMillis();
    }

    @Override
    public long random() {
        return DICE.nextLong();
    }

    @Override
    public void run(String name, Runnable task) {
        pool.execute(task);
    }

    @Override
    public void lock() {
        lock.lock();
    }

    @Override
    public void unlock() {
        lock.unlock();
    }

    @Override
    public void await(long nanos) {
        // a caller's own interrupt stays its own; but with it nobody would let go of the lock
        boolean interrupted = Thread.interrupted();
        try {
            changed.awaitNanos(nanos);
        } catch (InterruptedException e) {
            interrupted = true;
        } finally {
            if (interrupted) Thread.currentThread().interrupt();
        }
    }

    @Override
    public void signal() {
        changed.signalAll();
    }

    @Override
    public boolean join(long nanos) {
        pool.shutdown();
        try {
            return pool.awaitTermination(nanos, TimeUnit.NANOSECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
    }
}
