package org.dblock.api;

import java.nio.ByteBuffer;

/** The zeroes that {@link BlockVolume#writeZeroes} writes; one buffer for all, since nobody changes it. */
final class Zeroes {
    private static final ByteBuffer SHARED =
            ByteBuffer.allocateDirect(256 << 10).asReadOnlyBuffer();

    private Zeroes() {}

    static ByteBuffer buffer() {
        return SHARED.duplicate();
    }
}
