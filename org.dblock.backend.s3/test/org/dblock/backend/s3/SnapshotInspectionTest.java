package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;
import static org.dblock.backend.s3.Direct.BLOCK;
import static org.dblock.backend.s3.Direct.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import org.dblock.api.BlockVolume;
import org.dblock.api.Inspection;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** An inspection also finds the damage that only a snapshot, or a clone of one, would meet. */
class SnapshotInspectionTest extends OneBucket {
    private static final int BLOCKS = 32; // two objects
    private static final VolumeSpec PARENT = spec("p", 1 << 20).withOption("flush", "remote-durable");

    private S3Store store;

    @BeforeEach
    void gateway() {
        store = host("one");
    }

    private static VolumeSpec cloned(String volume, String snapshot) {
        return spec(volume, 0).withOption("flush", "remote-durable").withOption("snapshot", snapshot);
    }

    private static void fill(BlockVolume volume, int value) throws IOException {
        for (int i = 0; i < BLOCKS; i += 16) volume.write(data(value + i, 16), (long) i * BLOCK, true);
    }

    /** A volume of which nothing is left that its snapshot shows. */
    private void overwrittenSince(String snapshot) throws IOException {
        try (BlockVolume volume = store.open(PARENT)) {
            fill(volume, 1);
            store.createSnapshot(PARENT, snapshot);
            fill(volume, 2);
        }
    }

    /** The first object with data. */
    private String firstData() {
        return bucket.objects.entrySet().stream()
                .filter(e -> Interposed.type(e.getKey(), ByteBuffer.wrap(e.getValue())) == Header.Type.DATA)
                .findFirst()
                .orElseThrow()
                .getKey();
    }

    private void damageLastBlock(String key) {
        byte[] bytes = bucket.objects.get(key);
        bytes[bytes.length - 1] ^= 1;
    }

    private String root(String snapshot) {
        return bucket.objects.keySet().stream()
                .filter(key -> key.contains("/snap/") && key.endsWith("-" + snapshot))
                .findFirst()
                .orElseThrow();
    }

    private Inspection.Damage onlyDamage(VolumeSpec spec, boolean scrub) throws IOException {
        List<Inspection.Damage> damage = store.inspect(spec, scrub).damage();
        assertThat(damage).hasSize(1);
        return damage.get(0);
    }

    @Test
    void whatOnlyASnapshotShowsIsVerifiedAndTheSnapshotNamed() throws Exception {
        overwrittenSince("monday");
        Map<String, byte[]> before = new TreeMap<>(bucket.objects);
        Inspection sound = store.inspect(PARENT, true);
        assertThat(sound.damage()).isEmpty();
        assertThat(sound.facts()).containsEntry("snapshots", "monday");
        assertThat(bucket.objects).as("nothing is changed").containsExactlyEntriesOf(before);

        String key = firstData();
        damageLastBlock(key);
        assertThat(onlyDamage(PARENT, true))
                .isEqualTo(new Inspection.Damage(
                        key, "has blocks that don't match their CRC", "monday", 15 * BLOCK, BLOCK));
        bucket.objects.remove(key);
        assertThat(onlyDamage(PARENT, false))
                .isEqualTo(new Inspection.Damage(key, "is missing", "monday", 0, 16 * BLOCK));
    }

    @Test
    void whatVolumeAndSnapshotShareIsToldOfBoth() throws Exception {
        try (BlockVolume volume = store.open(PARENT)) {
            fill(volume, 1);
            store.createSnapshot(PARENT, "monday");
            volume.write(data(9, 1), 0, true);
        }
        damageLastBlock(firstData());
        assertThat(store.inspect(PARENT, true).damage())
                .extracting(each -> each.snapshot() + " " + each.offset() / BLOCK + " " + each.length() / BLOCK)
                .containsExactly(" 15 1", "monday 15 1");
    }

    @Test
    void everyObjectIsReadOnceHoweverManySnapshotsShowIt() throws Exception {
        try (BlockVolume volume = store.open(PARENT)) {
            fill(volume, 1);
            for (String each : List.of("a", "b", "c")) store.createSnapshot(PARENT, each);
        }
        Map<String, Integer> reads = new ConcurrentHashMap<>();
        ObjectStore counting = new Interposed(bucket) {
            @Override
            public void get(String key, long offset, ByteBuffer into) throws IOException {
                if (key.contains("/log/") && offset > 0) reads.merge(key + " " + offset, 1, Integer::sum);
                super.get(key, offset, into);
            }
        };
        assertThat(new S3Store(folder, options -> counting)
                        .inspect(PARENT, true)
                        .damage())
                .isEmpty();
        assertThat(reads).hasSize(2);
        assertThat(reads.values()).containsOnly(1);
    }

    @Test
    void aSnapshotThatCanNotBeReadIsDamage() throws Exception {
        overwrittenSince("monday");
        String root = root("monday");
        byte[] bytes = bucket.objects.get(root);
        bytes[bytes.length / 2] ^= 1;
        Inspection.Damage found = onlyDamage(PARENT, false);
        assertThat(found.object()).isEqualTo(root);
        assertThat(found.snapshot()).isEqualTo("monday");
        assertThat(found.problem()).contains("can't be read").contains("CRC");
    }

    @Test
    void aSnapshotThatItsOwnerCouldNotWriteDownIsVerifiedAllTheSame() throws Exception {
        BlockVolume volume = store.open(PARENT);
        fill(volume, 1);
        store.createSnapshot(PARENT, "monday");
        fill(volume, 2);
        volume.handOver();
        bucket.objects.keySet().removeIf(key -> key.contains("/snap/")); // as if it had died before that
        assertThat(store.inspect(PARENT, true).damage()).isEmpty();
        damageLastBlock(firstData());
        assertThat(onlyDamage(PARENT, true).snapshot()).isEqualTo("monday");
    }

    @Test
    void aDeletedSnapshotIsVerifiedAsLongAsACloneNeedsIt() throws Exception {
        overwrittenSince("monday");
        store.open(cloned("c", "p@monday")).close();
        store.deleteSnapshot(PARENT, "monday", false);
        damageLastBlock(firstData());
        assertThat(onlyDamage(PARENT, true).snapshot()).isEqualTo("monday");
        assertThat(onlyDamage(spec("c", 0), true).snapshot())
                .as("the clone itself")
                .isEmpty();
        store.delete(spec("c", 0));
        assertThat(store.inspect(PARENT, true).damage()).as("nobody needs it").isEmpty();
    }

    @Test
    void whatOnlyTheSnapshotOfACloneShowsIsVerifiedInItsParentsLog() throws Exception {
        overwrittenSince("monday");
        try (BlockVolume clone = store.open(cloned("c", "p@monday"))) {
            store.createSnapshot(spec("c", 0), "tuesday");
            fill(clone, 3);
        }
        String key = firstDataOfParent();
        bucket.objects.get(key)[BLOCK] ^= 1;
        assertThat(onlyDamage(spec("c", 0), true))
                .isEqualTo(new Inspection.Damage(key, "has blocks that don't match their CRC", "tuesday", 0, BLOCK));
    }

    private String firstDataOfParent() {
        String root = root("monday");
        String log = root.substring(0, root.indexOf("/snap/")) + "/log/";
        return bucket.objects.entrySet().stream()
                .filter(e -> e.getKey().startsWith(log)
                        && Interposed.type(e.getKey(), ByteBuffer.wrap(e.getValue())) == Header.Type.DATA)
                .findFirst()
                .orElseThrow()
                .getKey();
    }
}
