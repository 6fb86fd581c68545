package org.dblock.api.device;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Collections;
import java.util.Dictionary;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.dblock.api.BlockException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class DeviceSpecTest {
    @Test
    void aConfigurationIsReadBackAsTheSameDevice() throws BlockException {
        DeviceSpec spec = new DeviceSpec(
                "db",
                "s3",
                "prod",
                1L << 40,
                4096,
                true,
                false,
                64,
                0,
                List.of("nbd", "kernel,recover=5"),
                Map.of("bucket", "b", "partSize", 8L));
        assertThat(DeviceSpec.of(map(spec.configuration()))).isEqualTo(spec);
    }

    @Test
    void whatIsLeftOutHasItsDefault() throws BlockException {
        DeviceSpec spec = DeviceSpec.of(Map.of("name", "d", "backend", "ramdisk", "size", "1G"));
        assertThat(spec).isEqualTo(DeviceSpec.of("d", "ramdisk", 1L << 30));
        assertThat(spec.volume()).isEqualTo("d");
        assertThat(spec.create()).isTrue();
    }

    @Test
    void exportsMayBeATextOfNames() throws BlockException {
        assertThat(DeviceSpec.of(Map.of("name", "d", "backend", "file", "exports", "nbd kernel"))
                        .exports())
                .containsExactly("nbd", "kernel");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "-a", "a b", "a/b", "x12345678901234567890123456789012", "ä"})
    void aNameIsOneThatAPathAndAUriCanHold(String name) {
        assertThatThrownBy(() -> DeviceSpec.of(Map.of("name", name, "backend", "file")))
                .isInstanceOf(BlockException.class)
                .hasMessageContaining("device name '" + name + "': must be 1 to 31 letters");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "size | 10 apples | 'size: ''10 apples'' is no size'",
                "size | 1000 | size 1000: must be a multiple of the block size, 512",
                "blockSize | 8192 | blockSize 8192: must be 0 to 4096",
                "blockSize | 1000 | 'block size 1000: must be 512, 1024, 2048 or 4096'",
                "readOnly | maybe | readOnly 'maybe': must be true or false",
                "queueDepth | 0 | queueDepth 0: must be 1 to 1024",
                "parkSeconds | -1 | parkSeconds"
            })
    void aBadValueIsNamedWithWhatWouldBeRight(String key, String value, String message) {
        Map<String, Object> configuration = new HashMap<>(Map.of("name", "d", "backend", "file"));
        configuration.put(key, value);
        assertThatThrownBy(() -> DeviceSpec.of(configuration)).hasMessageContaining(message);
    }

    private static Map<String, Object> map(Dictionary<String, Object> table) {
        Map<String, Object> map = new HashMap<>();
        for (String key : Collections.list(table.keys())) map.put(key, table.get(key));
        return map;
    }
}
