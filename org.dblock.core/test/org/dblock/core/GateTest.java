package org.dblock.core;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class GateTest {
    private static final long LONG = TimeUnit.SECONDS.toNanos(60);

    private final Gate gate = new Gate();

    @Test
    void aClosedGateLetsNobodyIn() {
        assertThat(gate.enter()).isTrue();
        gate.close();
        assertThat(gate.enter()).isFalse();
        assertThat(gate.inside()).isEqualTo(1);
        gate.leave();
        assertThat(gate.inside()).isZero();
        gate.open();
        assertThat(gate.enter()).isTrue();
    }

    @Test
    void aDrainEndsWithoutSuccessAtItsDeadline() {
        gate.enter();
        gate.close();
        assertThat(gate.drain(TimeUnit.MILLISECONDS.toNanos(10))).isFalse();
        gate.leave();
        assertThat(gate.drain(LONG)).isTrue();
    }

    @Test
    void theLastToLeaveEndsTheDrain() throws Exception {
        gate.enter();
        gate.close();
        AtomicInteger drained = new AtomicInteger();
        Thread closer = new Thread(() -> drained.set(gate.drain(LONG) ? 1 : 2));
        closer.start();
        while (closer.getState() != Thread.State.TIMED_WAITING) Thread.onSpinWait();
        gate.leave();
        closer.join();
        assertThat(drained.get()).isEqualTo(1);
    }

    /** The other order would let a request slip in between a drain's count and its end. */
    @Test
    void aRequestCountsItselfInBeforeItLooksWhetherTheGateIsClosed() throws Exception {
        gate.close();
        AtomicBoolean seen = new AtomicBoolean();
        Thread knocking = new Thread(() -> {
            while (!seen.get()) gate.enter();
        });
        knocking.setDaemon(true);
        knocking.start();
        Gateway.eventually("a count of one who is refused", () -> {
            for (int i = 0; i < 100_000 && !seen.get(); i++) seen.set(gate.inside() > 0);
            return seen.get();
        });
        knocking.join();
        assertThat(gate.inside()).isZero();
    }

    /** Threads enter and leave while another closes, drains and opens: nobody may be inside between drain and open. */
    @Test
    void nobodyIsInsideADrainedGate() throws Exception {
        Random random = Seed.random("nobodyIsInsideADrainedGate");
        AtomicInteger inside = new AtomicInteger();
        AtomicLong entries = new AtomicLong();
        AtomicInteger violations = new AtomicInteger();
        List<Thread> threads = new ArrayList<>();
        AtomicBoolean shut = new AtomicBoolean(); // set by the closer only while the gate is empty
        int rounds = 3000;
        AtomicInteger round = new AtomicInteger();
        for (int i = 0; i < 6; i++) {
            long seed = random.nextLong();
            Thread thread = new Thread(() -> {
                Random mine = new Random(seed);
                while (round.get() < rounds) {
                    if (!gate.enter()) {
                        Thread.yield();
                        continue;
                    }
                    inside.incrementAndGet();
                    if (shut.get()) violations.incrementAndGet();
                    for (int spin = mine.nextInt(200); spin > 0; spin--) Thread.onSpinWait();
                    if (shut.get()) violations.incrementAndGet();
                    inside.decrementAndGet();
                    entries.incrementAndGet();
                    gate.leave();
                }
            });
            threads.add(thread);
            thread.start();
        }
        for (; round.get() < rounds; round.incrementAndGet()) {
            for (int spin = random.nextInt(2000); spin > 0; spin--) Thread.onSpinWait();
            gate.close();
            assertThat(gate.drain(LONG)).as("drained").isTrue();
            shut.set(true);
            // long enough for one who slipped through to be caught
            for (int spin = random.nextInt(500); spin > 0; spin--) Thread.onSpinWait();
            if (inside.get() != 0) violations.incrementAndGet();
            shut.set(false);
            gate.open();
        }
        for (Thread thread : threads) thread.join();
        assertThat(violations.get()).isZero();
        assertThat(entries.get()).isPositive();
        assertThat(gate.inside()).isZero();
    }
}
