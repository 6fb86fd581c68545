package org.dblock.backend.ramdisk;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.annotation.Annotation;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.dblock.api.BlockException;
import org.dblock.api.BlockVolume;
import org.dblock.api.ExtentVisitor;
import org.dblock.api.Reason;
import org.dblock.api.VolumeInfo;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class RamBlockStoreTest {
    private static final int MIB = 1 << 20;

    private final RamBlockStore store = new RamBlockStore(limit("64M"));

    @AfterEach
    void freeEverything() {
        store.deactivate();
    }

    @Test
    void contentsBelongToTheStoreUntilTheyAreDeleted() throws IOException {
        try (BlockVolume volume = store.open(VolumeSpec.of("a", MIB))) {
            write(volume, 4096, (byte) 7, 512);
        }
        try (BlockVolume volume = store.open(VolumeSpec.of("a", 0).withCreate(false))) {
            assertThat(read(volume, 4096, 512)).containsOnly(7);
            assertReason(() -> store.delete(VolumeSpec.of("a", 0)), Reason.IN_USE);
        }
        assertThat(store.list(VolumeSpec.of("", 0))).containsExactly(new VolumeInfo("a", MIB, 4096));
        store.delete(VolumeSpec.of("a", 0));
        assertReason(() -> store.open(VolumeSpec.of("a", 0).withCreate(false)), Reason.NOT_FOUND);
    }

    @Test
    void takesMemoryAsWrittenAndGivesItBackOnDiscard() throws IOException {
        try (BlockVolume volume = store.open(VolumeSpec.of("a", 8L << 40))) {
            long before = sharedMemory();
            for (int i = 0; i < 32; i++) write(volume, (7L << 40) + i * MIB, (byte) 1, MIB);
            assertThat(store.budget().used()).isEqualTo(32 * MIB);
            assertThat(sharedMemory() - before).isBetween(32L * MIB, 33L * MIB);
            read(volume, 5L << 40, 16 * MIB);
            assertThat(sharedMemory() - before)
                    .as("reading a hole takes nothing")
                    .isLessThan(33L * MIB);
            volume.discard(7L << 40, 16 * MIB);
            volume.writeZeroes((7L << 40) + 16 * MIB, 16 * MIB, true, false);
            assertThat(store.budget().used()).isZero();
            assertThat(sharedMemory() - before).isLessThan(MIB);
        }
    }

    @Test
    void allRamdisksShareOneLimitThatCanBeRaised() throws IOException {
        try (BlockVolume a = store.open(VolumeSpec.of("a", 1 << 30));
                BlockVolume b = store.open(VolumeSpec.of("b", 1 << 30))) {
            for (int i = 0; i < 40; i++) write(a, i * MIB, (byte) 1, MIB);
            for (int i = 0; i < 24; i++) write(b, i * MIB, (byte) 2, MIB);
            assertThatThrownBy(() -> write(b, 24 * MIB, (byte) 2, 512))
                    .isInstanceOfSatisfying(
                            BlockException.class, e -> assertThat(e.reason()).isEqualTo(Reason.NO_SPACE))
                    .hasMessageContaining("64M");
            write(b, 0, (byte) 3, MIB);
            a.discard(0, 4096);
            write(b, 24 * MIB, (byte) 2, 4096);
            assertReason(() -> write(b, 25 * MIB, (byte) 2, 512), Reason.NO_SPACE);
            store.modified(limit("65M"));
            write(b, 25 * MIB, (byte) 2, 512);
            assertThat(read(b, 0, MIB)).containsOnly(3);
        }
    }

    @Test
    void handsItsContentsOverToAnotherStore() throws IOException {
        RamBlockStore old = new RamBlockStore(limit("64M"));
        long before = sharedMemory();
        BlockVolume volume = old.open(VolumeSpec.of("a", 3L << 30));
        write(volume, (2L << 30) - 512, (byte) 9, 1024);
        Map<String, Object> state = new HashMap<>(volume.handOver());
        volume.close();
        assertThat(old.budget().used()).isZero();
        assertThat(old.list(VolumeSpec.of("", 0))).isEmpty();
        old.deactivate();
        assertThat(state.values()).allSatisfy(v -> assertThat(loaderOf(v)).isNull());
        assertReason(() -> store.open(VolumeSpec.of("a", 1 << 30).withInherited(state)), Reason.INVALID);
        assertThat(state).as("a failed open leaves the state to another one").isNotEmpty();
        try (BlockVolume next = store.open(VolumeSpec.of("a", 0).withInherited(state))) {
            assertThat(state).isEmpty();
            assertThat(read(next, (2L << 30) - 1024, 2048))
                    .startsWith(new byte[512])
                    .endsWith(new byte[512])
                    .contains(9);
            assertThat(store.budget().used()).isEqualTo(8192);
            next.writeZeroes((2L << 30) - 512, 1024, true, false);
            assertThat(read(next, (2L << 30) - 1024, 2048)).containsOnly(0);
        }
        store.delete(VolumeSpec.of("a", 0));
        assertThat(sharedMemory()).isLessThan(before + MIB);
    }

    @Test
    void memoryThatNobodyInheritsIsFreedWithItsCloseable() throws Exception {
        long before = sharedMemory();
        BlockVolume volume = store.open(VolumeSpec.of("a", 1 << 30));
        for (int i = 0; i < 32; i++) write(volume, i * MIB, (byte) 1, MIB);
        for (Object each : volume.handOver().values()) if (each instanceof AutoCloseable c) c.close();
        assertThat(sharedMemory() - before).isLessThan(MIB);
    }

    @Test
    void whatIsCutOffBySizeReadsAsZeroesWhenItGrowsAgain() throws IOException {
        try (BlockVolume volume = store.open(VolumeSpec.of("a", 3L << 30))) {
            write(volume, 512, (byte) 5, 8192);
            write(volume, 2L << 30, (byte) 5, 8192);
            volume.resize(1024);
            assertThat(volume.geometry().size()).isEqualTo(1024);
            assertReason(() -> write(volume, 1024, (byte) 1, 512), Reason.INVALID);
            volume.resize(5L << 30);
            assertThat(read(volume, 512, 512)).containsOnly(5);
            assertThat(read(volume, 1024, 8192)).containsOnly(0);
            assertThat(read(volume, 2L << 30, 8192)).containsOnly(0);
            assertThat(store.budget().used()).isEqualTo(4096);
        }
    }

    @Test
    void theMapShowsWhatIsAllocatedByThePage() throws IOException {
        try (BlockVolume volume = store.open(VolumeSpec.of("a", 4L << 30))) {
            write(volume, (1L << 30) - 512, (byte) 1, 1024);
            write(volume, 3L << 30, (byte) 1, 512);
            List<String> map = new ArrayList<>();
            ExtentVisitor visitor = (offset, length, flags) -> map.add(offset + "+" + length + ":" + flags);
            volume.extents(0, 4L << 30, visitor);
            long gib = 1 << 30;
            assertThat(map)
                    .containsExactly(
                            "0+" + (gib - 4096) + ":3",
                            gib - 4096 + "+8192:0",
                            gib + 4096 + "+" + (2 * gib - 4096) + ":3",
                            3 * gib + "+4096:0",
                            3 * gib + 4096 + "+" + (gib - 4096) + ":3");
        }
    }

    @Test
    void writesAndDiscardsOfTheSamePagesNeverLoseTrackOfMemory() throws Exception {
        long before = sharedMemory();
        ExecutorService threads = Executors.newFixedThreadPool(4);
        try (BlockVolume volume = store.open(VolumeSpec.of("a", MIB))) {
            List<Future<?>> done = new ArrayList<>();
            for (int t = 0; t < 4; t++) {
                boolean writer = t % 2 == 0;
                done.add(threads.submit(() -> {
                    ByteBuffer block = ByteBuffer.allocateDirect(8192);
                    for (int i = 0; i < 200_000; i++) {
                        if (writer) volume.write(block.clear(), 4096L * (i % 5), false);
                        else volume.discard(4096L * (i % 3), 16384);
                    }
                    return null;
                }));
            }
            for (Future<?> each : done) each.get();
            volume.discard(0, MIB);
            assertThat(store.budget().used()).isZero();
            assertThat(sharedMemory() - before).isLessThan(MIB / 2);
            write(volume, 0, (byte) 1, 512);
            assertThat(read(volume, 512, MIB - 512))
                    .as("nothing comes back from behind a discard")
                    .containsOnly(0);
        } finally {
            threads.shutdown();
        }
    }

    @Test
    void allocatesNothingPerRequest() throws IOException {
        var bean = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
        try (BlockVolume volume = store.open(VolumeSpec.of("a", 16 * MIB))) {
            ByteBuffer block = ByteBuffer.allocateDirect(4096);
            long[] allocated = new long[1];
            for (int round = 0; round < 2; round++) { // the first warms up
                long before = bean.getCurrentThreadAllocatedBytes();
                for (int i = 0; i < 10_000; i++) {
                    long offset = 4096L * (i % 4096);
                    volume.write(block.clear(), offset, true);
                    volume.read(block.clear(), offset);
                    if (i % 5 == 0) volume.discard(offset, 4096);
                }
                allocated[0] = bean.getCurrentThreadAllocatedBytes() - before;
            }
            assertThat(allocated[0]).as("bytes in 22,000 requests").isLessThan(22_000);
        }
    }

    @Test
    void refusesWhatItCannotBeAndSaysWhatItCan() throws IOException {
        assertThatThrownBy(() -> store.open(VolumeSpec.of("a", 0))).hasMessageContaining("size 0");
        assertThatThrownBy(() -> store.open(VolumeSpec.of("a", 1000))).hasMessageContaining("multiple of 512");
        assertThatThrownBy(() -> store.open(VolumeSpec.of("a", MIB).withBlockSize(100)))
                .hasMessageContaining("block size 100");
        try (BlockVolume volume = store.open(VolumeSpec.of("a", MIB))) {
            assertReason(() -> store.open(VolumeSpec.of("a", MIB)), Reason.IN_USE);
            assertReason(() -> volume.resize(100), Reason.INVALID);
        }
        assertReason(() -> store.open(VolumeSpec.of("a", 2 * MIB)), Reason.INVALID);
        try (BlockVolume volume = store.open(VolumeSpec.of("a", MIB).withReadOnly(true))) {
            assertReason(() -> write(volume, 0, (byte) 1, 512), Reason.READ_ONLY);
            assertReason(() -> volume.discard(0, 512), Reason.READ_ONLY);
        }
        assertThatThrownBy(() -> store.modified(limit("much"))).hasMessageContaining("'much' is no size");
    }

    @Test
    void closedTwiceIsClosedOnce() throws IOException {
        BlockVolume first = store.open(VolumeSpec.of("a", MIB));
        first.close();
        BlockVolume second = store.open(VolumeSpec.of("a", MIB));
        first.close();
        assertReason(() -> store.open(VolumeSpec.of("a", MIB)), Reason.IN_USE);
        second.close();
    }

    /** The shared memory of this process's memory files, mapped or not, in bytes. */
    private static long sharedMemory() throws IOException {
        long sum = 0;
        try (var lines = Files.lines(Path.of("/proc/self/smaps"))) {
            boolean ours = false;
            for (String line : (Iterable<String>) lines::iterator) {
                if (line.matches("[0-9a-f]+-[0-9a-f]+ .*")) ours = line.contains("memfd:dblock-ramdisk");
                else if (ours && line.startsWith("Rss:")) sum += Long.parseLong(line.replaceAll("\\D", "")) << 10;
            }
        }
        return sum;
    }

    private static ClassLoader loaderOf(Object value) {
        Class<?> type = value.getClass();
        while (type.isArray()) type = type.getComponentType();
        return type.getClassLoader();
    }

    private static void write(BlockVolume volume, long offset, byte value, int length) throws IOException {
        byte[] bytes = new byte[length];
        Arrays.fill(bytes, value);
        volume.write(ByteBuffer.allocateDirect(length).put(bytes).flip(), offset, false);
    }

    private static byte[] read(BlockVolume volume, long offset, int length) throws IOException {
        ByteBuffer into = ByteBuffer.allocateDirect(length);
        volume.read(into, offset);
        assertThat(into.hasRemaining()).isFalse();
        byte[] bytes = new byte[length];
        into.flip().get(bytes);
        return bytes;
    }

    private static void assertReason(ThrowingCallable call, Reason reason) {
        assertThatThrownBy(call)
                .isInstanceOfSatisfying(
                        BlockException.class, e -> assertThat(e.reason()).isEqualTo(reason));
    }

    static RamBlockStore.Settings limit(String size) {
        return new RamBlockStore.Settings() {
            @Override
            public String limit() {
                return size;
            }

            @Override
            public Class<? extends Annotation> annotationType() {
                return RamBlockStore.Settings.class;
            }
        };
    }
}
