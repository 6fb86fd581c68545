package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.dblock.backend.s3.Direct.BLOCK;
import static org.dblock.backend.s3.Direct.data;
import static org.dblock.backend.s3.Direct.read;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.dblock.api.Inspection;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** An inspection finds all damage and nothing else, and says what it means for the volume. */
class InspectorTest extends OneBucket {
    private static final int BLOCKS = 256;

    private Direct direct;

    @BeforeEach
    void create() {
        direct = Direct.create(folder, bucket);
        direct.remoteDurable = true;
    }

    /** Writes an object of the log for each of some writes, with a checkpoint after every three. */
    private void fill(Random random, int objects, boolean close) throws Exception {
        direct.checkpointObjects = 3;
        S3Volume volume = direct.open("one", bucket, true);
        for (int i = 0; i < objects; i++) {
            int lba = random.nextInt(BLOCKS - 8);
            volume.write(data(1 + random.nextInt(100), 1 + random.nextInt(8)), (long) lba * BLOCK, true);
            if (i % 3 == 2) awaitCheckpoint(volume);
        }
        if (close) volume.close();
        else volume.handOver();
    }

    private void awaitCheckpoint(S3Volume volume) throws InterruptedException {
        long deadline = System.nanoTime() + 60_000_000_000L;
        long slot = volume.slot();
        while (newestRoot() == null || Keys.rootSlot(newestRoot()) < slot - 2) {
            assertThat(System.nanoTime()).isLessThan(deadline);
            Thread.sleep(1);
        }
    }

    private String newestRoot() {
        String key = bucket.objects.ceilingKey(direct.keys.roots());
        return key != null && key.startsWith(direct.keys.roots()) ? key : null;
    }

    private List<String> keys(String prefix) {
        return bucket.objects.keySet().stream()
                .filter(key -> key.startsWith(prefix))
                .toList();
    }

    private String key(Header.Type type, int n) {
        return bucket.objects.entrySet().stream()
                .filter(e -> Interposed.type(e.getKey(), ByteBuffer.wrap(e.getValue())) == type)
                .skip(n)
                .findFirst()
                .orElseThrow()
                .getKey();
    }

    private State state() throws IOException {
        Scheduler scheduler = new Threads("state");
        try {
            Bucket way = new Bucket(bucket, scheduler, "v");
            Settings settings = direct.settings("");
            Checkpoints checkpoints =
                    new Checkpoints(way, direct.keys, direct.format.volume(), new Rules(), settings.patienceNanos());
            return new Fence(way, direct.keys, direct.format, checkpoints, scheduler, settings, new Rules())
                    .read()
                    .state();
        } finally {
            scheduler.join(0);
        }
    }

    private static BitSet ranges(Inspection found) {
        BitSet blocks = new BitSet();
        for (Inspection.Damage each : found.damage())
            if (each.offset() >= 0)
                blocks.set((int) (each.offset() / BLOCK), (int) ((each.offset() + each.length()) / BLOCK));
        return blocks;
    }

    @Test
    void aScrubThatRunsOutOfMemoryEnds() throws Exception {
        fill(new Random(1), 8, true);
        ObjectStore scarce = new Interposed(bucket) {
            @Override
            public void get(String key, long offset, ByteBuffer into) throws IOException {
                if (offset > 0) throw new OutOfMemoryError("as if");
                super.get(key, offset, into);
            }
        };
        assertTimeoutPreemptively(
                Duration.ofMinutes(2),
                () -> assertThatThrownBy(() -> direct.inspect(scarce, true))
                        .isInstanceOf(IOException.class)
                        .hasMessageContaining("as if"));
    }

    @Test
    void aSoundVolumeHasNoDamageAndIsLeftAsItIs() throws Exception {
        fill(new Random(1), 8, true);
        Map<String, byte[]> before = new TreeMap<>(bucket.objects);
        Inspection found = direct.inspect(bucket, true);
        assertThat(found.damage()).isEmpty();
        assertThat(found.facts())
                .containsKeys("checkpoint", "checkpoint before", "live", "stored", "verified")
                .containsEntry("size", "1048576 bytes")
                .containsEntry("epoch", "1");
        assertThat(found.facts().get("owner")).contains("one since").contains("released");
        assertThat(bucket.objects).containsExactlyEntriesOf(before);
    }

    @Test
    void anOpenVolumeGoesOnWhileItIsInspected() throws Exception {
        S3Volume volume = direct.open("one", bucket, true);
        volume.write(data(1, 4), 0, true);
        assertThat(direct.inspect(bucket, true).facts().get("owner")).startsWith("one since");
        volume.write(data(2, 4), 0, true);
        volume.close();
    }

    /** Damages any one object with data that are live, in any way, and finds out what that means by comparing. */
    @Test
    void theRangesAreExactlyThoseThatAreDamaged() throws Exception {
        long seed = Long.getLong("dblock.seed", System.nanoTime());
        Random random = new Random(seed);
        fill(random, 12, true);
        Map<String, byte[]> good = new TreeMap<>(bucket.objects);
        State state = state();
        List<String> live = new ArrayList<>();
        state.objects.forEach((slot, stored) -> {
            // what follows the checkpoint is another matter: there a damaged header ends the log
            if (stored.live > 0 && slot <= Keys.rootSlot(newestRoot())) live.add(direct.keys.log(slot));
        });
        for (int round = 0; round < 60; round++) {
            String key = live.get(random.nextInt(live.size()));
            byte[] bytes = good.get(key).clone();
            int way = random.nextInt(4);
            if (way == 0) bucket.objects.remove(key);
            else if (way == 1) bucket.objects.put(key, Arrays.copyOf(bytes, random.nextInt(bytes.length)));
            else {
                for (int i = 0; i < 1 + random.nextInt(3); i++) {
                    int at = way == 2 ? random.nextInt(bytes.length) : BLOCK + random.nextInt(bytes.length - BLOCK);
                    bytes[at] ^= (byte) (1 + random.nextInt(255));
                }
                bucket.objects.put(key, bytes);
            }
            BitSet damaged = new BitSet();
            byte[] now = bucket.objects.get(key);
            byte[] then = good.get(key);
            state.map.visit((lba, blocks, object, at) -> {
                if (!direct.keys.log(object).equals(key)) return;
                int header = state.objects.get(object).headerBlocks * BLOCK;
                for (int i = 0; i < blocks; i++) {
                    int from = header + (at + i) * BLOCK;
                    boolean same = now != null
                            && now.length >= from + BLOCK
                            && Arrays.equals(now, 0, header, then, 0, header)
                            && Arrays.equals(now, from, from + BLOCK, then, from, from + BLOCK);
                    if (!same) damaged.set((int) lba + i);
                }
            });
            String what = "seed " + seed + " round " + round + " way " + way + " " + key;
            Inspection found = direct.inspect(bucket, true);
            assertThat(ranges(found)).as(what).isEqualTo(damaged);
            assertThat(found.damage()).as(what).allMatch(each -> each.object().equals(key));
            if (way < 2)
                assertThat(ranges(direct.inspect(bucket, false))).as(what).isEqualTo(damaged);
            bucket.objects.put(key, then);
        }
        assertThat(direct.inspect(bucket, true).damage()).isEmpty();
    }

    @Test
    void aHeaderThatIsDamagedBehindTheCheckpointEndsTheLogAndIsNeverCutOff() throws Exception {
        S3Volume volume = direct.open("one", bucket, true);
        for (int i = 0; i < 3; i++) volume.write(data(i, 1), (long) i * BLOCK, true);
        volume.handOver();
        String second = key(Header.Type.DATA, 1);
        for (byte[] damage :
                List.of(new byte[0], new byte[100], new byte[2 * BLOCK], half(bucket.objects.get(second)))) {
            byte[] good = bucket.objects.put(second, damage);
            Inspection found = direct.inspect(bucket, false);
            assertThat(found.damage().get(0).object()).isEqualTo(second);
            assertThat(found.damage().get(0).problem()).contains("can't be opened");
            assertThat(ranges(found)).as("written after it").isEqualTo(BitSet.valueOf(new long[] {0b100}));
            Map<String, byte[]> before = new TreeMap<>(bucket.objects);
            assertThatThrownBy(() -> direct.open("two", bucket, true))
                    .isInstanceOf(Corruption.class)
                    .hasMessageContaining("damaged");
            assertThatThrownBy(() -> direct.open("one", bucket, true)).isInstanceOf(Corruption.class);
            assertThat(bucket.objects).containsExactlyEntriesOf(before);
            bucket.objects.put(second, good);
        }
        volume = direct.open("one", bucket, false);
        assertThat(read(volume, 2)).isEqualTo(2);
        volume.close();
    }

    private static byte[] half(byte[] bytes) {
        return Arrays.copyOf(bytes, bytes.length / 2);
    }

    @Test
    void theLastObjectOfTheLogIsRefusedIfItIsDamagedAndNotCutOff() throws Exception {
        S3Volume volume = direct.open("one", bucket, true);
        for (int i = 0; i < 3; i++) volume.write(data(i, 1), (long) i * BLOCK, true);
        volume.handOver();
        String last = key(Header.Type.DATA, 2);
        bucket.objects.get(last)[40] ^= 1;
        assertThatThrownBy(() -> direct.open("one", bucket, false)).isInstanceOf(Corruption.class);
        assertThat(direct.inspect(bucket, false).damage()).isNotEmpty();
    }

    @Test
    void aSlotThatIsMissingBeforeOthersIsFound() throws Exception {
        S3Volume volume = direct.open("one", bucket, true);
        for (int i = 0; i < Direct.WINDOW + 3; i++) volume.write(data(i, 1), (long) i * BLOCK, true);
        volume.handOver();
        bucket.objects.remove(key(Header.Type.DATA, 0));
        Inspection found = direct.inspect(bucket, false);
        assertThat(found.damage().get(0).problem()).contains("missing");
        assertThat(ranges(found).cardinality()).isEqualTo(Direct.WINDOW + 2);
        assertThatThrownBy(() -> direct.open("two", bucket, true))
                .isInstanceOf(Corruption.class)
                .hasMessageContaining("is missing");
    }

    @Test
    void aDamagedCheckpointIsReportedAndMadeUpForByTheOneBefore() throws Exception {
        fill(new Random(2), 9, false);
        List<String> roots = keys(direct.keys.roots());
        assertThat(roots).hasSize(2);
        State good = state();
        List<String> suspects = new ArrayList<>(keys(direct.keys.parts()));
        suspects.removeAll(partsOf(roots.get(1)));
        suspects.add(roots.get(0));
        for (String key : suspects) {
            byte[] bytes = bucket.objects.get(key);
            byte[] flipped = bytes.clone();
            flipped[bytes.length / 2] ^= 4;
            for (byte[] damage : new byte[][] {flipped, half(bytes), null}) {
                // a root that is gone altogether is none
                if (damage == null && key.equals(roots.get(0))) continue;
                if (damage == null) bucket.objects.remove(key);
                else bucket.objects.put(key, damage);
                Inspection found = direct.inspect(bucket, true);
                assertThat(found.damage()).as(key).hasSize(1);
                assertThat(found.damage().get(0).object()).isEqualTo(roots.get(0));
                State around = state();
                assertThat(around.slot).isEqualTo(good.slot);
                assertThat(around.crc).isEqualTo(good.crc);
                assertThat(extents(around)).isEqualTo(extents(good));
                bucket.objects.put(key, bytes);
            }
        }
        bucket.objects.get(roots.get(0))[30] ^= 1;
        S3Volume volume = direct.open("one", bucket, false);
        for (int i = 0; i < 9; i++) volume.write(data(i, 1), (long) i * BLOCK, true);
        volume.close();
    }

    private List<String> partsOf(String root) throws IOException {
        List<String> parts = new ArrayList<>();
        Scheduler scheduler = new Threads("parts");
        State state = new Checkpoints(
                        new Bucket(bucket, scheduler, "v"),
                        direct.keys,
                        direct.format.volume(),
                        new Rules(),
                        1_000_000_000L)
                .load(root);
        scheduler.join(0);
        for (long n = state.map.next(0); n < state.map.limit(); n = state.map.next(n + 1))
            parts.add(state.map.page(n).part.key);
        return parts;
    }

    private static List<String> extents(State state) {
        List<String> extents = new ArrayList<>();
        state.map.visit((lba, blocks, object, at) -> extents.add(lba + "+" + blocks + "=" + object + ":" + at));
        return extents;
    }

    @Test
    void whereBothCheckpointsAreDamagedTheVolumeIsRefused() throws Exception {
        fill(new Random(3), 12, false);
        for (String root : keys(direct.keys.roots())) bucket.objects.get(root)[30] ^= 1;
        bucket.objects.remove(key(Header.Type.TAKEOVER, 0)); // as if the beginning of the log had been collected
        assertThatThrownBy(() -> direct.open("one", bucket, true))
                .isInstanceOf(Corruption.class)
                .hasMessageContaining("damaged");
        Inspection found = direct.inspect(bucket, true);
        assertThat(found.damage()).extracting(Inspection.Damage::object).containsAll(keys(direct.keys.roots()));
    }

    @Test
    void whatTheOwnerCollectsMeanwhileIsNoDamage() throws Exception {
        S3Volume volume = direct.open("one", bucket, true);
        volume.write(data(1, 4), 0, true);
        String first = key(Header.Type.DATA, 0);
        boolean[] done = new boolean[1];
        ObjectStore moving = new Interposed(bucket) {
            @Override
            public List<Item> list(String prefix, String after, int most) throws IOException {
                // after the state has been read
                if (prefix.equals(direct.keys.roots()) && most == 2 && !done[0]) {
                    done[0] = true;
                    volume.write(data(2, 4), 0, true);
                    bucket.objects.remove(first);
                }
                return super.list(prefix, after, most);
            }
        };
        assertThat(direct.inspect(moving, true).damage()).isEmpty();
        assertThat(done[0]).isTrue();
        volume.close();
    }
}
