package org.dblock.api;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What a volume gets from the interface alone. */
class BlockVolumeTest {
    private final byte[] content = new byte[1 << 20];
    private final List<Integer> writes = new ArrayList<>();

    private final BlockVolume volume = new BlockVolume() {
        @Override
        public Geometry geometry() {
            return Geometry.of(content.length, 512);
        }

        @Override
        public void read(ByteBuffer into, long offset) {
            into.put(content, (int) offset, into.remaining());
        }

        @Override
        public void write(ByteBuffer from, long offset, boolean fua) {
            writes.add(from.remaining());
            from.get(content, (int) offset, from.remaining());
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
    };

    @Test
    void zeroesAreWrittenInBoundedPieces() throws IOException {
        Arrays.fill(content, (byte) 1);
        volume.writeZeroes(512, 600 << 10, true, false);
        assertThat(writes).containsExactly(256 << 10, 256 << 10, 88 << 10);
        for (int i = 0; i < content.length; i++)
            assertThat(content[i]).isEqualTo((byte) (i >= 512 && i < 512 + (600 << 10) ? 0 : 1));
    }

    @Test
    void everythingIsData() throws IOException {
        List<String> extents = new ArrayList<>();
        volume.extents(512, 4096, (offset, length, flags) -> extents.add(offset + "+" + length + ":" + flags));
        assertThat(extents).containsExactly("512+4096:0");
    }

    @Test
    void resizingIsRefused() {
        assertThatThrownBy(() -> volume.resize(512))
                .isInstanceOfSatisfying(
                        BlockException.class, e -> assertThat(e.reason()).isEqualTo(Reason.UNSUPPORTED));
    }
}
