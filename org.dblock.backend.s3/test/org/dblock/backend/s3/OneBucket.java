package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.io.TempDir;

/** Tests with a bucket, and hosts whose gateways share it. */
abstract class OneBucket {
    @TempDir
    Path folder;

    final FaultyStore bucket = new FaultyStore(0);

    /** A gateway's store; the journals of a host stay when it is made anew. */
    final S3Store host(String name) {
        return new S3Store(folder.resolve(name), options -> bucket);
    }

    static VolumeSpec spec(String volume, long size) {
        return VolumeSpec.of(volume, size)
                .withOption("bucket", "b")
                .withOption("journalSize", "2M")
                .withOption("objectSize", "64K");
    }

    static BlockException refusal(Reason reason, Callable<?> call) {
        try {
            call.call();
        } catch (BlockException e) {
            assertThat(e.reason()).as(e.getMessage()).isEqualTo(reason);
            return e;
        } catch (Exception e) {
            throw new AssertionError(e);
        }
        throw new AssertionError("was not refused");
    }

    static void until(Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + 120_000_000_000L;
        while (!condition.call()) {
            assertThat(System.nanoTime()).as("two minutes have passed").isLessThan(end);
            Thread.sleep(5);
        }
    }
}
