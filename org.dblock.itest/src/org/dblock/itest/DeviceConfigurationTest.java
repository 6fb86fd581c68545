package org.dblock.itest;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.dblock.itest.Eventually.eventually;

import java.util.Collections;
import java.util.Dictionary;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.dblock.api.device.Connection;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceSpec;
import org.dblock.api.device.Devices;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.osgi.service.cm.Configuration;
import org.osgi.service.cm.ConfigurationAdmin;
import org.osgi.test.common.annotation.InjectService;

/** Devices are what Config Admin says, and the other way round. */
class DeviceConfigurationTest {
    private static final DeviceSpec SPEC = DeviceSpec.of("configured", "ramdisk", 1 << 20);

    @InjectService(timeout = 60_000)
    Devices devices;

    @InjectService
    ConfigurationAdmin admin;

    @AfterEach
    void removeAll() throws Exception {
        for (Device device : devices.list()) devices.remove(device.name(), true);
        devices.deleteVolume("ramdisk", "configured", Map.of());
    }

    @Test
    void aConfigurationMakesADeviceThatDoesIo() throws Exception {
        Device device = configure(SPEC);

        assertThat(device.geometry().size()).isEqualTo(1 << 20);
        Block.write(device, 3, 7);
        assertThat(Block.holds(device, 3, 7)).isTrue();
        assertThat(Block.holds(device, 4, 7)).isFalse();
    }

    @Test
    void deletingTheConfigurationRemovesTheDevice() throws Exception {
        Device device = configure(SPEC);

        configuration("configured").delete();

        eventually("found", () -> devices.find("configured").isPresent(), false);
        assertThat(device.state()).isEqualTo(Device.State.REMOVED);
        assertThatThrownBy(() -> device.connect(Block.CLIENT)).isInstanceOf(BlockException.class);
    }

    @Test
    void aDeviceInUseOutlivesItsConfigurationUntilItsLastClientLeaves() throws Exception {
        Device device = configure(SPEC);
        Connection connection = device.connect(Block.CLIENT);
        Block block = new Block();

        configuration("configured").delete();
        block.write(connection, 1, 2);
        assertThat(block.holds(connection, 1, 2)).isTrue();
        connection.close();

        eventually("found", () -> devices.find("configured").isPresent(), false);
        assertThat(device.state()).isEqualTo(Device.State.REMOVED);
    }

    @Test
    void aDeviceThatTheServiceMakesIsAConfigurationThatAllItsPropertiesSurviveIn() throws Exception {
        devices.create(SPEC.withParkSeconds(5).withExports(List.of()));

        Map<String, Object> stored = map(configuration("configured").getProperties());
        assertThat(DeviceSpec.of(stored)).isEqualTo(SPEC.withParkSeconds(5));
        devices.remove("configured", false);
        assertThat(configuration("configured")).isNull();
    }

    @Test
    void aNewSizeIsStored() throws Exception {
        Device device = devices.create(SPEC);

        devices.resize("configured", 2 << 20);

        assertThat(device.geometry().size()).isEqualTo(2 << 20);
        eventually(
                "stored size",
                () -> DeviceSpec.of(map(configuration("configured").getProperties()))
                        .size(),
                2L << 20);
    }

    @Test
    void anOptionThatTheBackendDoesNotDeclareIsRefusedByItsName() {
        assertThatThrownBy(() -> devices.create(SPEC.withOptions(Map.of("nonsense", "1"))))
                .isInstanceOfSatisfying(
                        BlockException.class, e -> assertThat(e.reason()).isEqualTo(Reason.INVALID))
                .hasMessageContaining("nonsense");
        assertThat(devices.find("configured")).isEmpty();
    }

    @Test
    void theBackendsOptionsAreThoseOfItsMetatype() {
        assertThat(devices.backends()).anySatisfy(backend -> {
            assertThat(backend.name()).isEqualTo("ramdisk");
            assertThat(backend.bundle()).isEqualTo("org.dblock.backend.ramdisk");
            assertThat(backend.description()).isNotEmpty();
        });
    }

    private Device configure(DeviceSpec spec) throws Exception {
        admin.getFactoryConfiguration(Devices.PID, spec.name(), "?").update(spec.configuration());
        eventually("state", () -> devices.find(spec.name()).map(Device::state).orElse(null), Device.State.ONLINE);
        return devices.find(spec.name()).orElseThrow();
    }

    private Configuration configuration(String name) throws Exception {
        Configuration[] found =
                admin.listConfigurations("(&(service.factoryPid=" + Devices.PID + ")(name=" + name + "))");
        return found == null ? null : found[0];
    }

    private static Map<String, Object> map(Dictionary<String, Object> properties) {
        Map<String, Object> map = new HashMap<>();
        for (String key : Collections.list(properties.keys())) map.put(key, properties.get(key));
        return map;
    }
}
