package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;
import static org.dblock.backend.s3.Direct.BLOCK;
import static org.dblock.backend.s3.Direct.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;
import org.dblock.api.BlockVolume;
import org.dblock.api.Reason;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The journal of a host whose volume was taken over is kept for a while, for it may have what nobody else has. */
class AsideTest extends OneBucket {
    private static final VolumeSpec SPEC = spec("v", 1 << 20);

    /** A host that wrote what never got to the bucket comes back after another one had the volume. */
    @BeforeEach
    void putAside() throws IOException {
        BlockVolume volume = host("one").open(SPEC);
        bucket.down = true;
        volume.write(data(7, 1), BLOCK, true);
        volume.handOver();
        bucket.down = false;
        host("two").open(SPEC.withOption("takeover", true)).close();
        host("one").open(SPEC).close();
        assertThat(aside()).hasSize(1);
    }

    private List<Path> aside() throws IOException {
        try (Stream<Path> files = Files.list(folder.resolve("one"))) {
            return files.filter(file -> file.toString().endsWith(".aside")).toList();
        }
    }

    /** Lets the file be so old. */
    private void age(Duration age) throws IOException {
        Path file = aside().get(0);
        String[] words = file.getFileName().toString().split("\\.");
        long since = Long.parseLong(words[2]) - age.toMillis();
        Files.move(file, file.resolveSibling(words[0] + "." + words[1] + "." + since + ".aside"));
    }

    @Test
    void itHasWhatWasAcknowledged() throws Exception {
        byte[] journal = Files.readAllBytes(aside().get(0));
        assertThat(journal[Journal.RING + Journal.RECORD + 5]).isEqualTo((byte) 7);
    }

    @Test
    void itGoesWithTheFirstOpeningAfterItsDays() throws Exception {
        age(Duration.ofDays(29));
        host("one").open(SPEC).close();
        assertThat(aside()).as("after 29 days").hasSize(1);
        age(Duration.ofDays(2));
        host("one").open(SPEC.withOption("asideDays", 0)).close();
        host("one").open(SPEC.withOption("asideDays", 32)).close();
        assertThat(aside()).as("of a volume whose are kept longer").hasSize(1);
        BlockVolume other = host("two").open(SPEC);
        refusal(Reason.IN_USE, () -> host("one").open(SPEC));
        assertThat(aside()).as("after an opening that failed").hasSize(1);
        other.close();
        host("one").open(spec("another", 1 << 20)).close();
        assertThat(aside()).as("after that of another volume").hasSize(1);
        host("one").open(SPEC).close();
        assertThat(aside()).isEmpty();
    }

    @Test
    void whatSomebodyHasNamedOtherwiseIsTheirs() throws Exception {
        Path file = aside().get(0);
        Files.move(file, file.resolveSibling(file.getFileName().toString().replace(".aside", ".mine.aside")));
        host("one").open(SPEC.withOption("asideDays", 1)).close();
        assertThat(aside()).hasSize(1);
    }

    @Test
    void itGoesWithItsVolume() throws Exception {
        host("one").delete(SPEC);
        assertThat(aside()).isEmpty();
    }
}
