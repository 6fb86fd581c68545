package org.dblock.core;

import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/**
 * A device's own thread: makes its changes, one after the other.
 *
 * <p>It never runs a backend's code itself: {@link #call} does that on a thread of its own, waits for it as long as the
 * matter allows, and drops what comes later. So a backend that hangs costs a thread and its volume, and nothing else.
 */
final class ControlThread {
    private static final Logger LOG = System.getLogger(ControlThread.class.getPackageName());

    /** A change of the device. */
    interface Task {
        void run() throws BlockException;
    }

    /** A call into a store or front end that is waited for. */
    private record Pending(Object callee, boolean bounded, CompletableFuture<?> answer) {}

    private final String device;
    private final ThreadPoolExecutor thread;
    private volatile Pending pending;

    ControlThread(String device) {
        this.device = device;
        thread = Threads.serial("dblock " + device);
    }

    /** Queues a task. */
    CompletableFuture<Void> submit(Task task) {
        CompletableFuture<Void> done = new CompletableFuture<>();
        try {
            thread.execute(() -> {
                try {
                    task.run();
                    done.complete(null);
                } catch (BlockException e) {
                    done.completeExceptionally(e);
                } catch (RuntimeException | Error e) {
                    LOG.log(Level.ERROR, "device " + device + ": a change failed", e);
                    done.completeExceptionally(BlockDevice.asBlockException(e));
                }
            });
        } catch (RejectedExecutionException e) {
            done.completeExceptionally(new BlockException(Reason.NOT_FOUND, "device " + device + " is removed"));
        }
        return done;
    }

    /** Waits for a task. */
    static void await(CompletableFuture<Void> done) throws BlockException {
        get(done, Long.MAX_VALUE);
    }

    /** Waits for a task, not for ever. */
    static boolean await(CompletableFuture<Void> done, long nanos) {
        try {
            get(done, nanos);
        } catch (BlockException e) {
            return done.isDone();
        }
        return true;
    }

    private static <T> T get(CompletableFuture<T> answer, long nanos) throws BlockException {
        try {
            return answer.get(nanos, TimeUnit.NANOSECONDS);
        } catch (ExecutionException e) {
            throw BlockDevice.asBlockException(e.getCause());
        } catch (TimeoutException e) {
            throw new BlockException(Reason.TIMED_OUT, "no answer in " + TimeUnit.NANOSECONDS.toSeconds(nanos) + " s");
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new BlockException(Reason.IO, "interrupted while waiting");
        }
    }

    /**
     * Calls a store, a volume or a front end on a thread of its own.
     *
     * @param callee whose call it is: {@link #giveUp} of the same ends the waiting
     * @param late gets a result that comes after the waiting has ended
     * @throws BlockException what the call failed with; {@link Reason#TIMED_OUT}
     */
    <T> T call(Object callee, String what, long nanos, Callable<T> body, Consumer<T> late) throws BlockException {
        CompletableFuture<T> answer = new CompletableFuture<>();
        pending = new Pending(callee, nanos != Long.MAX_VALUE, answer);
        Threads.daemon("dblock " + device + " " + what, () -> {
                    try {
                        T result = body.call();
                        if (!answer.complete(result) && result != null) late.accept(result);
                    } catch (Throwable e) {
                        answer.completeExceptionally(BlockDevice.asBlockException(e));
                    }
                })
                .start();
        try {
            return get(answer, nanos);
        } catch (BlockException e) {
            if (answer.completeExceptionally(e)) throw new BlockException(e.reason(), what + ": " + e.getMessage());
            return get(answer, 0); // it came at the last moment
        } finally {
            pending = null;
        }
    }

    /**
     * Ends the waiting for a call of a store or front end that is leaving; null: for any call that could last for ever.
     *
     * @param why what the call fails with
     */
    void giveUp(Object callee, String why) {
        Pending call = pending;
        if (call != null && (callee == null ? !call.bounded : call.callee == callee))
            call.answer.completeExceptionally(new BlockException(Reason.TIMED_OUT, why));
    }

    /** Takes no more tasks; those that are queued are still done. */
    void end() {
        thread.shutdown();
    }
}
