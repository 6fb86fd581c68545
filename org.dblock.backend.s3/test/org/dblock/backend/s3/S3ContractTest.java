package org.dblock.backend.s3;

import java.nio.file.Path;
import org.dblock.api.BlockStore;
import org.dblock.api.BlockVolume;
import org.dblock.api.VolumeSpec;
import org.dblock.tck.BlockVolumeContract;
import org.dblock.tck.Crash;
import org.junit.jupiter.api.io.TempDir;

/** The contract of all backends, over a store that refuses, loses replies and is slow. */
class S3ContractTest extends BlockVolumeContract {
    @TempDir
    Path folder;

    private final FaultyStore bucket = new FaultyStore(0.05);

    @Override
    protected BlockStore newStore() {
        return new S3Store(folder, options -> bucket);
    }

    @Override
    protected VolumeSpec spec(String volume, long size) {
        return VolumeSpec.of(volume, size)
                .withOption("bucket", "test")
                .withOption("journalSize", "4M")
                .withOption("objectSize", "128K")
                .withOption("cacheSize", "1M");
    }

    /** What a killed process leaves behind: no RELEASE, and all that was not put in the journal. */
    @Override
    protected BlockStore crash(BlockStore store, BlockVolume volume, Crash level) throws Exception {
        if (level != Crash.GATEWAY) return null; // the simulation does that
        volume.handOver();
        return newStore();
    }
}
