package org.dblock.api;

/**
 * What a volume does better than the defaults of {@link BlockVolume}; the contract suite compares each with behaviour.
 */
public enum Capability {
    /** {@link BlockVolume#discard} gives storage back. */
    DISCARD,
    /** {@link BlockVolume#writeZeroes} moves fewer bytes than a write. */
    WRITE_ZEROES,
    /** {@link BlockVolume#writeZeroes} takes no time that grows with the length when it may unmap (NBD's FAST_ZERO). */
    FAST_ZEROES,
    /** {@link BlockVolume#extents} knows holes. */
    EXTENTS,
    /** {@link BlockVolume#resize} works. */
    RESIZE
}
