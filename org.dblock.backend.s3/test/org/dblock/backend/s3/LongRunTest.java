package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

/** A volume that crashes and is collected again and again stays whole and doesn't grow. */
class LongRunTest {
    private static final int CYCLES = Integer.getInteger("dblock.cycles", 60);
    private static final long SEED = Long.getLong("dblock.seed", 1);

    @Test
    void nothingIsLostOrDamagedAndNothingPilesUp() {
        String line = new LongRun(SEED).run(CYCLES);
        System.out.println(line);
        assertThat(line).startsWith(CYCLES + " cycles");
    }
}
