package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.stream.LongStream;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Gateways that crash, pause and fight for a volume lose nothing that they promised. */
@Execution(ExecutionMode.CONCURRENT)
class SimulationTest {
    private static final long SEEDS = Long.getLong("dblock.seeds", 1000);
    private static final long FIRST = Long.getLong("dblock.seed", 1);
    private static final long PART = 100;

    static LongStream parts() {
        return LongStream.iterate(FIRST, first -> first < FIRST + SEEDS, first -> first + PART);
    }

    @ParameterizedTest(name = "from seed {0} on")
    @MethodSource("parts")
    void nothingPromisedIsLostAndNobodyGoesOnAfterItWasTakenOver(long first) {
        long end = Math.min(first + PART, FIRST + SEEDS);
        long operations = 0;
        for (long seed = first; seed < end; seed++) {
            try {
                operations += new Simulation(seed, new Rules()).run();
            } catch (AssertionError e) {
                throw new AssertionError("run with -Ddblock.seed=" + seed + " -Ddblock.seeds=1: " + e.getMessage(), e);
            }
        }
        assertThat(operations).isGreaterThan(end - first);
    }
}
