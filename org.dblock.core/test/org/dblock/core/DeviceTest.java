package org.dblock.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.dblock.core.Gateway.block;
import static org.dblock.core.Gateway.blocks;
import static org.dblock.core.Gateway.connect;
import static org.dblock.core.Gateway.valueAt;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.dblock.api.device.Connection;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceSpec;
import org.dblock.api.device.DeviceStats.Op;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What a client sees of a device whose store is there. */
class DeviceTest {
    private final Gateway gateway = new Gateway();
    private final FakeStore store = gateway.add(FakeStore.durable());

    @AfterEach
    void close() {
        gateway.close();
        assertThat(store.violation.get()).isNull();
        assertThat(store.openNow()).isZero();
    }

    static void fails(Reason reason, String words, ThrowingCallable call) {
        assertThatThrownBy(call)
                .isInstanceOfSatisfying(
                        BlockException.class, e -> assertThat(e.reason()).isEqualTo(reason))
                .hasMessageContaining(words);
    }

    @Test
    void aCreatedDeviceIsOnlineStoredAndServesWhatWasWritten() throws IOException {
        Device device = gateway.create("disk");
        assertThat(device.state()).isEqualTo(Device.State.ONLINE);
        assertThat(device.explanation()).isEmpty();
        assertThat(gateway.stored).hasSize(1);
        assertThat(device.geometry().size()).isEqualTo(Gateway.SIZE);
        assertThat(device.details()).containsEntry("kind", "bytes");
        try (Connection connection = connect(device)) {
            connection.write(block(7), 1024, false);
            assertThat(valueAt(connection, 1024)).isEqualTo(7);
            connection.writeZeroes(1024, 512, true, false);
            assertThat(valueAt(connection, 1024)).isZero();
            assertThat(connection.mayBlock()).isTrue();
            assertThat(connection.wouldWait()).isFalse();
        }
    }

    @Test
    void rangesOutsideOrBetweenBlocksAreRefusedBeforeTheVolumeSeesThem() throws IOException {
        Connection connection = connect(gateway.create("disk"));
        fails(Reason.INVALID, "whole blocks of 512", () -> connection.write(block(1), 100, false));
        fails(Reason.INVALID, "whole blocks", () -> connection.discard(0, 100));
        fails(Reason.INVALID, "whole blocks", () -> connection.discard(-512, 512));
        fails(Reason.INVALID, "ends beyond the device's 65536 bytes", () -> connection.read(block(0), Gateway.SIZE));
        fails(Reason.NO_SPACE, "ends beyond", () -> connection.write(blocks(2, 1), Gateway.SIZE - 512, false));
        fails(Reason.NO_SPACE, "ends beyond", () -> connection.writeZeroes(Long.MAX_VALUE & -512, 512, true, true));
        fails(Reason.INVALID, "not direct", () -> connection.read(ByteBuffer.allocate(512), 0));
        connection.write(ByteBuffer.allocateDirect(0), 0, false);
        connection.close();
        fails(Reason.INVALID, "closed", () -> connection.read(block(0), 0));
    }

    @Test
    void aReadOnlyDeviceRefusesWrites() throws IOException {
        store.disks.put("disk", new byte[Gateway.SIZE]);
        DeviceSpec spec = new DeviceSpec("disk", "fake", "", 0, 0, true, false, 4, 60, List.of(), java.util.Map.of());
        Device device = gateway.registry.create(spec);
        assertThat(device.geometry().readOnly()).isTrue();
        try (Connection connection = connect(device)) {
            fails(Reason.READ_ONLY, "read-only", () -> connection.write(block(1), 0, false));
            fails(Reason.READ_ONLY, "read-only", () -> connection.discard(0, 512));
            assertThat(valueAt(connection, 0)).isZero();
        }
        gateway.registry.remove("disk", false);
        assertThat(store.flushed.get()).isZero();
    }

    @Test
    void whateverAVolumeThrowsArrivesAsABlockException() throws IOException {
        Connection connection = connect(gateway.create("disk"));
        store.requestFailure = new BlockException(Reason.NO_SPACE, "the disk is full");
        fails(Reason.NO_SPACE, "the disk is full", () -> connection.write(block(1), 0, false));
        store.requestFailure = new IOException("bad sector");
        fails(Reason.IO, "bad sector", () -> connection.read(block(1), 0));
        store.requestFailure = new IllegalStateException("oops");
        fails(Reason.IO, "IllegalStateException: oops", () -> connection.read(block(1), 0));
        store.requestFailure = new StackOverflowError();
        fails(Reason.IO, "StackOverflowError", () -> connection.read(block(1), 0));
        store.requestFailure = null;
        assertThat(connection.device().stats().errors(Op.READ)).isEqualTo(3);
        assertThat(connection.device().stats().errors(Op.WRITE)).isEqualTo(1);
    }

    @Test
    void extentsAreCutToTheRange() throws IOException {
        Connection connection = connect(gateway.create("disk"));
        List<String> seen = new ArrayList<>();
        connection.extents(512, 8192, (offset, length, flags) -> seen.add(offset + "+" + length + ":" + flags));
        assertThat(seen).containsExactly("512+3584:0", "4096+4096:1", "8192+512:0");
        seen.clear();
        connection.extents(0, 8192, (offset, length, flags) -> !seen.add("one"));
        assertThat(seen).containsExactly("one");
    }

    @Test
    void everyRequestIsCounted() throws IOException {
        Device device = gateway.create("disk");
        try (Connection connection = connect(device)) {
            for (int i = 0; i < 10; i++) connection.write(blocks(2, i), 0, i == 0);
            for (int i = 0; i < 5; i++) connection.read(block(0), 0);
            connection.flush();
            connection.discard(0, 4096);
        }
        assertThat(device.stats().count(Op.WRITE)).isEqualTo(10);
        assertThat(device.stats().bytes(Op.WRITE)).isEqualTo(10240);
        assertThat(device.stats().fua()).isEqualTo(1);
        assertThat(device.stats().count(Op.READ)).isEqualTo(5);
        assertThat(device.stats().count(Op.FLUSH)).isEqualTo(1);
        assertThat(device.stats().bytes(Op.FLUSH)).isZero();
        assertThat(device.stats().bytes(Op.DISCARD)).isEqualTo(4096);
        assertThat(device.stats().count(Op.EXTENTS)).isZero();
        assertThat(device.stats().latency(Op.READ, 0.99)).isPositive();
        assertThat(device.stats().latency(Op.EXTENTS, 0.99)).isZero();
        assertThat(device.stats().inFlight()).isZero();
    }

    @Test
    void anInterruptedThreadDoesNotCarryItsInterruptIntoTheVolume() throws IOException {
        Connection connection = connect(gateway.create("disk"));
        store.hang = new java.util.concurrent.CountDownLatch(0); // await() would throw at an interrupt
        Thread.currentThread().interrupt();
        connection.read(block(0), 0);
        assertThat(Thread.interrupted()).isTrue();
    }
}
