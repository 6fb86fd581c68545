package org.dblock.api;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GeometryTest {
    @ParameterizedTest
    @ValueSource(ints = {0, 256, 513, 8192})
    void blocksAreOf512To4096Bytes(int size) {
        assertThatThrownBy(() -> Geometry.of(1 << 20, size)).hasMessageContaining("must be 512, 1024, 2048 or 4096");
    }

    @ParameterizedTest
    @ValueSource(longs = {0, -512, 513})
    void aSizeIsWholeBlocks(long size) {
        assertThatThrownBy(() -> Geometry.of(size, 512)).hasMessageContaining("size " + size);
    }

    @Test
    void capabilitiesAreCopied() {
        Geometry geometry = Geometry.of(4096, 512).with(Capability.DISCARD);
        assertThat(geometry.can(Capability.DISCARD)).isTrue();
        assertThat(geometry.can(Capability.RESIZE)).isFalse();
        assertThat(geometry.withSize(8192).can(Capability.DISCARD)).isTrue();
        assertThatThrownBy(() -> geometry.capabilities().clear()).isInstanceOf(UnsupportedOperationException.class);
    }

    @Test
    void eachChangeLeavesTheRest() {
        Geometry geometry = Geometry.of(1 << 20, 512)
                .atMemorySpeed()
                .withIo(4096, 65536)
                .withPersistence(Persistence.VOLATILE)
                .withReadOnly(true);
        assertThat(geometry.mayBlock()).isFalse();
        assertThat(geometry.preferredIo()).isEqualTo(4096);
        assertThat(geometry.optimalIo()).isEqualTo(65536);
        assertThat(geometry.persistence()).isEqualTo(Persistence.VOLATILE);
        assertThat(geometry.readOnly()).isTrue();
        assertThat(geometry.size()).isEqualTo(1 << 20);
    }
}
