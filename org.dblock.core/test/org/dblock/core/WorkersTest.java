package org.dblock.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.dblock.core.Gateway.eventually;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class WorkersTest {
    private final Workers workers = new Workers("test", 3);

    @Test
    void atMostDepthTasksRunAtATimeAndEachRunsOnce() {
        AtomicInteger now = new AtomicInteger();
        AtomicInteger most = new AtomicInteger();
        AtomicInteger done = new AtomicInteger();
        for (int i = 0; i < 2000; i++)
            workers.execute(() -> {
                most.accumulateAndGet(now.incrementAndGet(), Math::max);
                Thread.yield();
                now.decrementAndGet();
                done.incrementAndGet();
            });
        eventually("all done", () -> done.get() == 2000);
        assertThat(most.get()).isBetween(1, 3);
        assertThat(workers.threads()).isLessThanOrEqualTo(3);
    }

    @Test
    void executeWaitsWhileAllAreBusy() throws Exception {
        CountDownLatch hold = new CountDownLatch(1);
        for (int i = 0; i < 3; i++) workers.execute(() -> FakeStore.await(hold));
        CountDownLatch taken = new CountDownLatch(1);
        Thread fourth = new Thread(() -> {
            workers.execute(() -> {});
            taken.countDown();
        });
        fourth.start();
        while (fourth.getState() != Thread.State.WAITING) Thread.onSpinWait();
        assertThat(taken.getCount()).isEqualTo(1);
        hold.countDown();
        taken.await();
        fourth.join();
    }

    @Test
    void anAbandonedVolumesStuckThreadsAreReplaced() {
        CountDownLatch hold = new CountDownLatch(1);
        for (int i = 0; i < 3; i++) workers.execute(() -> FakeStore.await(hold));
        workers.renew(true);
        AtomicInteger done = new AtomicInteger();
        for (int i = 0; i < 5; i++) workers.execute(done::incrementAndGet);
        eventually("others go on", () -> done.get() == 5);
        hold.countDown();
        eventually("the count is right again", () -> workers.threads() <= 3);
    }

    @Test
    void noThreadOutlivesARenewal() {
        Set<Thread> before = ConcurrentHashMap.newKeySet();
        for (int i = 0; i < 20; i++) workers.execute(() -> before.add(Thread.currentThread()));
        workers.renew(false);
        eventually("all ended", () -> !before.isEmpty() && before.stream().noneMatch(Thread::isAlive));
        Set<Thread> after = ConcurrentHashMap.newKeySet();
        workers.execute(() -> after.add(Thread.currentThread()));
        eventually("a new one", () -> !after.isEmpty());
        assertThat(before).doesNotContainAnyElementsOf(after);
    }

    @Test
    void idleThreadsEnd() {
        workers.execute(() -> {});
        eventually("no threads", () -> workers.threads() == 0);
    }

    @Test
    void aTaskThatThrowsCostsNoThread() {
        AtomicInteger done = new AtomicInteger();
        for (int i = 0; i < 10; i++)
            workers.execute(() -> {
                done.incrementAndGet();
                throw new IllegalStateException("on purpose");
            });
        eventually("all done", () -> done.get() == 10);
        assertThat(workers.threads()).isBetween(1, 3);
    }

    @Test
    void aTaskThatFindsNoThreadIsRejectedAndCostsNoPlace() {
        AtomicBoolean exhausted = new AtomicBoolean(true);
        Workers poor = new Workers("test", 1) {
            @Override
            void start(Thread worker) {
                if (exhausted.get()) throw new OutOfMemoryError("unable to create native thread");
                super.start(worker);
            }
        };
        for (int i = 0; i < 3; i++)
            assertThatThrownBy(() -> poor.execute(() -> {})).isInstanceOf(RejectedExecutionException.class);
        exhausted.set(false);
        AtomicInteger done = new AtomicInteger();
        poor.execute(done::incrementAndGet);
        eventually("done", () -> done.get() == 1);
    }
}
