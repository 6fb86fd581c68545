package org.dblock.backend.file;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.dblock.api.BlockException;
import org.dblock.api.BlockVolume;
import org.dblock.api.Capability;
import org.dblock.api.ExtentVisitor;
import org.dblock.api.Geometry;
import org.dblock.api.Reason;
import org.dblock.api.VolumeInfo;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FileBlockStoreTest {
    private static final int MIB = 1 << 20;

    @TempDir
    Path home;

    private FileBlockStore store;

    @BeforeEach
    void makeStore() {
        store = new FileBlockStore(home.resolve("volumes/file"));
    }

    @Test
    void relativeVolumesLieInTheStoresFolderAndAbsoluteOnesWhereTheySay() throws IOException {
        store.open(VolumeSpec.of("images/a.img", MIB)).close();
        assertThat(home.resolve("volumes/file/images/a.img")).hasSize(MIB);
        store.open(VolumeSpec.of(home + "/b.img", MIB)).close();
        assertThat(home.resolve("b.img")).hasSize(MIB);
        assertThat(store.list(VolumeSpec.of("", 0))).containsExactly(new VolumeInfo("images/a.img", MIB, 0));
        assertThatThrownBy(() -> store.open(VolumeSpec.of("../../c.img", MIB))).hasMessageContaining("absolute path");
        assertThatThrownBy(() -> store.open(VolumeSpec.of(home + "/none/c.img", MIB)))
                .hasMessageContaining("no folder " + home + "/none");
    }

    @Test
    void servesAnImageThatWasMadeElsewhere() throws IOException {
        Path image = Files.write(home.resolve("raw.img"), new byte[] {1, 2, 3});
        assertThatThrownBy(() -> store.open(VolumeSpec.of(image.toString(), 0)))
                .hasMessageContaining("3 bytes")
                .hasMessageContaining("multiple of the block size, 512");
        Files.write(image, new byte[1024]);
        try (BlockVolume volume = store.open(VolumeSpec.of(image.toString(), 0).withCreate(false))) {
            assertThat(volume.geometry().size()).isEqualTo(1024);
            ByteBuffer block = ByteBuffer.allocateDirect(512).put(0, (byte) 7);
            volume.write(block, 512, false);
        }
        assertThat(Files.readAllBytes(image)).hasSize(1024).contains(7);
    }

    @Test
    void whatFailsToOpenLeavesNothingBehind() {
        assertReason(() -> store.open(VolumeSpec.of("a", 1000)), Reason.INVALID);
        assertReason(() -> store.open(VolumeSpec.of("a", MIB).withBlockSize(100)), Reason.INVALID);
        assertReason(() -> store.open(VolumeSpec.of("a", MIB).withOption("direct", "perhaps")), Reason.INVALID);
        assertReason(() -> store.open(VolumeSpec.of("a", 1L << 50).withOption("preallocate", true)), Reason.NO_SPACE);
        assertReason(() -> store.open(VolumeSpec.of("a", MIB).withReadOnly(true)), Reason.NOT_FOUND);
        assertReason(() -> store.open(VolumeSpec.of(home.toString(), MIB)), Reason.INVALID);
        assertReason(() -> store.open(VolumeSpec.of("/dev/null", MIB)), Reason.INVALID);
        assertThat(home.resolve("volumes/file/a")).doesNotExist();
    }

    @Test
    void aPreallocatedVolumeKeepsItsSpace() throws IOException {
        try (BlockVolume volume = store.open(VolumeSpec.of("a", MIB).withOption("preallocate", true))) {
            assertThat(blocks("a")).isGreaterThanOrEqualTo(MIB);
            assertThat(volume.geometry().can(Capability.DISCARD)).isFalse();
            volume.discard(0, MIB);
            volume.writeZeroes(0, MIB, true, false);
            volume.resize(2 * MIB);
            assertThat(blocks("a")).isGreaterThanOrEqualTo(2 * MIB);
            volume.extents(0, 2 * MIB, (offset, length, flags) -> {
                assertThat(flags & ExtentVisitor.HOLE).isZero();
                return true;
            });
        }
    }

    @Test
    void aSparseVolumeTakesSpaceAsWrittenAndGivesItBack() throws IOException {
        try (BlockVolume volume = store.open(VolumeSpec.of("a", 1L << 40))) {
            volume.write(ByteBuffer.allocateDirect(4 * MIB), 1L << 39, true);
            assertThat(blocks("a")).isBetween(4L * MIB, 5L * MIB);
            assertThat(store.list(VolumeSpec.of("", 0))).containsExactly(new VolumeInfo("a", 1L << 40, 4 * MIB));
            volume.discard(1L << 39, 4 * MIB);
            volume.flush();
            assertThat(blocks("a")).isLessThan(MIB);
        }
    }

    @Test
    void anotherProcessIsRefusedAndToldWhoHoldsTheVolume() throws Exception {
        try (BlockVolume volume = store.open(VolumeSpec.of("a", MIB))) {
            String said = inAnotherProcess("a");
            assertThat(said)
                    .startsWith("IN_USE")
                    .contains("process " + ProcessHandle.current().pid() + " (java)");
            assertThatThrownBy(() -> store.open(VolumeSpec.of("a", 0))).hasMessageContaining("open in this gateway");
            assertReason(() -> store.delete(VolumeSpec.of("a", 0)), Reason.IN_USE);
            volume.flush();
        }
        assertThat(inAnotherProcess("a")).isEqualTo("opened");
    }

    @Test
    void readersShareAndKeepWritersOut() throws IOException {
        store.open(VolumeSpec.of("a", MIB)).close();
        VolumeSpec reading = VolumeSpec.of("a", 0).withReadOnly(true);
        try (BlockVolume one = store.open(reading);
                BlockVolume two = store.open(reading)) {
            assertThat(one.geometry()).isEqualTo(two.geometry());
            assertReason(() -> store.open(VolumeSpec.of("a", 0)), Reason.IN_USE);
        }
    }

    @Test
    void aFailedFlushIsNeverRepeatedIntoASuccess() throws Exception {
        AtomicInteger syncs = new AtomicInteger();
        CountDownLatch under = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        try (BlockVolume volume = volume("a", () -> {
            syncs.incrementAndGet();
            under.countDown();
            await(go);
            throw new IOException("Input/output error");
        })) {
            ExecutorService threads = Executors.newFixedThreadPool(4);
            List<Future<?>> flushes = new ArrayList<>();
            for (int i = 0; i < 4; i++)
                flushes.add(threads.submit(() -> {
                    volume.flush();
                    return null;
                }));
            await(under);
            go.countDown();
            for (Future<?> each : flushes)
                assertThatThrownBy(each::get)
                        .cause()
                        .hasMessageContaining("may be lost")
                        .hasMessageContaining("Input/output");
            threads.shutdown();
            assertReason(volume::flush, Reason.IO);
            assertReason(() -> volume.write(ByteBuffer.allocateDirect(512), 0, true), Reason.IO);
            volume.write(ByteBuffer.allocateDirect(512), 0, false);
            assertThat(volume.details()).containsEntry("flush failed", "Input/output error");
            assertThat(syncs).hasValue(1);
        }
    }

    @Test
    void aFlushCoversWhatReturnedBeforeItAndSharesTheWork() throws Exception {
        AtomicInteger syncs = new AtomicInteger();
        CountDownLatch under = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        try (BlockVolume volume = volume("a", () -> {
            syncs.incrementAndGet();
            under.countDown();
            await(go);
        })) {
            ExecutorService threads = Executors.newFixedThreadPool(8);
            List<Future<?>> flushes = new ArrayList<>();
            flushes.add(threads.submit(() -> {
                volume.flush();
                return null;
            }));
            await(under);
            CountDownLatch arrived = new CountDownLatch(7);
            for (int i = 0; i < 7; i++)
                flushes.add(threads.submit(() -> {
                    arrived.countDown();
                    volume.flush();
                    return null;
                }));
            await(arrived);
            go.countDown();
            for (Future<?> each : flushes) each.get();
            threads.shutdown();
            // one that came while the first was under way isn't covered by it
            assertThat(syncs.get()).isBetween(2, 8);
        }
    }

    @Test
    void aFileThatSomebodyHasCutShortIsAnErrorWithWords() throws IOException {
        try (BlockVolume volume = store.open(VolumeSpec.of("a", MIB))) {
            try (RandomAccessFile file = new RandomAccessFile(home + "/volumes/file/a", "rw")) {
                file.setLength(MIB / 2);
            }
            assertThatThrownBy(() -> volume.read(ByteBuffer.allocateDirect(MIB), 0))
                    .hasMessageContaining("ends at 524288");
        }
    }

    @Test
    void refusesRangesOutsideTheVolume() throws IOException {
        try (BlockVolume volume = store.open(VolumeSpec.of("a", MIB))) {
            assertReason(() -> volume.write(ByteBuffer.allocateDirect(1024), MIB - 512, false), Reason.INVALID);
            assertReason(() -> volume.read(ByteBuffer.allocateDirect(512), -512), Reason.INVALID);
            assertReason(() -> volume.discard(MIB, 512), Reason.INVALID);
            assertReason(() -> volume.writeZeroes(0, MIB + 512, false, false), Reason.INVALID);
        }
        assertThat(home.resolve("volumes/file/a")).hasSize(MIB);
    }

    @Test
    void seesThroughLoopDevicesAndMappersToADblockDevice() throws IOException {
        Path sys = home.resolve("sys");
        Path own = Files.createDirectories(sys.resolve("vol1/dblock")).getParent();
        Path partition = Files.createDirectories(own.resolve("vol1p1"));
        Files.createFile(partition.resolve("partition"));
        Path mapper = Files.createDirectories(sys.resolve("dm-0/slaves")).getParent();
        Files.createSymbolicLink(mapper.resolve("slaves/vol1p1"), partition);
        assertThat(Host.dblockDisk(mapper)).contains("/dev/vol1");
        assertThat(Host.dblockDisk(partition)).contains("/dev/vol1");
        assertThat(Host.dblockDisk(Files.createDirectories(sys.resolve("sda/slaves"))))
                .isEmpty();
        assertThat(Host.dblockDevice(home)).isEmpty();
    }

    @Test
    void allocatesNothingPerRequest() throws IOException {
        var bean = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
        try (BlockVolume volume = store.open(VolumeSpec.of("a", MIB))) {
            ByteBuffer block = ByteBuffer.allocateDirect(4096);
            long allocated = 0;
            for (int round = 0; round < 2; round++) { // the first warms up
                long before = bean.getCurrentThreadAllocatedBytes();
                for (int i = 0; i < 10_000; i++) {
                    volume.write(block.clear(), 4096L * (i % 256), false);
                    volume.read(block.clear(), 4096L * (i % 256));
                }
                allocated = bean.getCurrentThreadAllocatedBytes() - before;
            }
            assertThat(allocated).as("bytes in 20,000 requests").isLessThan(20_000);
        }
    }

    private interface Sync {
        void run() throws IOException;
    }

    /** A volume whose fdatasync is the test's. */
    private BlockVolume volume(String name, Sync sync) throws IOException {
        Path path = Files.write(home.resolve(name), new byte[MIB]);
        Descriptor descriptor = Descriptor.open(path.toString(), Posix.O_RDWR);
        FileChannel channel = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE);
        return new FileVolume(path, descriptor, channel, Geometry.of(MIB, 512), false, false, false) {
            @Override
            void sync() throws IOException {
                sync.run();
            }
        };
    }

    /** What another process says when it opens a volume of this store: "opened", or the reason and the message. */
    private String inAnotherProcess(String volume) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(
                        System.getProperty("java.home") + "/bin/java",
                        "-XX:TieredStopAtLevel=1",
                        "-cp",
                        System.getProperty("java.class.path"),
                        Opener.class.getName(),
                        home.resolve("volumes/file").toString(),
                        volume)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        String said = new String(process.getInputStream().readAllBytes());
        assertThat(process.waitFor()).isZero();
        return said;
    }

    static class Opener {
        public static void main(String[] arguments) throws IOException {
            try {
                new FileBlockStore(Path.of(arguments[0]))
                        .open(VolumeSpec.of(arguments[1], 0))
                        .close();
                System.out.print("opened");
            } catch (BlockException e) {
                System.out.print(e.reason() + " " + e.getMessage());
            }
        }
    }

    private long blocks(String volume) throws IOException {
        Process du = new ProcessBuilder("du", "--block-size=1", home + "/volumes/file/" + volume).start();
        return Long.parseLong(new String(du.getInputStream().readAllBytes()).split("\\s")[0]);
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void assertReason(ThrowingCallable call, Reason reason) {
        assertThatThrownBy(call)
                .isInstanceOfSatisfying(
                        BlockException.class,
                        e -> assertThat(e.reason()).as(e.getMessage()).isEqualTo(reason));
    }
}
