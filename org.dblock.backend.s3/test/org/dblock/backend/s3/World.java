package org.dblock.backend.s3;

import java.util.ArrayList;
import java.util.List;
import java.util.PriorityQueue;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;

/**
 * A world of one thread and virtual time: processes run as fibers, of which one at a time runs until it waits; a seed
 * decides everything else. A fiber is a thread that only runs while the world waits for it.
 */
final class World {
    static final long MS = 1_000_000L;
    static final long SECOND = 1_000 * MS;

    private static final ExecutorService THREADS = Executors.newCachedThreadPool(task -> {
        Thread thread = new Thread(task, "fiber");
        thread.setDaemon(true);
        return thread;
    });

    final Random random;
    long now;
    Throwable failure;
    private long sequence;
    private Fiber current;
    private final Semaphore back = new Semaphore(0);
    private final PriorityQueue<Event> events = new PriorityQueue<>();
    private final List<Process> processes = new ArrayList<>();

    /** Ends a fiber whose process was killed. */
    static final class Killed extends Error {
        private static final long serialVersionUID = 1;

        Killed() {
            super("killed", null, false, false);
        }
    }

    private record Event(long time, long order, Process process, Runnable what) implements Comparable<Event> {
        @Override
        public int compareTo(Event other) {
            return time != other.time ? Long.compare(time, other.time) : Long.compare(order, other.order);
        }
    }

    /** What is killed and paused as a whole. */
    final class Process {
        boolean dead;
        private boolean paused;
        private final List<Event> held = new ArrayList<>();
        private final List<Fiber> fibers = new ArrayList<>();

        Process() {
            processes.add(this);
        }

        void start(Runnable task) {
            if (dead) throw new Killed();
            Fiber fiber = new Fiber(this, task);
            fibers.add(fiber);
            at(1 + random.nextInt(1000), this, () -> resume(fiber));
        }

        /** What kill -9 does. */
        void kill() {
            dead = true;
            held.clear();
            for (Fiber fiber : List.copyOf(fibers)) if (fiber != current) resume(fiber);
            fibers.clear();
        }

        void pause(long nanos) {
            if (paused || dead) return;
            paused = true;
            at(nanos, null, () -> {
                paused = false;
                for (Event event : held) at(random.nextInt(1000), this, event.what);
                held.clear();
            });
        }
    }

    private final class Fiber {
        final Process process;
        final Semaphore go = new Semaphore(0);
        final Runnable task;
        boolean started;
        boolean ended;
        long wait;

        Fiber(Process process, Runnable task) {
            this.process = process;
            this.task = task;
        }

        void body() {
            go.acquireUninterruptibly();
            try {
                if (!process.dead) task.run();
            } catch (Killed e) {
                // as it should
            } catch (Throwable e) {
                if (!process.dead && failure == null) failure = e;
            }
            ended = true;
            process.fibers.remove(this);
            back.release();
        }
    }

    World(long seed) {
        random = new Random(seed);
    }

    /** Lets something happen later; never, if its process is dead by then. */
    void at(long delay, Process process, Runnable what) {
        events.add(new Event(now + delay, sequence++, process, what));
    }

    private void resume(Fiber fiber) {
        if (fiber.ended) return;
        if (!fiber.started) {
            fiber.started = true;
            THREADS.execute(fiber::body);
        }
        Fiber before = current;
        current = fiber;
        fiber.go.release();
        back.acquireUninterruptibly();
        current = before;
    }

    /** Waits until somebody calls the returned waker; the present fiber's. */
    Runnable waker() {
        Fiber fiber = current;
        long wait = ++fiber.wait;
        return () -> {
            if (fiber.wait == wait) {
                fiber.wait++;
                resume(fiber);
            }
        };
    }

    void park() {
        Fiber fiber = current;
        if (fiber.process.dead) throw new Killed();
        back.release();
        fiber.go.acquireUninterruptibly();
        if (fiber.process.dead) throw new Killed();
    }

    void sleep(long nanos) {
        at(nanos, current.process, waker());
        park();
    }

    Process process() {
        return current.process;
    }

    /** Runs until nothing is left to happen, a time is reached, or something failed. */
    void run(long until) {
        while (failure == null && !events.isEmpty() && events.peek().time <= until) {
            Event event = events.poll();
            now = Math.max(now, event.time);
            if (event.process != null && event.process.dead) continue;
            if (event.process != null && event.process.paused) event.process.held.add(event);
            else event.what.run();
        }
    }

    /** Ends all fibers. */
    void end() {
        for (Process process : processes) process.kill();
    }

    boolean chance(double probability) {
        return random.nextDouble() < probability;
    }

    /** The scheduler of one volume in the present process. */
    Scheduler scheduler() {
        Process process = process();
        return new Scheduler() {
            private final List<Runnable> waiting = new ArrayList<>();
            private boolean locked;
            private int tasks;

            @Override
            public long nanos() {
                return now;
            }

            @Override
            public long millis() {
                return now / MS;
            }

            @Override
            public long random() {
                return random.nextLong();
            }

            @Override
            public void run(String name, Runnable task) {
                tasks++;
                process.start(() -> {
                    try {
                        task.run();
                    } finally {
                        tasks--;
                        signal();
                    }
                });
            }

            @Override
            public void lock() {
                if (process.dead) throw new Killed();
                if (locked) throw new AssertionError("the lock is held already");
                locked = true;
            }

            @Override
            public void unlock() {
                locked = false;
            }

            @Override
            public void await(long nanos) {
                if (process.dead) throw new Killed();
                if (!locked) throw new AssertionError("await without the lock");
                locked = false;
                Runnable waker = waker();
                waiting.add(waker);
                at(Math.max(1, Math.min(nanos, 1L << 60)), process, waker);
                park();
                waiting.remove(waker);
                locked = true;
            }

            @Override
            public void signal() {
                for (Runnable waker : waiting) at(random.nextInt(1000), process, waker);
                waiting.clear();
            }

            @Override
            public boolean join(long nanos) {
                long until = now + nanos;
                while (tasks > 0 && now < until) {
                    lock();
                    await(until - now);
                    unlock();
                }
                return tasks == 0;
            }
        };
    }
}
