package org.dblock.api;

import java.util.Collections;
import java.util.EnumSet;
import java.util.Set;

/**
 * The shape of a volume. Immutable.
 *
 * @param size in bytes, a multiple of the block size, more than 0
 * @param blockSize the logical block size in bytes: 512, 1024, 2048 or 4096
 * @param preferredIo the size in bytes below which requests cost a read-modify-write or otherwise more than they need;
 *     a multiple of the block size
 * @param optimalIo the size in bytes at which streaming is at its best, a multiple of {@code preferredIo}; 0: no
 *     opinion
 * @param readOnly whether writes are refused
 * @param mayBlock whether calls may wait for a disk or a network; if not, core serves them on the thread that received
 *     the request
 * @param persistence what the contents outlive
 * @param capabilities what the volume does better than the defaults
 */
public record Geometry(
        long size,
        int blockSize,
        int preferredIo,
        int optimalIo,
        boolean readOnly,
        boolean mayBlock,
        Persistence persistence,
        Set<Capability> capabilities) {

    /** Checks the ranges that are given above. */
    public Geometry {
        if (blockSize < 512 || blockSize > 4096 || Integer.bitCount(blockSize) != 1)
            throw new IllegalArgumentException("block size " + blockSize + ": must be 512, 1024, 2048 or 4096");
        if (size <= 0 || size % blockSize != 0)
            throw new IllegalArgumentException(
                    "size " + size + ": must be more than 0 and a multiple of the block size, " + blockSize);
        if (preferredIo < blockSize || preferredIo % blockSize != 0)
            throw new IllegalArgumentException(
                    "preferred I/O size " + preferredIo + ": must be a multiple of " + blockSize);
        if (optimalIo < 0 || optimalIo % preferredIo != 0)
            throw new IllegalArgumentException(
                    "optimal I/O size " + optimalIo + ": must be a multiple of " + preferredIo);
        capabilities = capabilities.isEmpty()
                ? Collections.emptySet()
                : Collections.unmodifiableSet(EnumSet.copyOf(capabilities));
    }

    /** A durable volume that can be written, whose calls may block and which does nothing better than the defaults. */
    public static Geometry of(long size, int blockSize) {
        return new Geometry(size, blockSize, blockSize, 0, false, true, Persistence.DURABLE, Set.of());
    }

    /** The same with another size. */
    public Geometry withSize(long bytes) {
        return new Geometry(bytes, blockSize, preferredIo, optimalIo, readOnly, mayBlock, persistence, capabilities);
    }

    /** The same with other preferred and optimal I/O sizes. */
    public Geometry withIo(int preferred, int optimal) {
        return new Geometry(size, blockSize, preferred, optimal, readOnly, mayBlock, persistence, capabilities);
    }

    /** The same, read-only or not. */
    public Geometry withReadOnly(boolean only) {
        return new Geometry(size, blockSize, preferredIo, optimalIo, only, mayBlock, persistence, capabilities);
    }

    /** The same, with calls that return at memory speed. */
    public Geometry atMemorySpeed() {
        return new Geometry(size, blockSize, preferredIo, optimalIo, readOnly, false, persistence, capabilities);
    }

    /** The same with another persistence. */
    public Geometry withPersistence(Persistence kind) {
        return new Geometry(size, blockSize, preferredIo, optimalIo, readOnly, mayBlock, kind, capabilities);
    }

    /** The same with just these capabilities. */
    public Geometry with(Capability... list) {
        return new Geometry(size, blockSize, preferredIo, optimalIo, readOnly, mayBlock, persistence, Set.of(list));
    }

    /** Whether the volume has a capability. */
    public boolean can(Capability capability) {
        return capabilities.contains(capability);
    }
}
