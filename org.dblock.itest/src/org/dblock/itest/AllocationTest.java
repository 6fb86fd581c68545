package org.dblock.itest;

import static org.assertj.core.api.Assertions.assertThat;
import static org.dblock.itest.Eventually.eventually;

import com.sun.management.ThreadMXBean;
import java.io.EOFException;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceSpec;
import org.dblock.api.device.Devices;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.osgi.framework.BundleContext;
import org.osgi.test.common.annotation.InjectBundleContext;
import org.osgi.test.common.annotation.InjectService;

/** The whole way of a request, from the socket to the storage and back, allocates nothing on any thread. */
class AllocationTest {
    private static final int DEPTH = 16;
    private static final int BYTES = 4096;
    private static final int ROUNDS = 2000;
    private static final int READ = 0, WRITE = 1, FLUSH = 3, TRIM = 4, WRITE_ZEROES = 6;

    @InjectService(timeout = 60_000)
    Devices devices;

    @InjectBundleContext
    BundleContext context;

    private final ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    @AfterEach
    void removeAll() throws Exception {
        for (Device device : devices.list()) {
            devices.remove(device.name(), true);
            devices.deleteVolume(device.spec().backend(), "measured", Map.of());
        }
    }

    /** The ramdisk is served on the connection's thread, the file by workers. */
    @ParameterizedTest
    @CsvSource({
        "ramdisk, 0",
        "ramdisk, 1",
        "file, 0",
        "file, 1",
        "ramdisk, 3",
        "file, 3",
        "ramdisk, 4",
        "file, 4",
        "ramdisk, 6",
        "file, 6"
    })
    void aRequestAllocatesNothing(String backend, int command) throws Exception {
        eventually("front ends", () -> devices.frontEnds().contains("nbd"), true);
        eventually(
                "backends",
                () -> devices.backends().stream().anyMatch(b -> b.name().equals(backend)),
                true);
        devices.create(DeviceSpec.of("measured", backend, 1 << 20).withExports(List.of("nbd")));
        boolean hasPayload = command == WRITE;
        boolean hasRange = command != FLUSH;
        ByteBuffer batch = ByteBuffer.allocateDirect(DEPTH * (28 + BYTES));
        for (int i = 0; i < DEPTH; i++) {
            batch.putInt(0x25609513).putInt(command).putLong(i);
            batch.putLong(hasRange ? (long) i * BYTES : 0).putInt(hasRange ? BYTES : 0);
            if (hasPayload) batch.position(batch.position() + BYTES);
        }
        batch.flip();
        ByteBuffer replies = ByteBuffer.allocateDirect(DEPTH * (16 + (command == READ ? BYTES : 0)));
        try (SocketChannel client = connect("measured")) {
            for (int i = 0; i < ROUNDS; i++) round(client, batch, replies);
            long before = allocatedByOthers();
            for (int i = 0; i < ROUNDS; i++) round(client, batch, replies);
            long bytes = allocatedByOthers() - before;
            assertThat(bytes)
                    .as("bytes allocated for %d requests", ROUNDS * DEPTH)
                    .isLessThan(ROUNDS * DEPTH);
        }
    }

    /** What threads that are alive have allocated, this one not counted. One that ends only makes it less. */
    private long allocatedByOthers() {
        long sum = 0;
        for (long id : threads.getAllThreadIds())
            if (id != Thread.currentThread().getId()) sum += Math.max(0, threads.getThreadAllocatedBytes(id));
        return sum;
    }

    private static void round(SocketChannel client, ByteBuffer batch, ByteBuffer replies) throws IOException {
        batch.rewind();
        while (batch.hasRemaining()) client.write(batch);
        replies.clear();
        while (replies.hasRemaining()) if (client.read(replies) < 0) throw new EOFException();
        assertThat(replies.getInt(4)).as("error").isZero();
    }

    /** The handshake, for simple replies. */
    private SocketChannel connect(String export) throws IOException {
        Path socket = Path.of(context.getProperty("dblock.home"), "sockets", "nbd.sock");
        SocketChannel client = SocketChannel.open(StandardProtocolFamily.UNIX);
        client.connect(UnixDomainSocketAddress.of(socket));
        receive(client, 18);
        byte[] name = export.getBytes(StandardCharsets.US_ASCII);
        ByteBuffer go =
                ByteBuffer.allocate(64).putInt(3).putLong(0x49484156454F5054L).putInt(7);
        go.putInt(6 + name.length).putInt(name.length).put(name).putShort((short) 0);
        client.write(go.flip());
        while (true) {
            ByteBuffer header = receive(client, 20);
            receive(client, header.getInt(16));
            if (header.getInt(12) == 1) return client; // ACK
            assertThat(header.getInt(12)).as("reply to GO").isEqualTo(3);
        }
    }

    private static ByteBuffer receive(SocketChannel client, int length) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(length);
        while (bytes.hasRemaining()) if (client.read(bytes) < 0) throw new EOFException();
        return bytes.flip();
    }
}
