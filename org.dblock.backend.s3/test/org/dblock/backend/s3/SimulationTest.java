package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

/** Gateways that crash, pause and fight for a volume lose nothing that they promised. */
class SimulationTest {
    private static final int SEEDS = Integer.getInteger("dblock.seeds", 1000);
    private static final long FIRST = Long.getLong("dblock.seed", 1);

    @Test
    void nothingPromisedIsLostAndNobodyGoesOnAfterItWasTakenOver() {
        long operations = 0;
        for (long seed = FIRST; seed < FIRST + SEEDS; seed++) {
            try {
                operations += new Simulation(seed, new Rules()).run();
            } catch (AssertionError e) {
                throw new AssertionError("run with -Ddblock.seed=" + seed + " -Ddblock.seeds=1: " + e.getMessage(), e);
            }
        }
        assertThat(operations).isGreaterThan(SEEDS);
    }
}
