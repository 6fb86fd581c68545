package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.dblock.api.BlockVolume;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** How many requests reads make, and how many of them at a time; times are not measured. */
class ReadPathTest {
    private static final int MIB = 1 << 20;
    private static final int SIZE = 16 * MIB;

    @TempDir
    Path folder;

    private final FaultyStore bucket = new FaultyStore(0);
    private final byte[] content = new byte[SIZE];

    private static VolumeSpec spec() {
        return VolumeSpec.of("v", SIZE)
                .withOption("bucket", "b")
                .withOption("journalSize", "64M")
                .withOption("diskCacheSize", 0);
    }

    private BlockVolume open(ObjectStore store) throws IOException {
        return new S3Store(folder, options -> store).open(spec());
    }

    /** Writes it all, in pieces of some bytes in an order, and opens the volume again. */
    private BlockVolume written(ObjectStore store, int piece, boolean shuffled) throws IOException {
        new Random(1).nextBytes(content);
        List<Integer> order = new ArrayList<>();
        for (int at = 0; at < SIZE; at += piece) order.add(at);
        if (shuffled) Collections.shuffle(order, new Random(2));
        try (BlockVolume volume = open(store)) {
            for (int at : order)
                volume.write(
                        ByteBuffer.allocateDirect(piece).put(content, at, piece).flip(), at, false);
        }
        BlockVolume again = open(store);
        bucket.gets.set(0);
        bucket.mostGets.set(0);
        return again;
    }

    private void check(BlockVolume volume, int at, int length) throws IOException {
        ByteBuffer found = ByteBuffer.allocateDirect(length);
        volume.read(found, at);
        assertThat(found.flip()).as("%d bytes at %d", length, at).isEqualTo(ByteBuffer.wrap(content, at, length));
    }

    @Test
    void whereNoMoreThreadsCanBeMadeEachReadReadsForItself() throws Exception {
        Direct direct = Direct.create(folder, bucket);
        direct.remoteDurable = true;
        try (S3Volume volume = direct.open("one", bucket, true)) {
            for (int i = 0; i < 4; i++) volume.write(Direct.data(i + 1, 1), (long) i * Direct.BLOCK, true);
            direct.noThreads = true;
            assertTimeoutPreemptively(Duration.ofMinutes(2), () -> {
                for (int round = 0; round < 3; round++) {
                    ByteBuffer all = ByteBuffer.allocateDirect(4 * Direct.BLOCK);
                    volume.read(all, 0);
                    for (int i = 0; i < 4; i++)
                        assertThat(all.get(i * Direct.BLOCK)).isEqualTo((byte) (i + 1));
                }
            });
            direct.noThreads = false;
        }
    }

    @Test
    void neighboursAreReadInOneRequest() throws Exception {
        try (BlockVolume volume = written(bucket, MIB, false)) {
            for (int at = 0; at < SIZE; at += MIB) check(volume, at, MIB);
            // 256 lines; 16 requests at least, and a header for each of 8 objects
            assertThat(bucket.gets.get()).isBetween(24, 64);
        }
    }

    @Test
    void neighboursAreReadInOneRequestThoughBlocksBetweenThemWereOverwritten() throws Exception {
        written(bucket, MIB, false).close();
        try (BlockVolume volume = open(bucket)) {
            // every eighth block, so that no two lines of an object belong to one stretch of the volume
            for (int at = 0; at < SIZE; at += 8 * Header.BLOCK) {
                for (int i = 0; i < Header.BLOCK; i++) content[at + i] ^= 1;
                volume.write(
                        ByteBuffer.allocateDirect(Header.BLOCK)
                                .put(content, at, Header.BLOCK)
                                .flip(),
                        at,
                        false);
            }
        }
        try (BlockVolume volume = open(bucket)) {
            bucket.gets.set(0);
            for (int at = 0; at < SIZE; at += MIB) check(volume, at, MIB);
            // 256 lines of what was written first and 32 of the rest; a request for each would be 288
            assertThat(bucket.gets.get()).isLessThanOrEqualTo(160);
        }
    }

    @Test
    void aReaderInSequenceHasManyRequestsUnderWayThoughTheVolumeIsInManyPieces() throws Exception {
        // each block of it a piece, many more than lines
        try (BlockVolume volume = written(bucket, Header.BLOCK, true)) {
            bucket.delay = 50;
            for (int at = 0; at < SIZE; at += MIB) check(volume, at, MIB);
            bucket.delay = 0;
            assertThat(bucket.mostGets.get()).isGreaterThanOrEqualTo(4);
            assertThat(bucket.gets.get()).isLessThanOrEqualTo(160);
        }
    }

    @Test
    void aClientThatReadsInSequenceHasManyRequestsUnderWay() throws Exception {
        try (BlockVolume volume = written(bucket, MIB, false)) {
            bucket.delay = 50;
            for (int at = 0; at < SIZE; at += MIB) check(volume, at, MIB);
            bucket.delay = 0;
            assertThat(bucket.mostGets.get()).isGreaterThanOrEqualTo(4);
        }
    }

    @Test
    void aReaderThatDoesNotOwnTheVolumeReadsAheadToo() throws Exception {
        written(bucket, MIB, false).close();
        try (BlockVolume volume =
                new S3Store(folder.resolve("another"), options -> bucket).open(spec().withReadOnly(true))) {
            bucket.gets.set(0);
            bucket.mostGets.set(0);
            bucket.delay = 50;
            for (int at = 0; at < SIZE; at += MIB) check(volume, at, MIB);
            bucket.delay = 0;
            assertThat(bucket.mostGets.get()).isGreaterThanOrEqualTo(4);
            assertThat(bucket.gets.get()).isBetween(24, 64);
        }
    }

    @Test
    void oneReadOfScatteredBlocksAsksForThemTogether() throws Exception {
        try (BlockVolume volume = written(bucket, 64 << 10, true)) {
            bucket.delay = 50;
            check(volume, 0, 4 * MIB);
            bucket.delay = 0;
            assertThat(bucket.mostGets.get()).isGreaterThanOrEqualTo(8);
        }
    }

    @Test
    void readersWaitForNeitherEachOtherNorForPuts() throws Exception {
        CountDownLatch stalled = new CountDownLatch(1);
        boolean[] stalling = new boolean[1];
        ObjectStore store = new Interposed(bucket) {
            @Override
            public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
                try {
                    if (stalling[0]) stalled.await();
                } catch (InterruptedException e) {
                    throw new IOException(e);
                }
                return super.putIfAbsent(key, body);
            }
        };
        BlockVolume volume = written(store, MIB, false);
        check(volume, 0, SIZE); // the headers
        volume.close();
        volume = open(store);
        stalling[0] = true;
        // more than the window of puts takes
        for (int i = 0; i < 20; i++)
            volume.write(ByteBuffer.allocateDirect(MIB).put(content, 0, MIB).flip(), 0, false);
        bucket.mostGets.set(0);
        bucket.delay = 1000;
        ExecutorService threads = Executors.newFixedThreadPool(32);
        List<Future<?>> done = new ArrayList<>();
        BlockVolume opened = volume;
        for (int i = 0; i < 32; i++) {
            int at = 2 * MIB + i * (ReadCache.LINE * Header.BLOCK) * 3;
            done.add(threads.submit(() -> {
                check(opened, at, 4096);
                return null;
            }));
        }
        threads.shutdown();
        for (Future<?> each : done) each.get();
        bucket.delay = 0;
        assertThat(bucket.mostGets.get()).as("at a time, of 32").isGreaterThanOrEqualTo(16);
        stalled.countDown();
        volume.close();
    }
}
