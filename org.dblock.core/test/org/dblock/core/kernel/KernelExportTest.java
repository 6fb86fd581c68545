package org.dblock.core.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.function.BooleanSupplier;
import org.dblock.api.BlockException;
import org.dblock.api.Capability;
import org.dblock.api.Geometry;
import org.dblock.api.Persistence;
import org.dblock.api.Reason;
import org.dblock.api.device.Export.End;
import org.dblock.core.kernel.FakeKernel.Dev;
import org.dblock.core.kernel.FakeKernel.Rq;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A device as a kernel device, against a module that is faked behind its own system calls. */
class KernelExportTest {
    private static final Geometry BLOCKING = Geometry.of(4 << 20, 512);
    private static final Geometry FAST = BLOCKING.atMemorySpeed();

    private final FakeKernel kernel = new FakeKernel();
    private final List<KernelExport> exports = new ArrayList<>();
    private boolean removeDevices;
    private boolean stops = true;
    private boolean sameStores = true;
    private final Map<UUID, Map<String, Object>> kept = new HashMap<>();
    private final Host host = new Host(null) {
        @Override
        boolean stops() {
            return stops;
        }

        @Override
        boolean removesDevices() {
            return removeDevices;
        }

        @Override
        void keep(UUID device, String backend, Map<String, Object> channel) {
            kept.put(device, channel);
        }

        @Override
        Map<String, Object> take(UUID device) {
            return kept.remove(device);
        }

        @Override
        boolean sameStores(String backend, Map<String, Object> channel) {
            return sameStores;
        }
    };

    @AfterEach
    void nothingIsLeftOpen() {
        exports.forEach(each -> each.close(End.REMOVED));
        assertThat(kernel.descriptors()).isZero();
        assertThat(kernel.inside).isZero();
        assertThat(kernel.late()).isFalse();
    }

    private KernelExport export(TestDevice device, String... options) throws BlockException {
        Map<String, String> map = new java.util.LinkedHashMap<>();
        for (String option : options) map.put(option.split("=")[0], option.split("=")[1]);
        KernelExport export = new KernelExport(kernel, device, ExportOptions.of(device.name(), map), host);
        export.begin();
        exports.add(export);
        return export;
    }

    private void end(KernelExport export, End end) {
        exports.remove(export);
        export.close(end);
    }

    private static Rq read(long offset, int length) {
        return new Rq(Abi.OP_READ, offset, length, 0, new byte[length]);
    }

    private static Rq write(long offset, byte[] data, int flags) {
        return new Rq(Abi.OP_WRITE, offset, data.length, flags, data);
    }

    private static void until(String what, BooleanSupplier condition) {
        long end = System.nanoTime() + 60_000_000_000L;
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > end) throw new AssertionError("not within a minute: " + what);
            try {
                Thread.sleep(5);
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"false,false", "true,false", "false,true", "true,true"})
    void everyReadSeesTheLastWriteOfItsBlocks(boolean blocking, boolean faults) throws Exception {
        long seed = Long.getLong("dblock.seed", System.nanoTime());
        System.out.println("everyReadSeesTheLastWriteOfItsBlocks: -Ddblock.seed=" + seed);
        Random random = new Random(seed);
        TestDevice device = new TestDevice("disk", blocking ? BLOCKING : FAST);
        export(device);
        if (faults) kernel.faults = new Random(seed);
        Dev dev = kernel.device("disk");
        byte[] model = new byte[(int) device.geometry.size()];
        for (int round = 0; round < 100; round++) {
            // ranges of one round don't overlap, so they may be served in any order
            List<Rq> requests = new ArrayList<>();
            int lane = model.length / 64;
            for (int i = 0; i < 64; i++) {
                int length = (1 + random.nextInt(lane / 512)) * 512;
                int offset = i * lane + random.nextInt((lane - length) / 512 + 1) * 512;
                byte[] data = new byte[length];
                random.nextBytes(data);
                requests.add(random.nextBoolean() ? read(offset, length) : write(offset, data, 0));
            }
            kernel.submit(dev, requests.toArray(Rq[]::new));
            for (Rq rq : requests) {
                assertThat(kernel.await(rq)).isZero();
                if (rq.op == Abi.OP_WRITE) System.arraycopy(rq.data, 0, model, (int) rq.offset, rq.length);
                else
                    assertThat(Arrays.equals(
                                    rq.data, 0, rq.length, model, (int) rq.offset, (int) rq.offset + rq.length))
                            .isTrue();
            }
        }
        // what a call took that failed is refused when it is made once more
        assertThat(kernel.stale > 0).isEqualTo(faults);
    }

    @Test
    void flushFuaDiscardAndZeroesReachTheDevice() throws Exception {
        TestDevice device = new TestDevice("disk", FAST.with(Capability.DISCARD, Capability.WRITE_ZEROES));
        export(device);
        Dev dev = kernel.device("disk");
        Rq[] requests = {
            new Rq(Abi.OP_FLUSH, 0, 0, 0, null),
            write(0, new byte[512], Abi.RQ_FUA),
            write(512, new byte[512], 0),
            new Rq(Abi.OP_DISCARD, 1024, 2 << 20, 0, null),
            new Rq(Abi.OP_WRITE_ZEROES, 512, 1024, Abi.RQ_FUA, null),
            new Rq(Abi.OP_WRITE_ZEROES, 0, 512, Abi.RQ_NOUNMAP, null),
        };
        kernel.submit(dev, requests);
        for (Rq rq : requests) assertThat(kernel.await(rq)).isZero();
        assertThat(device.flushes.get()).isEqualTo(1);
        assertThat(device.fuas.get()).isEqualTo(1);
        assertThat(device.ranges)
                .containsExactlyInAnyOrder("discard 1024 2097152", "zero 512 1024 true true", "zero 0 512 false false");
    }

    @ParameterizedTest
    @EnumSource(value = Reason.class, mode = EnumSource.Mode.EXCLUDE, names = "SHUTTING_DOWN") // is not answered
    void everyFailureIsAnErrnoThatTheModuleTakes(Reason reason) throws Exception {
        TestDevice device = new TestDevice("disk", BLOCKING);
        export(device);
        device.hook = () -> {
            device.inside.decrementAndGet();
            throw new BlockException(reason, "as asked for");
        };
        Rq rq = read(0, 512);
        kernel.submit(kernel.device("disk"), rq);
        int expected = reason == Reason.NO_SPACE || reason == Reason.UNSUPPORTED || reason == Reason.TIMED_OUT
                ? reason.errno()
                : Libc.EIO;
        assertThat(kernel.await(rq)).isEqualTo(-expected);
    }

    @Test
    void answersTravelWithTheCallThatFetchesTheNext() throws Exception {
        export(new TestDevice("disk", FAST));
        Dev dev = kernel.device("disk");
        int before = kernel.exchanges;
        for (int i = 0; i < 200; i++) {
            Rq rq = read(0, 512);
            kernel.submit(dev, rq);
            kernel.await(rq);
        }
        // and some when a wait has passed without work
        assertThat(kernel.exchanges - before).isLessThan(300);
    }

    @Test
    void aVolumeOfMemorySpeedIsServedInBatches() throws Exception {
        export(new TestDevice("disk", FAST));
        Rq[] requests = new Rq[64];
        for (int i = 0; i < 64; i++) requests[i] = read(i * 512, 512);
        kernel.submit(kernel.device("disk"), requests);
        for (Rq rq : requests) assertThat(kernel.await(rq)).isZero();
        assertThat(kernel.largestBatch).isEqualTo(32);
    }

    @Test
    void aVolumeThatBlocksGetsTheQueueDepthAtOnceAndIdleThreadsEnd() throws Exception {
        TestDevice device = new TestDevice("disk", BLOCKING);
        export(device, "queueDepth=40");
        CountDownLatch held = new CountDownLatch(1);
        device.hook = held::await;
        Rq[] requests = new Rq[60];
        for (int i = 0; i < 60; i++) requests[i] = read(i * 512, 512);
        kernel.submit(kernel.device("disk"), requests);
        until("40 requests inside", () -> device.inside.get() == 40);
        Thread.sleep(50);
        assertThat(device.inside.get()).isEqualTo(40);
        held.countDown();
        for (Rq rq : requests) assertThat(kernel.await(rq)).isZero();
        until("one thread is left", () -> threads("disk").size() == 1);
    }

    private static List<Thread> threads(String name) {
        return Thread.getAllStackTraces().keySet().stream()
                .filter(thread -> thread.getName().startsWith("dblock-kernel-" + name + "-"))
                .toList();
    }

    @Test
    void readyAnswersDoNotWaitAtAClosedGate() throws Exception {
        TestDevice device = new TestDevice("disk", FAST);
        export(device);
        device.hook = () -> device.gateClosed = true; // after the first request has passed
        Rq first = read(0, 512), second = read(512, 512);
        kernel.submit(kernel.device("disk"), first, second);
        assertThat(kernel.await(first)).isZero();
        assertThat(kernel.done(second)).isFalse();
        device.hook = () -> {};
        device.gateClosed = false;
        assertThat(kernel.await(second)).isZero();
    }

    @Test
    void everyThreadLeavesWhenSomebodyElseDestroysTheDevice() throws Exception {
        TestDevice device = new TestDevice("disk", BLOCKING);
        KernelExport export = export(device);
        new Control(kernel).destroy("disk", device.id(), true);
        until("the channel is closed", () -> kernel.descriptors() == 0);
        until("it says so", () -> export.explanation().contains("destroyed"));
        assertThat(device.connections).isEmpty();
        assertThat(threads("disk")).isEmpty();
    }

    @Test
    void aStopLeavesTheDeviceParkedAndTheNextStartGoesOn() throws Exception {
        TestDevice device = new TestDevice("disk", BLOCKING);
        KernelExport export = export(device);
        Dev dev = kernel.device("disk");
        device.hook = () -> {
            device.inside.decrementAndGet();
            throw new BlockException(Reason.SHUTTING_DOWN, "as asked for");
        };
        Rq rq = write(0, new byte[512], 0);
        kernel.submit(dev, rq);
        until("it was delivered", () -> rq.deliveries == 1);
        end(export, End.STOPPING);
        assertThat(dev.state).isEqualTo(Abi.STATE_PARKED);
        assertThat(kernel.done(rq)).isFalse();
        assertThat(device.connections).isEmpty();

        device.hook = () -> {};
        export(device);
        assertThat(kernel.await(rq)).isZero();
        assertThat(rq.deliveries).isEqualTo(2);
        assertThat(kernel.created).isEqualTo(1);
        assertThat(dev.generation).isEqualTo(2);
    }

    @Test
    void aRemovalDestroysTheDevice() throws Exception {
        KernelExport export = export(new TestDevice("disk", BLOCKING));
        end(export, End.REMOVED);
        assertThat(kernel.devices).isEmpty();
    }

    @Test
    void aRemovalDestroysTheDeviceThoughSomebodyHasItOpen() throws Exception {
        KernelExport export = export(new TestDevice("disk", BLOCKING));
        kernel.openers(kernel.device("disk"), 1);
        end(export, End.REMOVED);
        assertThat(kernel.devices).isEmpty();
    }

    @Test
    void theDeviceIsInUseWhileTheDiskIsOpen() throws Exception {
        KernelExport export = export(new TestDevice("disk", BLOCKING));
        assertThat(export.describe()).isEmpty();
        kernel.openers(kernel.device("disk"), 2);
        assertThat(export.describe()).isEqualTo("kernel device /dev/disk, open 2 times");
        kernel.openers(kernel.device("disk"), 0);
    }

    @Test
    void aStopRemovesWhatNobodyHasOpenIfToldTo() throws Exception {
        removeDevices = true;
        KernelExport used = export(new TestDevice("used", BLOCKING)),
                unused = export(new TestDevice("unused", BLOCKING));
        kernel.openers(kernel.device("used"), 1);
        end(used, End.STOPPING);
        end(unused, End.STOPPING);
        assertThat(kernel.devices).containsOnlyKeys("used");
        assertThat(kernel.device("used").state).isEqualTo(Abi.STATE_PARKED);
    }

    @Test
    void aVolatileDeviceFailsWithItsServerAndIsMadeAnewWhenNobodyHasItOpen() throws Exception {
        TestDevice device = new TestDevice("disk", FAST.withPersistence(Persistence.VOLATILE));
        KernelExport export = export(device);
        Dev old = kernel.device("disk");
        assertThat(old.recover).isZero();
        kernel.openers(old, 1);
        end(export, End.STOPPING);
        assertThat(old.state).isEqualTo(Abi.STATE_FAILED);

        KernelExport next = export(device);
        assertThat(next.explanation()).contains("in use", "unmount");
        Rq rq = read(0, 512);
        kernel.submit(old, rq);
        assertThat(kernel.await(rq)).isEqualTo(-Libc.EIO);

        kernel.openers(old, 0);
        until("there is a new device", () -> kernel.device("disk") != null && kernel.device("disk") != old);
        until("it is served", () -> next.explanation().isEmpty());
        kernel.submit(kernel.device("disk"), rq);
        assertThat(kernel.await(rq)).isZero();
    }

    @Test
    void aVolatileDeviceThatNobodyHasOpenDoesNotOutliveAStop() throws Exception {
        end(export(new TestDevice("disk", FAST.withPersistence(Persistence.VOLATILE))), End.STOPPING);
        assertThat(kernel.devices).isEmpty();
    }

    @Test
    void anUpdateOfThisBundleCostsAVolatileDeviceAPauseOnly() throws Exception {
        stops = false;
        TestDevice device = new TestDevice("disk", FAST.withPersistence(Persistence.VOLATILE));
        KernelExport export = export(device);
        Dev dev = kernel.device("disk");
        kernel.openers(dev, 1);
        device.hook = () -> {
            device.inside.decrementAndGet();
            throw new BlockException(Reason.SHUTTING_DOWN, "as asked for");
        };
        byte[] data = new byte[512];
        Arrays.fill(data, (byte) 7);
        Rq waits = write(512, data, 0), comesLater = read(512, 512);
        kernel.submit(dev, waits);
        until("it was delivered", () -> waits.deliveries == 1);
        end(export, End.STOPPING);
        kernel.submit(dev, comesLater);
        assertThat(kernel.done(waits)).isFalse();
        assertThat(dev.state).isEqualTo(Abi.STATE_LIVE);

        device.hook = () -> {};
        export = export(device);
        assertThat(kernel.await(waits)).isZero();
        assertThat(kernel.await(comesLater)).isZero();
        assertThat(comesLater.data).containsOnly(7);
        assertThat(kernel.created).isEqualTo(1);

        // and where the contents were lost meanwhile, they are not replaced by others
        end(export, End.STOPPING);
        sameStores = false;
        export = export(device);
        assertThat(export.explanation()).contains("lost");
        assertThat(dev.state).isEqualTo(Abi.STATE_FAILED);
        kernel.openers(dev, 0);
    }

    @Test
    void lostContentsAreNeverServedToThoseWhoKnewThem() throws Exception {
        TestDevice device = new TestDevice("disk", FAST.withPersistence(Persistence.VOLATILE));
        KernelExport export = export(device);
        Dev old = kernel.device("disk");
        kernel.openers(old, 1);
        device.lose();
        Rq rq = read(0, 512);
        kernel.submit(old, rq);
        assertThat(kernel.await(rq)).isEqualTo(-Libc.EIO);
        assertThat(export.explanation()).contains("lost its contents");

        kernel.openers(old, 0);
        until("there is a new device", () -> kernel.device("disk") != null && kernel.device("disk") != old);
        until("it is served", () -> export.explanation().isEmpty());
        kernel.submit(kernel.device("disk"), rq);
        assertThat(kernel.await(rq)).isZero();
    }

    @Test
    void aNewSizeReachesTheKernel() throws Exception {
        TestDevice device = new TestDevice("disk", BLOCKING);
        export(device);
        device.resize(8 << 20);
        until("the kernel knows", () -> kernel.device("disk").capacity == 8 << 20);
    }

    @Test
    void aSizeThatChangedMeanwhileReachesADeviceThatIsInUse() throws Exception {
        TestDevice device = new TestDevice("disk", BLOCKING);
        KernelExport export = export(device);
        Dev dev = kernel.device("disk");
        kernel.openers(dev, 1);
        end(export, End.STOPPING);
        device.resize(8 << 20);
        export(device);
        until("the kernel knows", () -> dev.capacity == 8 << 20);
        assertThat(kernel.created).isEqualTo(1);
    }

    @Test
    void otherOptionsAreAppliedWhenNobodyHasTheDeviceOpen() throws Exception {
        TestDevice device = new TestDevice("disk", BLOCKING);
        KernelExport export = export(device, "maxIo=64K");
        end(export, End.STOPPING);
        kernel.openers(kernel.device("disk"), 1);
        export = export(device, "maxIo=128K");
        assertThat(kernel.device("disk").maxIo).isEqualTo(64 << 10);
        kernel.openers(kernel.device("disk"), 0);
        end(export, End.STOPPING);
        export(device, "maxIo=128K");
        assertThat(kernel.device("disk").maxIo).isEqualTo(128 << 10);
    }

    @Test
    void theGeometryBecomesTheDisksLimits() throws Exception {
        Geometry geometry = Geometry.of(1 << 20, 512)
                .withIo(4096, 65536)
                .withReadOnly(true)
                .with(Capability.DISCARD, Capability.WRITE_ZEROES);
        export(
                new TestDevice("disk", geometry),
                "partitions=true",
                "recoverSeconds=forever",
                "ioTimeoutSeconds=30",
                "queueDepth=7",
                "maxIo=256K");
        Dev dev = kernel.device("disk");
        assertThat(dev.logical).isEqualTo(512);
        assertThat(dev.physical).isEqualTo(4096);
        assertThat(dev.ioOpt).isEqualTo(65536);
        assertThat(dev.flags)
                .isEqualTo(Abi.F_WRITE_CACHE
                        | Abi.F_FUA
                        | Abi.F_READ_ONLY
                        | Abi.F_DISCARD
                        | Abi.F_WRITE_ZEROES
                        | Abi.F_PARTITIONS);
        assertThat(dev.recover).isEqualTo(Abi.FOREVER);
        assertThat(dev.ioTimeout).isEqualTo(30_000);
        assertThat(dev.depth).isEqualTo(7);
        assertThat(dev.maxIo).isEqualTo(256 << 10);
    }

    @Test
    void withoutTheModuleAMessageSaysHowToGetIt() {
        kernel.present = false;
        assertThatThrownBy(() -> export(new TestDevice("disk", BLOCKING)))
                .isInstanceOf(BlockException.class)
                .hasMessageContainingAll("not loaded", "modprobe dblock", "kernel-module/README.md", "nbd");
    }

    @Test
    void withoutPermissionAMessageSaysWhichIsNeeded() {
        kernel.permitted = false;
        assertThatThrownBy(() -> export(new TestDevice("disk", BLOCKING)))
                .isInstanceOf(BlockException.class)
                .hasMessageContainingAll("root", "CAP_SYS_ADMIN");
    }

    @Test
    void aKernelDeviceOfSomebodyElseIsLeftAlone() throws Exception {
        export(new TestDevice("disk", BLOCKING));
        assertThatThrownBy(() -> export(new TestDevice("disk", BLOCKING)))
                .isInstanceOf(BlockException.class)
                .hasMessageContainingAll("another gateway", "kernel,name=");
        assertThat(kernel.created).isEqualTo(1);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"colour=red", "partitions=maybe", "queueDepth=0", "maxIo=100", "maxIo=4M", "recoverSeconds=-1"})
    void aBadOptionIsNamed(String option) {
        assertThatThrownBy(() -> export(new TestDevice("disk", BLOCKING), option))
                .isInstanceOf(BlockException.class)
                .hasMessageContaining(option.split("=")[0]);
    }

    @Test
    void aDeviceNameThatTheKernelRefusesIsReplacedByAnOption() throws Exception {
        assertThatThrownBy(() -> export(new TestDevice("1.disk", BLOCKING)))
                .isInstanceOf(BlockException.class)
                .hasMessageContaining("name=");
        assertThat(export(new TestDevice("1.disk", BLOCKING), "name=disk1").address())
                .isEqualTo("/dev/disk1");
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aRequestAllocatesNothing(boolean blocking) throws Exception {
        TestDevice device = new TestDevice("disk", blocking ? BLOCKING : FAST);
        export(device);
        Dev dev = kernel.device("disk");
        Rq read = read(0, 4096), write = write(4096, new byte[4096], Abi.RQ_FUA);
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        for (int i = 0; i < 2000; i++) both(dev, read, write);
        Map<Long, Long> before = new HashMap<>();
        for (Thread each : threads("disk")) before.put(each.getId(), threads.getThreadAllocatedBytes(each.getId()));
        int n = 5000;
        for (int i = 0; i < n; i++) both(dev, read, write);
        long allocated = 0;
        for (Thread each : threads("disk"))
            allocated += threads.getThreadAllocatedBytes(each.getId()) - before.getOrDefault(each.getId(), 0L);
        // a thread that was started meanwhile has its few kilobytes
        assertThat(allocated).isLessThan(2L * n * 8);
    }

    private void both(Dev dev, Rq read, Rq write) {
        kernel.submit(dev, read, write);
        assertThat(kernel.await(read)).isZero();
        assertThat(kernel.await(write)).isZero();
    }
}
