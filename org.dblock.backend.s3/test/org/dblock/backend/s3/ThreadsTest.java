package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

/** Who waits lets others have the lock, whatever state its thread is in. */
class ThreadsTest {
    private static final long HOUR = 3_600_000_000_000L;

    @Test
    void aThreadThatIsInterruptedLetsOthersHaveTheLockWhileItWaits() throws Exception {
        Threads scheduler = new Threads("test");
        boolean[] done = new boolean[1];
        boolean[] interrupted = new boolean[1];
        Thread waiter = new Thread(() -> {
            Thread.currentThread().interrupt();
            scheduler.lock();
            while (!done[0]) scheduler.await(HOUR);
            scheduler.unlock();
            interrupted[0] = Thread.currentThread().isInterrupted();
        });
        waiter.setDaemon(true);
        scheduler.lock();
        waiter.start();
        while (waiter.getState() != Thread.State.WAITING) Thread.onSpinWait();
        scheduler.run("other", () -> {
            scheduler.lock();
            done[0] = true;
            scheduler.signal();
            scheduler.unlock();
        });
        scheduler.unlock(); // the waiter is first in the line
        waiter.join(60_000);
        assertThat(waiter.isAlive()).as("waits for ever, with the lock").isFalse();
        assertThat(interrupted[0]).as("its interrupt is its own").isTrue();
        scheduler.join(0);
    }
}
