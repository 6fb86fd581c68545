package org.dblock.core;

import java.util.Random;

/** The seed of a random test: printed, and given back by {@code -Ddblock.seed=N}. */
final class Seed {
    private Seed() {}

    static Random random(String test) {
        long seed = Long.getLong("dblock.seed", System.nanoTime());
        System.out.println(test + ": -Ddblock.seed=" + seed);
        return new Random(seed);
    }
}
