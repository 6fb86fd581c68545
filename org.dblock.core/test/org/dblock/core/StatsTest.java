package org.dblock.core;

import static org.assertj.core.api.Assertions.assertThat;

import org.dblock.api.device.DeviceStats.Op;
import org.junit.jupiter.api.Test;

class StatsTest {
    @Test
    void aLatencyIsAtMostThirteenPercentOff() {
        for (long nanos = 1; nanos < 16_000_000_000L; nanos += 1 + nanos / 7) {
            long shown = Stats.middle(Stats.bucket(nanos));
            assertThat(Math.abs(shown - nanos))
                    .as("%d shown as %d", nanos, shown)
                    .isLessThanOrEqualTo(nanos * 13 / 100);
        }
        assertThat(Stats.bucket(-1)).isZero();
        assertThat(Stats.bucket(Long.MAX_VALUE)).isEqualTo(255);
    }

    @Test
    void quantilesComeFromAllThreads() throws Exception {
        Stats stats = new Stats(null);
        for (int i = 0; i < 9; i++) {
            Thread thread = new Thread(() -> {
                for (int j = 0; j < 100; j++) stats.record(Op.READ, 1000, 512, false, false);
            });
            thread.start();
            thread.join();
        }
        for (int j = 0; j < 100; j++) stats.record(Op.READ, 1_000_000, 512, false, true);
        assertThat(stats.count(Op.READ)).isEqualTo(1000);
        assertThat(stats.bytes(Op.READ)).isEqualTo(512_000);
        assertThat(stats.errors(Op.READ)).isEqualTo(100);
        assertThat(stats.latency(Op.READ, 0.5)).isBetween(870L, 1130L);
        assertThat(stats.latency(Op.READ, 0.9)).isBetween(870L, 1130L);
        assertThat(stats.latency(Op.READ, 0.91)).isBetween(870_000L, 1_130_000L);
        assertThat(stats.latency(Op.READ, 1)).isBetween(870_000L, 1_130_000L);
    }
}
