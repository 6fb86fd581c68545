package org.dblock.itest;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.dblock.itest.Eventually.eventually;

import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.dblock.api.BlockException;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceSpec;
import org.dblock.api.device.Devices;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.osgi.framework.BundleContext;
import org.osgi.test.common.annotation.InjectBundleContext;
import org.osgi.test.common.annotation.InjectService;

/** Front ends serve the devices that ask for them. */
class ExportTest {
    private static final DeviceSpec SPEC = DeviceSpec.of("exported", "ramdisk", 1 << 20);

    @InjectService(timeout = 60_000)
    Devices devices;

    @InjectBundleContext
    BundleContext context;

    @AfterEach
    void removeAll() throws Exception {
        for (Device device : devices.list()) devices.remove(device.name(), true);
        devices.deleteVolume("ramdisk", "exported", Map.of());
    }

    @Test
    void aDeviceIsServedOverNbdUnderItsName() throws Exception {
        eventually("front ends", () -> devices.frontEnds().contains("nbd"), true);
        Device device = devices.create(SPEC.withExports(List.of("nbd")));

        Path socket = Path.of(context.getProperty("dblock.home"), "sockets", "nbd.sock");
        eventually("exports", () -> device.exports().size(), 1);
        assertThat(device.exports().get(0).address()).contains("exported").contains(socket.toString());
        try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
            channel.connect(UnixDomainSocketAddress.of(socket));
            ByteBuffer greeting = ByteBuffer.allocate(16);
            while (greeting.hasRemaining() && channel.read(greeting) >= 0) {}
            assertThat(new String(greeting.array())).isEqualTo("NBDMAGICIHAVEOPT");
        }
    }

    @Test
    void anExportEndsAndBeginsAgain() throws Exception {
        eventually("front ends", () -> devices.frontEnds().contains("nbd"), true);
        Device device = devices.create(SPEC.withExports(List.of("nbd")));
        eventually("exports", () -> device.exports().size(), 1);

        devices.unexport("exported", "nbd", false);
        eventually("exports", () -> device.exports().size(), 0);

        devices.export("exported", "nbd");
        eventually("exports", () -> device.exports().size(), 1);
    }

    @Test
    void anExportThroughAnUnknownFrontEndIsRefusedByItsName() throws Exception {
        devices.create(SPEC);
        assertThatThrownBy(() -> devices.export("exported", "telepathy"))
                .isInstanceOf(BlockException.class)
                .hasMessageContaining("telepathy");
    }
}
