package org.dblock.api;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class VolumeSpecTest {
    private @interface Options {
        long limit() default 1 << 20;

        boolean direct() default false;

        String path() default "here";

        int retries() default 3;
    }

    @Test
    void optionsHaveTheirDefaults() throws BlockException {
        Options options = VolumeSpec.of("v", 0).options(Options.class);
        assertThat(options.limit()).isEqualTo(1 << 20);
        assertThat(options.direct()).isFalse();
        assertThat(options.path()).isEqualTo("here");
    }

    @Test
    void numbersMayHaveUnits() throws BlockException {
        Options options = VolumeSpec.of("v", 0)
                .withOption("limit", "2G")
                .withOption("retries", "4K")
                .withOption("direct", "true")
                .options(Options.class);
        assertThat(options.limit()).isEqualTo(2L << 30);
        assertThat(options.retries()).isEqualTo(4096);
        assertThat(options.direct()).isTrue();
    }

    @Test
    void storedTypesAreTakenAsTheyAre() throws BlockException {
        Options options = VolumeSpec.of("v", 0)
                .withOption("limit", 7L)
                .withOption("direct", true)
                .options(Options.class);
        assertThat(options.limit()).isEqualTo(7);
        assertThat(options.direct()).isTrue();
    }

    @Test
    void aValueThatDoesNotFitIsRefusedByName() {
        assertThatThrownBy(
                        () -> VolumeSpec.of("v", 0).withOption("limit", "much").options(Options.class))
                .isInstanceOf(BlockException.class)
                .hasMessage("option limit 'much': must be a number, or a size like 64K");
    }

    @Test
    void aFlagIsTrueOrFalseAndNothingElse() {
        assertThatThrownBy(
                        () -> VolumeSpec.of("v", 0).withOption("direct", "yes").options(Options.class))
                .isInstanceOf(BlockException.class)
                .hasMessage("option direct 'yes': must be true or false");
    }
}
