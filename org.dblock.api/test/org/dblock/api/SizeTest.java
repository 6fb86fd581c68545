package org.dblock.api;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SizeTest {
    @ParameterizedTest
    @CsvSource({
        "0, 0",
        "512, 512",
        "4k, 4096",
        "64K, 65536",
        "1.5G, 1610612736",
        "10GiB, 10737418240",
        "10 GB, 10737418240",
        "8191P, 9222246136947933184"
    })
    void readsBytesAndUnits(String text, long bytes) {
        assertThat(Size.parse(text)).isEqualTo(bytes);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "G", "-1", "1.1", "1e9", "10 apples", "0.3K"})
    void namesTheTextAndTheRightForms(String text) {
        assertThatThrownBy(() -> Size.parse(text))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("'" + text + "' is no size: write bytes or a unit, like 4096, 512K, 10G or 1.5T");
    }

    @ParameterizedTest
    @ValueSource(strings = {"8192P", "99999999999999999999"})
    void saysWhatIsTooLarge(String text) {
        assertThatThrownBy(() -> Size.parse(text)).hasMessageContaining(text).hasMessageContaining("too large");
    }

    @ParameterizedTest
    @ValueSource(longs = {0, 1, 512, 1024, 1536, 1L << 30, (1L << 40) + 512, Long.MAX_VALUE})
    void exactTextIsReadBackAsTheSameBytes(long bytes) {
        assertThat(Size.parse(Size.exact(bytes))).isEqualTo(bytes);
    }

    @Test
    void formatsForPeople() {
        assertThat(Size.format(512)).isEqualTo("512");
        assertThat(Size.format(1536)).isEqualTo("1.5K");
        assertThat(Size.format(1L << 30)).isEqualTo("1G");
        assertThat(Size.format((1L << 30) + 1)).isEqualTo("1G");
    }
}
