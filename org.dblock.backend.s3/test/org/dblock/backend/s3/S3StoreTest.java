package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.dblock.backend.s3.Direct.BLOCK;
import static org.dblock.backend.s3.Direct.data;
import static org.dblock.backend.s3.Direct.read;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Predicate;
import org.dblock.api.BlockException;
import org.dblock.api.BlockVolume;
import org.dblock.api.Reason;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.Test;

/** What somebody sees who opens, shares and loses volumes. */
class S3StoreTest extends OneBucket {
    @Test
    void aMomentsTroubleDoesNotKeepAVolumeFromBeingCreated() throws Exception {
        AtomicInteger puts = new AtomicInteger();
        ObjectStore hiccup = new Interposed(bucket) {
            @Override
            public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
                if (puts.incrementAndGet() <= 2) throw new IOException("status 408");
                return super.putIfAbsent(key, body);
            }
        };
        try (BlockVolume volume = new S3Store(folder, options -> hiccup).open(spec("v", 1 << 20))) {
            volume.write(data(1, 1), 0, true);
        }
    }

    /** A bucket in which something happens, once, after a certain read or list. */
    private ObjectStore when(Predicate<String> key, Callable<?> then) {
        return new Interposed(bucket) {
            private boolean happened;

            private synchronized void maybe(String done) throws IOException {
                if (happened || !key.test(done)) return;
                happened = true;
                try {
                    then.call();
                } catch (Exception e) {
                    throw new AssertionError(e);
                }
            }

            @Override
            public void get(String key, long offset, ByteBuffer into) throws IOException {
                super.get(key, offset, into);
                maybe("got " + key);
            }

            @Override
            public List<Item> list(String prefix, String after, int most) throws IOException {
                List<Item> items = super.list(prefix, after, most);
                maybe("listed " + prefix);
                return items;
            }

            @Override
            public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
                boolean put = super.putIfAbsent(key, body);
                maybe("put " + key);
                return put;
            }
        };
    }

    @Test
    void aVolumeThatIsDeletedWhileItIsOpenedIsNotTakenForAnEmptyOne() throws Exception {
        for (boolean readOnly : new boolean[] {false, true}) {
            try (BlockVolume volume = host("one").open(spec("v", 1 << 20))) {
                volume.write(data(1, 1), 0, true);
            }
            ObjectStore store = when(key -> key.startsWith("got ") && key.endsWith("/format"), () -> {
                host("one").delete(spec("v", 0));
                return null;
            });
            S3Store slow = new S3Store(folder.resolve("two"), options -> store);
            refusal(Reason.NOT_FOUND, () -> slow.open(spec("v", 0).withReadOnly(readOnly)));
            host("one").delete(spec("another", 0));
            assertThat(bucket.objects).as("what the refused opening left").isEmpty();
        }
    }

    @Test
    void whoSeesADeletedVolumesNameDoesNotTakeItFromANewOne() throws Exception {
        String gone = UUID.randomUUID().toString();
        bucket.objects.put("dblock/names/v", gone.getBytes());
        ObjectStore store = when(key -> key.startsWith("listed dblock/" + gone), () -> {
            host("two").open(spec("v", 1 << 20)).close();
            return null;
        });
        assertThat(new S3Store(folder.resolve("one"), options -> store).snapshots(spec("v", 0)))
                .isEmpty();
        host("two").open(spec("v", 0).withCreate(false)).close();
    }

    @Test
    void whoDeletesAVolumeDoesNotTakeItsNameFromANewOne() throws Exception {
        host("one").open(spec("v", 1 << 20)).close();
        ObjectStore store = when(key -> key.startsWith("put dblock/dead/"), () -> {
            host("two").delete(spec("v", 0));
            host("two").open(spec("v", 1 << 20)).close();
            return null;
        });
        new S3Store(folder.resolve("one"), options -> store).delete(spec("v", 0));
        host("two").open(spec("v", 0).withCreate(false)).close();
    }

    @Test
    void whoeverHoldsAVolumeIsNamedAndCanBeDisplaced() throws Exception {
        BlockVolume first = host("one").open(spec("v", 1 << 20));
        first.write(data(1, 1), 0, false);
        S3Store other = host("two");
        assertThat(refusal(Reason.IN_USE, () -> other.open(spec("v", 0))))
                .hasMessageContaining("takeover=true")
                .hasMessageContaining("process " + ProcessHandle.current().pid());
        try (BlockVolume second = other.open(spec("v", 0).withOption("takeover", true))) {
            second.write(data(2, 1), 0, true);
            BlockException fenced = refusal(Reason.FENCED, () -> {
                while (true) {
                    first.write(data(3, 1), 0, false);
                    first.flush();
                    Thread.sleep(10);
                }
            });
            assertThat(fenced).hasMessageContaining("taken over by");
            assertThat(first.details().get("store")).contains("taken over by");
            refusal(Reason.FENCED, () -> {
                first.flush();
                return null;
            });
            first.close();
            assertThat(read(second, 0)).isEqualTo(2);
        }
        assertThat(host("three").open(spec("v", 0)).details()).containsKey("journal");
    }

    @Test
    void aStoreThatOverwritesIsRefused() {
        bucket.careless = true;
        assertThat(refusal(Reason.UNSUPPORTED, () -> host("one").open(spec("v", 1 << 20))))
                .hasMessageContaining("can't keep two gateways apart");
    }

    @Test
    void anOutageStopsNoWriteAndLosesNone() throws Exception {
        BlockVolume volume = host("one").open(spec("v", 16 << 20));
        bucket.down = true;
        for (int i = 0; i < 100; i++) volume.write(data(i, 1), (long) i * BLOCK, i % 10 == 0);
        assertThat(read(volume, 99)).isEqualTo(99);
        volume.closeSoon();
        volume.flush();
        long start = System.nanoTime();
        volume.close();
        assertThat(System.nanoTime() - start).as("closing in an outage").isLessThan(60_000_000_000L);
        bucket.down = false;
        try (BlockVolume again = host("one").open(spec("v", 0))) {
            for (int i = 0; i < 100; i++) assertThat(read(again, i)).isEqualTo(i);
        }
        try (BlockVolume elsewhere = host("two").open(spec("v", 0))) {
            for (int i = 0; i < 100; i++) assertThat(read(elsewhere, i)).isEqualTo(i);
        }
    }

    @Test
    void aFullJournalHoldsWritersBackUntilTheProcessEnds() throws Exception {
        BlockVolume volume = host("one").open(spec("v", 16 << 20));
        bucket.down = true;
        Thread ender = new Thread(() -> {
            while (!volume.details().get("journal").matches(".*\\(9\\d %\\)")) Thread.onSpinWait();
            volume.closeSoon();
        });
        ender.start();
        assertThat(refusal(Reason.SHUTTING_DOWN, () -> {
                    for (int i = 0; ; i = (i + 1) % 1000) volume.write(data(1, 4), (long) i * 4 * BLOCK, false);
                }))
                .hasMessageContaining("waits for its object store");
        ender.join();
        volume.close();
    }

    @Test
    void readsFailOnlyAfterTheirTimeout() throws Exception {
        BlockVolume volume = host("one").open(spec("v", 16 << 20));
        volume.write(data(5, 1), 0, false);
        volume.close();
        try (BlockVolume again = host("two").open(spec("v", 0).withOption("timeoutSeconds", 2))) {
            bucket.down = true;
            long start = System.nanoTime();
            assertThat(refusal(Reason.IO, () -> read(again, 0))).hasMessageContaining("503");
            assertThat(System.nanoTime() - start).isGreaterThanOrEqualTo(2_000_000_000L);
            bucket.down = false;
            assertThat(read(again, 0)).isEqualTo(5);
        }
    }

    @Test
    void damageIsRefusedLoudly() throws Exception {
        BlockVolume volume = host("one").open(spec("v", 16 << 20));
        volume.write(data(5, 1), 0, false);
        volume.close();
        String key = bucket.objects.keySet().stream()
                .filter(k -> k.contains("/log/") && bucket.objects.get(k).length > BLOCK)
                .findFirst()
                .orElseThrow();
        bucket.objects.get(key)[BLOCK + 9] ^= 1;
        try (BlockVolume again = host("two").open(spec("v", 0).withOption("timeoutSeconds", 2))) {
            assertThat(refusal(Reason.IO, () -> read(again, 0))).hasMessageContaining("damaged in block 0");
        }
        bucket.objects.get(key)[60 * 8] ^= 1;
        assertThat(refusal(Reason.IO, () -> host("three").open(spec("v", 0)))).hasMessageContaining("damaged");
    }

    @Test
    void deletingLeavesNothing() throws Exception {
        S3Store store = host("one");
        BlockVolume volume = store.open(spec("v/1 ü", 16 << 20));
        volume.write(data(5, 1), 0, false);
        volume.close();
        assertThat(store.list(spec("", 0))).extracting("name").containsExactly("v/1 ü");
        store.delete(spec("v/1 ü", 0));
        assertThat(bucket.objects).isEmpty();
    }

    @Test
    void discardsAndZeroesGoToTheLogAndReadNothing() throws Exception {
        try (BlockVolume volume = host("one").open(spec("v", 64 << 20).withOption("flush", "remote-durable"))) {
            for (int i = 0; i < 200; i++) volume.write(data(i, 1), (long) i * 64 * BLOCK, false);
            volume.flush();
            int gets = bucket.gets.get();
            Set<String> before = Set.copyOf(bucket.objects.keySet());
            volume.discard(0, 32 << 20);
            volume.writeZeroes(32 << 20, 32 << 20, true, true);
            assertThat(bucket.gets.get()).isEqualTo(gets);
            assertThat(bucket.objects.keySet())
                    .filteredOn(key -> !before.contains(key))
                    .isNotEmpty()
                    .allMatch(key -> key.contains("/log/") && bucket.objects.get(key).length <= 2 * BLOCK);
            for (int i = 0; i < 200; i++) assertThat(read(volume, i * 64L)).isZero();
        }
    }

    @Test
    void discardingAnEmptyVolumeCostsNothing() throws Exception {
        try (BlockVolume volume = host("one").open(spec("v", 1L << 46))) {
            volume.discard(0, 1L << 46);
            volume.writeZeroes(0, 1L << 46, true, true);
            assertThat(volume.details().get("not yet in bucket")).isEqualTo("0");
            volume.write(data(5, 1), (1L << 46) - BLOCK, false);
            volume.discard(0, 1L << 46);
            assertThat(read(volume, (1L << 34) - 1)).isZero();
        }
    }

    @Test
    void whatDoesNotFitIsRefusedWithWhatWould() {
        S3Store store = host("one");
        assertThat(refusal(Reason.INVALID, () -> store.open(VolumeSpec.of("v", 1 << 20))))
                .hasMessageContaining("bucket");
        assertThat(refusal(Reason.INVALID, () -> store.open(spec("v", 1 << 20).withBlockSize(8192))))
                .hasMessageContaining("4096");
        assertThat(refusal(Reason.INVALID, () -> store.open(spec("v", (1L << 46) + BLOCK))))
                .hasMessageContaining("64T");
        assertThat(refusal(Reason.INVALID, () -> store.open(spec("v", 0)))).hasMessageContaining("size");
        assertThat(refusal(Reason.INVALID, () -> store.open(spec("v", 1 << 20).withOption("flush", "never"))))
                .hasMessageContaining("remote-durable");
        assertThatThrownBy(() -> store.open(spec("v", 1 << 20).withOption("prefix", "x")))
                .hasMessageContaining("slash");
    }
}
