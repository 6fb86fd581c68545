package org.dblock.core;

import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/** Threads that end when they have nothing to do, since there may be a thousand devices. */
final class Threads {
    private Threads() {}

    /** Runs tasks one after the other. */
    static ThreadPoolExecutor serial(String name) {
        ThreadPoolExecutor executor =
                new ThreadPoolExecutor(1, 1, 2, TimeUnit.SECONDS, new LinkedBlockingQueue<>(), factory(name));
        executor.allowCoreThreadTimeOut(true);
        return executor;
    }

    /** Runs tasks at their time; they have to be short. */
    static ScheduledThreadPoolExecutor clock(String name) {
        ScheduledThreadPoolExecutor clock = new ScheduledThreadPoolExecutor(1, factory(name));
        clock.setRemoveOnCancelPolicy(true);
        clock.setKeepAliveTime(2, TimeUnit.SECONDS);
        clock.allowCoreThreadTimeOut(true);
        clock.setRejectedExecutionHandler(new ThreadPoolExecutor.DiscardPolicy()); // nothing is due after the end
        clock.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
        return clock;
    }

    private static ThreadFactory factory(String name) {
        return task -> daemon(name, task);
    }

    /** A thread that inherits nothing from the one that makes it, which may be a backend's. */
    static Thread daemon(String name, Runnable task) {
        Thread thread = new Thread(null, task, name, 0, false);
        thread.setContextClassLoader(Threads.class.getClassLoader());
        thread.setDaemon(true);
        return thread;
    }
}
