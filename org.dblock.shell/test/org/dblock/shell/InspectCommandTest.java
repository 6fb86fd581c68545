package org.dblock.shell;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.dblock.api.BlockException;
import org.dblock.api.Inspection;
import org.dblock.api.device.Backend;
import org.dblock.api.device.DeviceSpec;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A volume in a bucket is found by its device or by where it is, and damage makes the command fail. */
class InspectCommandTest {
    @TempDir
    Path home;

    private FakeDevices devices;
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    @BeforeEach
    void demo() throws BlockException {
        devices = FakeDevices.withDemo();
        devices.backends.add(new Backend(
                "s3",
                "org.dblock.backend.s3",
                "0.1.0",
                "",
                List.of(
                        new Backend.Option("bucket", "String", true, "", List.of(), "the bucket"),
                        new Backend.Option("endpoint", "String", false, "", List.of(), "the store"))));
        devices.create(new DeviceSpec(
                "vault", "s3", "inner", 1 << 20, 0, false, true, 1, 60, List.of(), Map.of("bucket", "disks")));
        devices.calls.clear();
    }

    private String run(String line) throws Exception {
        out.reset();
        Commands commands = new Commands(devices, null, home);
        List<String> words = List.of(line.split(" "));
        commands.run(
                commands.find(words.get(0)),
                words.subList(1, words.size()),
                new PrintStream(out, true, StandardCharsets.UTF_8),
                home,
                false,
                new CountDownLatch(1));
        return printed();
    }

    private String printed() {
        return out.toString(StandardCharsets.UTF_8);
    }

    @Test
    void aDevicesNameSaysWhereItsVolumeIs() throws Exception {
        devices.inspection = new Inspection(Map.of("epoch", "7"), List.of());
        assertThat(run("s3-inspect vault")).contains("VOLUME  inner", "epoch   7", "no damage found");
        assertThat(devices.calls).containsExactly("inspect s3 inner {bucket=disks}");
    }

    @Test
    void itsHelpHasTheOptionsOfThisBackendAlone() throws Exception {
        assertThat(run("help s3-inspect"))
                .contains("Options of the backend:", "--bucket")
                .doesNotContain("Options of s3");
        assertThat(run("help create")).contains("Options of s3:");
    }

    @Test
    void aVolumeWithoutADeviceIsNamedWithItsBucket() throws Exception {
        run("s3-inspect other --bucket b --endpoint http://x --scrub");
        assertThat(devices.calls).containsExactly("inspect s3 other {bucket=b, endpoint=http://x} scrub");
        assertThatThrownBy(() -> run("s3-inspect other"))
                .hasMessageContaining("no device 'other'")
                .hasMessageContaining("--bucket");
        assertThatThrownBy(() -> run("s3-inspect demo")).hasMessageContaining("of backend ramdisk");
    }

    @Test
    void damageIsListedAndFails() throws Exception {
        devices.inspection = new Inspection(
                Map.of("epoch", "7"),
                List.of(
                        new Inspection.Damage("k/log/1", "is missing", "monday", 8192, 4096),
                        new Inspection.Damage("k/ckpt/2", "doesn't match its CRC", "", -1, 0)));
        assertThatThrownBy(() -> run("s3-inspect vault --scrub"))
                .isInstanceOf(BlockException.class)
                .hasMessageContaining("volume 'inner' is damaged: 2 findings");
        assertThat(printed())
                .contains("8192", "4K", "k/log/1", "is missing, in snapshot 'monday'", "doesn't match its CRC")
                .doesNotContain("no damage");
        assertThatThrownBy(() -> run("s3-inspect vault --json")).isInstanceOf(BlockException.class);
        assertThat(printed())
                .isEqualTo("{\"volume\":\"inner\",\"epoch\":\"7\",\"damage\":[{\"object\":\"k/log/1\",\"problem\":\"is"
                               + " missing\",\"snapshot\":\"monday\",\"offset\":8192,\"length\":4096},{\"object\":\"k/ckpt/2\",\"problem\":\"doesn't"
                               + " match its CRC\",\"snapshot\":null,\"offset\":null,\"length\":null}]}\n");
    }
}
