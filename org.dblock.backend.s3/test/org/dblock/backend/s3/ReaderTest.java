package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.dblock.backend.s3.Direct.BLOCK;
import static org.dblock.backend.s3.Direct.data;
import static org.dblock.backend.s3.Direct.read;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.dblock.api.BlockException;
import org.dblock.api.BlockVolume;
import org.dblock.api.Reason;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.Test;

/** Who opens a volume for reading only sees it as it was in the bucket, and nobody notices. */
class ReaderTest extends OneBucket {
    private static VolumeSpec spec(long size) {
        return spec("v", size).withOption("flush", "remote-durable");
    }

    @Test
    void theOwnerGoesOnAndTheReaderKeepsItsMoment() throws Exception {
        try (BlockVolume owner = host("one").open(spec(16 << 20))) {
            owner.write(data(1, 1), 0, true);
            List<String> before = List.copyOf(bucket.objects.keySet());
            // in the same gateway too
            S3Store other = host("one");
            try (BlockVolume reader = other.open(spec(0).withReadOnly(true));
                    BlockVolume second = host("two").open(spec(0).withReadOnly(true))) {
                assertThat(bucket.objects.keySet()).as("what reading wrote").containsExactlyElementsOf(before);
                assertThat(reader.geometry().readOnly()).isTrue();
                assertThat(reader.geometry().size()).isEqualTo(16 << 20);
                owner.write(data(2, 1), 0, true);
                assertThat(read(reader, 0)).isEqualTo(1);
                assertThat(read(second, 0)).isEqualTo(1);
                assertThat(read(second, 1)).isZero();
                reader.flush();
                assertThatThrownBy(() -> reader.write(data(3, 1), 0, false))
                        .isInstanceOf(BlockException.class)
                        .hasMessageContaining("for reading only");
            }
            try (BlockVolume reader = host("two").open(spec(0).withReadOnly(true))) {
                assertThat(read(reader, 0)).isEqualTo(2);
            }
            owner.write(data(3, 1), 0, true);
            assertThat(read(owner, 0)).isEqualTo(3);
        }
    }

    @Test
    void whatWasCollectedSinceIsAnErrorAndNeverOtherData() throws Exception {
        try (BlockVolume owner = host("one").open(spec(16 << 20))) {
            owner.write(data(1, 1), 0, true);
            BlockVolume reader = host("two").open(spec(0).withReadOnly(true));
            owner.write(data(2, 1), 0, true);
            String collected = "/log/" + String.format("%016x", firstData());
            bucket.objects.keySet().removeIf(key -> key.endsWith(collected));
            assertThatThrownBy(() -> read(reader, 0))
                    .isInstanceOf(BlockException.class)
                    .hasMessageContaining("open it again")
                    .extracting(e -> ((BlockException) e).reason())
                    .isEqualTo(Reason.IO);
            reader.close();
        }
    }

    private long firstData() {
        return bucket.objects.entrySet().stream()
                .filter(e -> Interposed.type(e.getKey(), ByteBuffer.wrap(e.getValue())) == Header.Type.DATA)
                .mapToLong(e -> Keys.slot(e.getKey()))
                .min()
                .orElseThrow();
    }

    @Test
    void aVolumeThatIsAbsentIsNotCreated() {
        assertThatThrownBy(() -> host("one").open(spec(16 << 20).withReadOnly(true)))
                .isInstanceOf(BlockException.class)
                .extracting(e -> ((BlockException) e).reason())
                .isEqualTo(Reason.NOT_FOUND);
        assertThat(bucket.objects).isEmpty();
    }

    @Test
    void theAllocationMapIsThatOfTheMoment() throws Exception {
        try (BlockVolume owner = host("one").open(spec(1L << 40))) {
            owner.write(data(1, 2), 1L << 30, false);
            owner.write(data(1, 1), (1L << 40) - BLOCK, true);
            try (BlockVolume reader = host("two").open(spec(0).withReadOnly(true))) {
                List<String> extents = new ArrayList<>();
                reader.extents(
                        0, 1L << 40, (offset, length, flags) -> extents.add(offset + "+" + length + ":" + flags));
                assertThat(extents.stream().filter(e -> e.endsWith(":0")).toList())
                        .containsExactly((1L << 30) + "+8192:0", ((1L << 40) - BLOCK) + "+4096:0");
                long[] end = new long[1];
                reader.extents(0, 1L << 40, (offset, length, flags) -> {
                    assertThat(offset).isEqualTo(end[0]);
                    end[0] = offset + length;
                    return true;
                });
                assertThat(end[0]).isEqualTo(1L << 40);
            }
        }
    }

    @Test
    void aReaderThatIsOvertakenByCheckpointsReadsAgain() throws Exception {
        try (BlockVolume owner = host("one").open(spec(16 << 20))) {
            owner.write(data(1, 1), 0, true);
            int[] lists = new int[1];
            // between the reading and the look at the root after it the newest root changes, once
            ObjectStore store = new Interposed(bucket) {
                @Override
                public List<Item> list(String prefix, String after, int most) throws IOException {
                    if (prefix.contains("/ckpt/") && ++lists[0] == 2) {
                        owner.write(data(2, 1), 0, true);
                        return List.of(new Item(prefix + "0000000000000000-0", 1));
                    }
                    return super.list(prefix, after, most);
                }
            };
            try (BlockVolume reader =
                    new S3Store(folder.resolve("two"), options -> store).open(spec(0).withReadOnly(true))) {
                assertThat(read(reader, 0)).isEqualTo(2);
            }
        }
    }
}
