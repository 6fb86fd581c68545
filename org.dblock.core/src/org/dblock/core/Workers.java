package org.dblock.core;

import java.lang.System.Logger.Level;
import java.util.ArrayDeque;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * A device's threads for volumes that block: as many as its queue depth at most, started when there is work, ended when
 * idle.
 *
 * <p>No queue: a task goes to the thread that became idle last, or to a new one; while all are busy, {@link #execute}
 * waits. Handing a task over allocates nothing. Where the system gives no more threads, the task is rejected.
 */
class Workers implements Executor {
    private static final System.Logger LOG = System.getLogger(Workers.class.getPackageName());
    private static final long IDLE_NANOS = TimeUnit.SECONDS.toNanos(5);

    private final String device;
    private final ArrayDeque<Worker> idle = new ArrayDeque<>();
    private int depth;
    /** Threads that count towards the depth. */
    private int threads;
    /** Threads made before the last renewal end after their task. */
    private int generation;
    /** Threads of generations before this one are stuck in an abandoned volume, and don't count. */
    private int counted;

    Workers(String device, int depth) {
        this.device = device;
        this.depth = depth;
    }

    @Override
    public void execute(Runnable task) {
        Worker worker;
        synchronized (this) {
            boolean interrupted = false;
            while (idle.isEmpty() && threads >= depth) {
                try {
                    wait();
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
            if (interrupted) Thread.currentThread().interrupt();
            worker = idle.pollLast();
            if (worker == null) {
                threads++;
                worker = new Worker(generation);
                worker.task = task;
                try {
                    start(worker);
                } catch (OutOfMemoryError e) {
                    threads--;
                    throw new RejectedExecutionException("device " + device + ": the system gives no more threads", e);
                }
                return;
            }
        }
        worker.task = task;
        LockSupport.unpark(worker);
    }

    /** What a test lets fail. */
    void start(Thread worker) {
        worker.start();
    }

    /** Changes how many threads there may be. */
    synchronized void depth(int wanted) {
        depth = wanted;
        notifyAll();
    }

    /** How many threads there are now, those that are stuck in an abandoned volume not included. */
    synchronized int threads() {
        return threads;
    }

    /**
     * Replaces all threads, so that none keeps what a backend left in it: idle ones end now, busy ones after their
     * task.
     *
     * @param abandoned whether the busy ones may be stuck for ever, and new ones take their places at once
     */
    synchronized void renew(boolean abandoned) {
        generation++;
        if (abandoned) {
            counted = generation;
            threads = idle.size();
        }
        for (Worker worker : idle) {
            threads--;
            worker.ended = true;
            LockSupport.unpark(worker);
        }
        idle.clear();
        notifyAll();
    }

    private final class Worker extends Thread {
        private final int born;
        private volatile Runnable task;
        private volatile boolean ended;

        Worker(int generation) {
            super(null, null, "dblock " + device + " worker", 0, false);
            born = generation;
            setContextClassLoader(Workers.class.getClassLoader()); // not that of the caller, which may be a backend's
            setDaemon(true);
        }

        @Override
        public void run() {
            do {
                try {
                    task.run();
                } catch (Throwable e) {
                    LOG.log(Level.ERROR, "device " + device + ": a request ended with " + e);
                }
                task = null;
                interrupted(); // whoever interrupted the task is done with it
            } while (next());
        }

        /** Waits for the next task. */
        private boolean next() {
            synchronized (Workers.this) {
                if (born < generation || threads > depth) {
                    if (born >= counted) threads--;
                    Workers.this.notify();
                    return false;
                }
                idle.addLast(this);
                Workers.this.notify();
            }
            long start = System.nanoTime();
            while (task == null) {
                if (ended) return false;
                long left = IDLE_NANOS - (System.nanoTime() - start);
                if (left > 0) {
                    LockSupport.parkNanos(Workers.this, left);
                } else {
                    synchronized (Workers.this) {
                        if (idle.remove(this)) {
                            threads--;
                            return false;
                        }
                    }
                    Thread.onSpinWait(); // taken from the idle ones: its task, or its end, is about to come
                }
            }
            return true;
        }
    }
}
