package org.dblock.backend.s3;

import java.io.IOException;
import org.dblock.api.BlockVolume;

/** A volume of whole blocks of 4096 bytes; its exact size, unlike that of its geometry, is any multiple of 512. */
interface WholeBlocks extends BlockVolume {
    /** The exact size in bytes. */
    long size();

    /** Whether it will never work again. */
    boolean failed();

    /** Resizes to a multiple of a logical block size. */
    void resize(long size, int blockSize) throws IOException;
}
