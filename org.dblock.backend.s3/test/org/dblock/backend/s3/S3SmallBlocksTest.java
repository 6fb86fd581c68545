package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.dblock.api.BlockVolume;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.Test;

/** The contract again, with logical blocks of 512 bytes and a size that is no multiple of 4096. */
class S3SmallBlocksTest extends S3ContractTest {
    @Override
    protected VolumeSpec spec(String volume, long size) {
        return super.spec(volume, size).withBlockSize(512);
    }

    @Override
    protected int size() {
        return super.size() + 5 * 512;
    }

    @Test
    void writersOfPartsOfOneBlockKeepEachOthersParts() throws Exception {
        try (BlockVolume volume = newStore().open(spec("parts", 64 << 10))) {
            ExecutorService threads = Executors.newFixedThreadPool(8);
            List<Future<?>> done = new ArrayList<>();
            for (int t = 0; t < 8; t++) {
                int part = t;
                done.add(threads.submit(() -> {
                    for (int i = 1; i <= 200; i++) {
                        ByteBuffer data = ByteBuffer.allocateDirect(512);
                        while (data.hasRemaining()) data.putInt(i);
                        volume.write(data.flip(), part * 512L, false);
                        volume.read(data.clear(), part * 512L);
                        assertThat(data.getInt(508)).isEqualTo(i);
                    }
                    return null;
                }));
            }
            threads.shutdown();
            for (Future<?> each : done) each.get();
        }
    }

    @Test
    void theSameVolumeMayBeOpenedWithEitherBlockSize() throws Exception {
        ByteBuffer data = ByteBuffer.allocateDirect(512);
        while (data.hasRemaining()) data.put((byte) 3);
        try (BlockVolume small = newStore().open(spec("either", 1 << 20))) {
            small.write(data.flip(), 4096 + 512, false);
        }
        try (BlockVolume large = newStore().open(spec("either", 0).withBlockSize(4096))) {
            assertThat(large.geometry().blockSize()).isEqualTo(4096);
            ByteBuffer found = ByteBuffer.allocateDirect(4096);
            large.read(found, 4096);
            assertThat(found.get(511)).isZero();
            assertThat(found.get(512)).isEqualTo((byte) 3);
            assertThat(found.get(1023)).isEqualTo((byte) 3);
            assertThat(found.get(1024)).isZero();
        }
    }
}
