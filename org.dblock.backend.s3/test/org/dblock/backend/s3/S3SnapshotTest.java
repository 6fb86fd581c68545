package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;
import static org.dblock.backend.s3.Direct.BLOCK;
import static org.dblock.backend.s3.Direct.data;
import static org.dblock.backend.s3.Direct.read;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import org.dblock.api.BlockVolume;
import org.dblock.api.ExtentVisitor;
import org.dblock.api.Reason;
import org.dblock.api.SnapshotInfo;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What somebody sees who makes, reads, clones and deletes snapshots. What crashes do to them: the simulation. */
class S3SnapshotTest extends OneBucket {
    private static final long MINUTE = 60_000_000_000L;

    private S3Store store;

    @BeforeEach
    void gateway() {
        store = host("one");
    }

    private static VolumeSpec cloned(String volume, String snapshot) {
        return spec(volume, 0).withOption("snapshot", snapshot);
    }

    private static VolumeSpec shown(String as, String snapshot) {
        return cloned(as, snapshot).withCreate(false).withReadOnly(true);
    }

    private static void write(BlockVolume volume, long lba, int value) throws IOException {
        volume.write(data(value, 1), lba * BLOCK, false);
    }

    /** Makes a snapshot of a volume that is open, and waits until other gateways see it. */
    private void snapshot(VolumeSpec spec, String name) throws IOException {
        store.createSnapshot(spec, name);
        long start = System.nanoTime();
        while (store.snapshots(spec).stream().noneMatch(each -> each.name().equals(name)))
            assertThat(System.nanoTime() - start).as("waiting for the snapshot").isLessThan(MINUTE);
    }

    private static Callable<?> run(Command command) {
        return () -> {
            command.run();
            return null;
        };
    }

    private interface Command {
        void run() throws IOException;
    }

    @Test
    void aSnapshotStaysWhatItWasAndACloneGoesItsOwnWay() throws Exception {
        try (BlockVolume parent = store.open(spec("p", 1 << 20))) {
            for (int i = 0; i < 100; i++) write(parent, i, i);
            store.createSnapshot(spec("p", 0), "s");
            for (int i = 0; i < 100; i += 2) write(parent, i, 111);
            try (BlockVolume child = store.open(cloned("c", "p@s"));
                    BlockVolume shown = store.open(shown("r", "p@s"))) {
                write(child, 7, 77);
                child.discard(8 * BLOCK, BLOCK);
                for (int i = 0; i < 100; i++) {
                    assertThat(read(parent, i)).isEqualTo(i % 2 == 0 ? 111 : i);
                    assertThat(read(child, i)).isEqualTo(i == 7 ? 77 : i == 8 ? 0 : i);
                    assertThat(read(shown, i)).isEqualTo(i);
                }
                assertThat(read(shown, 200)).isZero();
                assertThat(shown.geometry().readOnly()).isTrue();
                refusal(Reason.READ_ONLY, run(() -> write(shown, 0, 1)));
                assertThat(extents(shown)).containsExactly("data 0 100", "hole 100 156");
            }
        }
        // the clone is a volume as any other, on any host, and its snapshot can be cloned
        try (BlockVolume child = host("two").open(spec("c", 0))) {
            assertThat(read(child, 6)).isEqualTo(6);
            assertThat(read(child, 7)).isEqualTo(77);
            assertThat(read(child, 8)).isZero();
        }
        store.createSnapshot(spec("c", 0), "t");
        try (BlockVolume grandchild = store.open(cloned("g", "c@t"))) {
            assertThat(grandchild.geometry().size()).isEqualTo(1 << 20);
            for (int i = 0; i < 100; i++) assertThat(read(grandchild, i)).isEqualTo(i == 7 ? 77 : i == 8 ? 0 : i);
        }
    }

    private static List<String> extents(BlockVolume volume) throws IOException {
        List<String> extents = new ArrayList<>();
        long[] last = new long[3];
        volume.extents(0, volume.geometry().size(), (offset, length, flags) -> {
            if (flags != last[2] && last[1] > 0) extents.add(describe(last));
            if (flags != last[2] || last[1] == 0) last[0] = offset;
            last[1] = offset + length - last[0];
            last[2] = flags;
            return true;
        });
        extents.add(describe(last));
        return extents;
    }

    private static String describe(long[] extent) {
        return (extent[2] == ExtentVisitor.DATA ? "data " : "hole ") + extent[0] / BLOCK + " " + extent[1] / BLOCK;
    }

    @Test
    void aSnapshotCopiesNothing() throws Exception {
        try (BlockVolume volume = store.open(spec("p", 1L << 46).withOption("flush", "remote-durable"))) {
            for (int i = 0; i < 300; i++) write(volume, i, i);
            volume.flush();
            long before = bucket.bytes();
            store.createSnapshot(spec("p", 0), "s");
            store.open(shown("r", "p@s")).close();
            store.open(cloned("c", "p@s")).close();
            assertThat(bucket.bytes() - before).isLessThan(64 << 10);
        }
    }

    @Test
    void whatIsDeletedInWhateverOrderLeavesNothing() throws Exception {
        for (String order : List.of("spc", "scp", "psc", "csp", "cps", "pc", "cp")) {
            try (BlockVolume parent = store.open(spec("p", 1 << 20))) {
                for (int i = 0; i < 100; i++) write(parent, i, i);
                store.createSnapshot(spec("p", 0), "s");
            }
            store.open(cloned("c", "p@s")).close();
            for (int i = 0; i < order.length(); i++) {
                switch (order.charAt(i)) {
                    case 's' -> {
                        if (order.indexOf('p') < i) continue; // it went with its volume
                        store.deleteSnapshot(spec("p", 0), "s", false);
                        assertThat(store.snapshots(spec("p", 0))).isEmpty();
                        refusal(Reason.NOT_FOUND, () -> store.open(cloned("d", "p@s")));
                    }
                    case 'p' -> {
                        store.delete(spec("p", 0));
                        refusal(Reason.NOT_FOUND, () -> store.open(cloned("d", "p@s")));
                    }
                    default -> {
                        try (BlockVolume clone = host("two").open(spec("c", 0))) {
                            for (int b = 0; b < 100; b++)
                                assertThat(read(clone, b)).isEqualTo(b);
                        }
                        store.delete(spec("c", 0));
                    }
                }
            }
            assertThat(bucket.objects).as(order).isEmpty();
        }
    }

    @Test
    void theSpaceOfADeletedSnapshotIsGivenBack() throws Exception {
        VolumeSpec spec = spec("p", 1 << 20);
        try (BlockVolume volume = store.open(spec)) {
            for (int i = 0; i < 200; i++) write(volume, i, i);
            store.createSnapshot(spec, "s");
            String record = "/log/0000000000000001";
            store.deleteSnapshot(spec, "s", false);
            long start = System.nanoTime();
            // as much as a checkpoint waits for, twice
            while (bucket.objects.keySet().stream().anyMatch(key -> key.contains("/snap/"))) {
                for (int i = 0; i < 200; i++) write(volume, i, i + 1);
                assertThat(System.nanoTime() - start)
                        .as("waiting for checkpoints")
                        .isLessThan(10 * MINUTE);
            }
            assertThat(bucket.objects.keySet()).anyMatch(key -> key.contains(record)); // the takeover stays
            assertThat(bucket.objects.keySet()).noneMatch(key -> key.contains("/log/0000000000000002"));
        }
    }

    @Test
    void whoReadsASnapshotIsNamedAndLosesItByForceOnly() throws Exception {
        VolumeSpec spec = spec("p", 1 << 20);
        try (BlockVolume volume = store.open(spec)) {
            write(volume, 0, 5);
            snapshot(spec, "s");
            BlockVolume reader = host("two").open(shown("r", "p@s").withOption("cacheSize", 0));
            assertThat(refusal(Reason.IN_USE, run(() -> store.deleteSnapshot(spec, "s", false))))
                    .hasMessageContaining("is read by reader ")
                    .hasMessageContaining("force");
            assertThat(store.snapshots(spec).get(0).users()).hasSize(1);
            reader.close();
            assertThat(store.snapshots(spec).get(0).users()).isEmpty();
            // one that crashed is known again
            BlockVolume crashed = host("two").open(shown("r", "p@s"));
            ofAnEarlierProcess();
            BlockVolume again = host("two").open(shown("r", "p@s"));
            assertThat(store.snapshots(spec).get(0).users()).hasSize(1);
            again.close();
            assertThat(store.snapshots(spec).get(0).users()).isEmpty();
            crashed.close();
            BlockVolume last = host("two").open(shown("r", "p@s"));
            store.deleteSnapshot(spec, "s", true);
            assertThat(store.snapshots(spec)).isEmpty();
            last.close();
        }
    }

    private void ofAnEarlierProcess() {
        String pin = bucket.objects.keySet().stream()
                .filter(key -> key.contains("/reader-"))
                .findFirst()
                .orElseThrow();
        bucket.objects.put(pin.substring(0, pin.length() - 36) + UUID.randomUUID(), bucket.objects.remove(pin));
    }

    @Test
    void anUpdateThatFailsLeavesItsPinToWhoStays() throws Exception {
        VolumeSpec spec = spec("p", 1 << 20);
        store.open(spec).close();
        store.createSnapshot(spec, "s");
        BlockVolume stays = host("two").open(shown("r", "p@s"));
        host("two").open(shown("r", "p@s")).close(); // the new bundle's, in the same folder, while the old one stays
        refusal(Reason.IN_USE, run(() -> store.deleteSnapshot(spec, "s", false)));
        // a hand-over leaves a pin, which the successor replaces
        Map<String, Object> state = new HashMap<>(stays.handOver());
        refusal(Reason.IN_USE, run(() -> store.deleteSnapshot(spec, "s", false)));
        BlockVolume next = host("two").open(shown("r", "p@s").withInherited(state));
        assertThat(state).isEmpty();
        assertThat(store.snapshots(spec).get(0).users()).hasSize(1);
        next.close();
        assertThat(store.snapshots(spec).get(0).users()).isEmpty();
    }

    @Test
    void aVolumeIsNotDeletedUnderThoseWhoReadItsSnapshots() throws Exception {
        VolumeSpec spec = spec("p", 1 << 20);
        store.open(spec).close();
        store.createSnapshot(spec, "s");
        BlockVolume reader = host("two").open(shown("r", "p@s"));
        assertThat(refusal(Reason.IN_USE, run(() -> store.delete(spec)))).hasMessageContaining("are read by");
        reader.close();
        store.delete(spec);
        assertThat(bucket.objects).isEmpty();
    }

    @Test
    void anInterruptedDeletionIsCompletedByTheNext() throws Exception {
        store.open(spec("p", 1 << 20)).close();
        store.createSnapshot(spec("p", 0), "s");
        store.open(cloned("c", "p@s")).close();
        bucket.failingDeletes = "/log/";
        refusal(Reason.IO, run(() -> store.delete(spec("c", 0).withOption("timeoutSeconds", 1))));
        bucket.failingDeletes = null;
        store.delete(spec("p", 0));
        assertThat(bucket.objects).isEmpty();
    }

    @Test
    void whoFailsToReadASnapshotDoesNotHoldIt() throws Exception {
        VolumeSpec spec = spec("p", 1 << 20);
        store.open(spec).close();
        store.createSnapshot(spec, "s");
        String root = bucket.objects.keySet().stream()
                .filter(key -> key.contains("/snap/"))
                .findFirst()
                .orElseThrow();
        byte[] damaged = bucket.objects.get(root).clone();
        damaged[damaged.length - 1] ^= 1;
        bucket.objects.put(root, damaged);
        refusal(Reason.IO, () -> store.open(shown("r", "p@s")));
        assertThat(store.snapshots(spec).get(0).users()).isEmpty();
        store.deleteSnapshot(spec, "s", false);
    }

    @Test
    void aCloneWhoseSnapshotIsLostIsInspectedAllTheSame() throws Exception {
        store.open(spec("p", 1 << 20)).close();
        store.createSnapshot(spec("p", 0), "s");
        store.open(cloned("c", "p@s")).close();
        bucket.objects.keySet().removeIf(key -> key.contains("/snap/"));
        VolumeSpec spec = spec("c", 0).withOption("timeoutSeconds", 1);
        assertThat(store.inspect(spec, true).damage())
                .singleElement()
                .satisfies(damage ->
                        assertThat(damage.problem()).contains("/snap/").contains("can't be opened"));
    }

    @Test
    void twoWhoWantTheSameNameAtOnceDoNotBothGetIt() throws Exception {
        CountDownLatch first = new CountDownLatch(1);
        CountDownLatch second = new CountDownLatch(1);
        ObjectStore slow = new Interposed(bucket) {
            @Override
            public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
                if (type(key, body) == Header.Type.SNAPSHOT) {
                    first.countDown();
                    try {
                        // or, where the other one waits for this put, not so long
                        second.await(1, TimeUnit.SECONDS);
                    } catch (InterruptedException e) {
                        throw new IOException(e);
                    }
                }
                return super.putIfAbsent(key, body);
            }
        };
        store = new S3Store(folder.resolve("one"), options -> slow);
        VolumeSpec spec = spec("p", 1 << 20);
        try (BlockVolume volume = store.open(spec)) {
            write(volume, 0, 1);
            FutureTask<Void> one = new FutureTask<>(() -> {
                store.createSnapshot(spec, "s");
                return null;
            });
            new Thread(one).start();
            first.await();
            FutureTask<Void> other = new FutureTask<>(() -> {
                refusal(Reason.EXISTS, run(() -> store.createSnapshot(spec, "s")));
                return null;
            });
            new Thread(other).start();
            one.get();
            second.countDown();
            other.get();
            assertThat(volume.details()).containsEntry("snapshots", "1");
        }
    }

    @Test
    void aNameThatADeletedVolumeLeftDoesNotBreakAClone() throws Exception {
        store.open(spec("p", 1 << 20)).close();
        store.createSnapshot(spec("p", 0), "s");
        boolean[] left = new boolean[1];
        ObjectStore late = new Interposed(bucket) {
            @Override
            public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
                // of somebody who created a volume long ago, which is deleted by now
                if (key.endsWith("names/c") && !left[0]) {
                    left[0] = true;
                    bucket.objects.put(key, UUID.randomUUID().toString().getBytes());
                }
                return super.putIfAbsent(key, body);
            }
        };
        new S3Store(folder.resolve("one"), options -> late)
                .open(cloned("c", "p@s"))
                .close();
        assertThat(left[0]).isTrue();
        store.delete(spec("p", 0));
        store.delete(spec("c", 0));
        assertThat(bucket.objects).isEmpty();
    }

    @Test
    void snapshotsAreListedWithWhatTheyAre() throws Exception {
        VolumeSpec spec = spec("p", 1 << 20);
        long before = System.currentTimeMillis();
        try (BlockVolume volume = store.open(spec)) {
            store.createSnapshot(spec, "one");
            volume.resize(2 << 20);
            snapshot(spec, "two");
            try (BlockVolume shown = store.open(shown("r", "p@one"))) {
                assertThat(shown.geometry().size()).isEqualTo(1 << 20);
            }
            store.open(cloned("c", "p@two")).close();
            List<SnapshotInfo> infos = host("two").snapshots(spec);
            assertThat(infos).extracting(SnapshotInfo::name).containsExactly("one", "two");
            assertThat(infos).extracting(SnapshotInfo::size).containsExactly(1L << 20, 2L << 20);
            assertThat(infos.get(0).time()).isBetween(before, System.currentTimeMillis());
            assertThat(infos.get(1).users()).hasSize(1);
            assertThat(infos.get(1).users().get(0)).contains("volume 'c'");
            assertThat(volume.details()).containsEntry("snapshots", "2");
        }
    }

    @Test
    void whatIsWrongIsSaidWithWhatWouldBeRight() throws Exception {
        VolumeSpec spec = spec("p", 1 << 20);
        try (BlockVolume volume = store.open(spec)) {
            assertThat(refusal(Reason.NOT_FOUND, () -> store.open(shown("r", "p@s"))))
                    .hasMessageContaining("there is none");
            store.createSnapshot(spec, "s");
            assertThat(refusal(Reason.EXISTS, run(() -> store.createSnapshot(spec, "s"))))
                    .hasMessageContaining("has a snapshot 's' already");
            snapshot(spec, "s2");
            assertThat(refusal(Reason.NOT_FOUND, () -> store.open(cloned("c", "p@t"))))
                    .hasMessageContaining("there are s, s2");
            assertThat(refusal(Reason.INVALID, run(() -> store.createSnapshot(spec, "a@b"))))
                    .hasMessageContaining("letters");
            assertThat(refusal(Reason.INVALID, () -> store.open(cloned("c", "s"))))
                    .hasMessageContaining("VOLUME@SNAPSHOT");
            assertThat(refusal(
                            Reason.INVALID, () -> store.open(cloned("c", "p@s").withSize(4 << 20))))
                    .hasMessageContaining("resize");
            assertThat(refusal(Reason.NOT_FOUND, run(() -> store.createSnapshot(spec("q", 0), "s"))))
                    .hasMessageContaining("no volume 'q'");
            store.deleteSnapshot(spec, "s", false);
            store.createSnapshot(spec, "s"); // the name is free again
            assertThat(volume.details()).containsKey("snapshots");
        }
        assertThat(refusal(Reason.IN_USE, run(() -> {
                    BlockVolume held = host("two").open(spec("p", 0));
                    store.createSnapshot(spec, "t");
                    held.close();
                })))
                .hasMessageContaining("takeover");
    }

    @Test
    void anOldGatewayDoesNotTakeACloneForAnEmptyVolume() throws Exception {
        store.open(spec("p", 1 << 20)).close();
        store.createSnapshot(spec("p", 0), "s");
        store.open(cloned("c", "p@s")).close();
        List<String> formats = bucket.objects.keySet().stream()
                .filter(key -> key.endsWith("/format"))
                .map(key -> new String(bucket.objects.get(key)))
                .sorted()
                .toList();
        assertThat(formats).hasSize(2);
        assertThat(formats.get(0)).startsWith("dblock-s3=1\n");
        assertThat(formats.get(1)).startsWith("dblock-s3=2\n").contains("snapshot=s\n");
    }

    @Test
    void whoComesAfterTheVolumeIsGoneIsToldSoAndLeavesNoPin() throws Exception {
        Keys keys = new Keys("p/", new UUID(1, 2));
        Scheduler scheduler = new Threads("late");
        Snapshots late = new Snapshots(new Bucket(bucket, scheduler, "late"), keys, new Rules(), MINUTE);
        refusal(Reason.NOT_FOUND, run(() -> late.pin(new Snapshots.Entry(7, "s"), "user", "who", 0)));
        assertThat(bucket.objects.keySet()).noneMatch(key -> key.startsWith(keys.pins()));
        scheduler.join(0);
    }
}
