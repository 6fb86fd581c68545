package org.dblock.backend.s3;

import java.nio.file.Path;
import java.util.Random;
import java.util.UUID;
import org.dblock.api.BlockStore;
import org.dblock.api.BlockVolume;
import org.dblock.api.VolumeSpec;
import org.dblock.tck.BlockVolumeContract;
import org.dblock.tck.Crash;
import org.junit.jupiter.api.io.TempDir;

/**
 * The contract of all backends, over a store that refuses, loses replies and is slow; or on a real server: the system
 * properties {@code dblock.s3.endpoint} and {@code dblock.s3.bucket} name it, and the SDK finds the credentials.
 */
class S3ContractTest extends BlockVolumeContract {
    private static final String ENDPOINT = System.getProperty("dblock.s3.endpoint", "");
    private static final String BUCKET = System.getProperty("dblock.s3.bucket", "test");

    @TempDir
    Path folder;

    private final String prefix = UUID.randomUUID() + "/";
    private final FaultyStore faulty = new FaultyStore(0.05);
    private final Random random = new Random(7);
    private LossyDisk disk;

    @Override
    protected BlockStore newStore() {
        return new S3Store(
                folder,
                options -> ENDPOINT.isEmpty() ? faulty : new AwsObjectStore(options),
                journal -> disk = new LossyDisk(journal));
    }

    @Override
    protected VolumeSpec spec(String volume, long size) {
        return VolumeSpec.of(volume, size)
                .withOption("endpoint", ENDPOINT)
                .withOption("pathStyle", true)
                .withOption("bucket", BUCKET)
                .withOption("prefix", prefix)
                .withOption("journalSize", "4M")
                .withOption("objectSize", "128K")
                .withOption("cacheSize", "1M");
    }

    /**
     * What a crash leaves behind: no RELEASE, and what was not put in the journal, as far as the host's disk has it.
     */
    @Override
    protected BlockStore crash(BlockStore store, BlockVolume volume, Crash level) throws Exception {
        volume.handOver();
        if (level == Crash.HOST) disk.crash(random);
        return newStore();
    }
}
