package org.dblock.api;

import org.osgi.annotation.versioning.ConsumerType;

/** Is told the extents of an allocation map. */
@FunctionalInterface
@ConsumerType
public interface ExtentVisitor {
    /** An extent that holds, or may hold, data. */
    int DATA = 0;

    /** Flag: nothing is allocated for the extent (NBD's {@code NBD_STATE_HOLE}). */
    int HOLE = 1;

    /** Flag: the extent reads as zeroes (NBD's {@code NBD_STATE_ZERO}). */
    int ZERO = 2;

    /**
     * Takes one extent.
     *
     * @param offset in bytes; where the extent before ended
     * @param length in bytes, more than 0
     * @param flags {@link #DATA}, or a sum of {@link #HOLE} and {@link #ZERO}
     * @return whether to go on
     */
    boolean extent(long offset, long length, int flags);
}
