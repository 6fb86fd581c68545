package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.dblock.backend.s3.Direct.BLOCK;
import static org.dblock.backend.s3.Direct.data;
import static org.dblock.backend.s3.Direct.read;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What openings, takeovers and closings that go wrong leave behind. */
class OwnershipTest extends OneBucket {
    private Direct direct;

    @BeforeEach
    void create() {
        direct = Direct.create(folder, bucket);
    }

    /** Ends a gateway where it stands, as a crash of its process does. */
    private static final class Dead extends Error {
        private static final long serialVersionUID = 1;
    }

    /** What happens in the place of a put to the log, or before it. */
    private interface Fault {
        void put(Header.Type type) throws IOException;
    }

    private ObjectStore with(Fault fault) {
        return new Interposed(bucket) {
            @Override
            public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
                Header.Type type = type(key, body);
                if (type != null) fault.put(type);
                return super.putIfAbsent(key, body);
            }
        };
    }

    private ObjectStore withoutLogPuts() {
        return with(type -> {
            throw new IOException("403");
        });
    }

    private int takeovers() throws Corruption {
        int count = 0;
        for (var entry : bucket.objects.entrySet())
            if (Interposed.type(entry.getKey(), ByteBuffer.wrap(entry.getValue())) == Header.Type.TAKEOVER) count++;
        return count;
    }

    @Test
    void openingsWithoutAnAnswerNeverMakeTheJournalForgetItsOwner() throws Exception {
        direct.open("one", bucket, false).close();
        // the TAKEOVER of this one is answered, what is written stays in the journal
        S3Volume volume = direct.open(
                "one",
                with(type -> {
                    if (type == Header.Type.DATA) throw new IOException("403");
                }),
                false);
        volume.write(data(7, 1), 0, true);
        volume.handOver();
        direct.patience = 1;
        for (int i = 0; i < 600; i++)
            assertThatThrownBy(() -> direct.open("one", withoutLogPuts(), false))
                    .hasMessageContaining("403");
        direct.patience = 2_000_000_000L;
        S3Volume again = direct.open("one", bucket, false);
        assertThat(read(again, 0)).as("what only the journal had").isEqualTo(7);
        again.close();
    }

    @Test
    void aTakeoverThatLandsLateIsStillOurs() throws Exception {
        S3Volume volume = direct.open("one", bucket, false);
        bucket.down = true;
        volume.write(data(7, 1), 0, true);
        volume.handOver();
        bucket.down = false;
        ByteBuffer[] late = new ByteBuffer[1];
        String[] where = new String[1];
        direct.patience = 1;
        assertThatThrownBy(() -> direct.open(
                        "one",
                        new Interposed(bucket) {
                            @Override
                            public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
                                if (!key.contains("/log/")) return super.putIfAbsent(key, body);
                                late[0] = ByteBuffer.allocate(body.remaining())
                                        .put(body)
                                        .flip();
                                where[0] = key;
                                throw new IOException("no answer");
                            }
                        },
                        false))
                .hasMessageContaining("no answer");
        for (int i = 0; i < 40; i++) assertThatThrownBy(() -> direct.open("one", withoutLogPuts(), false));
        direct.patience = 2_000_000_000L;
        assertThat(bucket.putIfAbsent(where[0], late[0])).isTrue();
        S3Volume again = direct.open("one", bucket, false);
        assertThat(read(again, 0)).isEqualTo(7);
        again.close();
    }

    @Test
    void aTakerThatDiesBetweenSeveralTakeoversLeavesAVolumeThatOpens() throws Exception {
        direct.remoteDurable = true;
        S3Volume owner = direct.open("one", bucket, false);
        AtomicInteger puts = new AtomicInteger();
        Interposed busy = new Interposed(bucket) {
            @Override
            public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
                if (puts.incrementAndGet() <= 3) {
                    // the owner is faster
                    owner.write(data(puts.get(), 1), 0, false);
                    owner.flush();
                    return super.putIfAbsent(key, body);
                }
                super.putIfAbsent(key, body);
                throw new Dead();
            }
        };
        assertThatThrownBy(() -> direct.open("two", busy, true)).isInstanceOf(Dead.class);
        assertThat(takeovers()).isEqualTo(2);
        owner.handOver();
        S3Volume third = direct.open("three", bucket, true);
        assertThat(read(third, 0)).isEqualTo(3);
        third.close();
    }

    @Test
    void theReleaseIsTheLastObjectEvenIfSpaceIsBeingCollected() throws Exception {
        S3Store store = new S3Store(folder.resolve("host"), options -> new Interposed(bucket) {
            private final CountDownLatch releasing = new CountDownLatch(1);
            private final CountDownLatch copied = new CountDownLatch(1);

            @Override
            public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
                Header.Type type = type(key, body);
                try {
                    if (type == Header.Type.RELEASE) {
                        releasing.countDown();
                        copied.await(1, TimeUnit.SECONDS);
                    }
                    return super.putIfAbsent(key, body);
                } catch (InterruptedException e) {
                    throw new IOException(e);
                } finally {
                    if (type == Header.Type.COLLECTED) copied.countDown();
                }
            }

            @Override
            public void get(String key, long offset, ByteBuffer into) throws IOException {
                super.get(key, offset, into);
                // the collector reads whole payloads of objects
                if (key.contains("/log/") && offset > 0) {
                    collecting.countDown();
                    try {
                        releasing.await();
                    } catch (InterruptedException e) {
                        throw new IOException(e);
                    }
                }
            }
        });
        var volume =
                store.open(spec("v", 16 << 20).withOption("collectBelow", 95).withOption("flush", "remote-durable"));
        for (int i = 0; i < 8; i++) volume.write(data(i, 16), i * 16L * BLOCK, false);
        volume.flush();
        for (int i = 0; i < 8; i++) volume.write(data(i, 8), i * 16L * BLOCK, false);
        volume.flush();
        assertThat(collecting.await(60, TimeUnit.SECONDS)).isTrue();
        volume.close();
        String last = bucket.objects.keySet().stream()
                .filter(key -> key.contains("/log/"))
                .reduce((a, b) -> b)
                .orElseThrow();
        assertThat(Interposed.type(last, ByteBuffer.wrap(bucket.objects.get(last))))
                .isEqualTo(Header.Type.RELEASE);
    }

    private final CountDownLatch collecting = new CountDownLatch(1);

    /** The disk lost a record, and had those after it; the same bytes are written in its place. */
    private int secondBlockAfterARecordWasLostAndWrittenAgain(Rules rules) throws Exception {
        direct.rules = rules;
        direct.clockStands = true; // or the time in a record would make it another
        direct.open("one", bucket, false).close();
        ObjectStore noData = withoutLogPutsButTakeovers();
        S3Volume volume = direct.open("one", noData, false);
        volume.write(data(1, 1), 0, false);
        volume.write(data(2, 1), BLOCK, false);
        volume.handOver();
        try (RandomAccessFile file = new RandomAccessFile(direct.journal("one").toFile(), "rw")) {
            file.seek(Journal.RING + 20);
            file.write(0x55);
        }
        volume = direct.open("one", noData, false);
        assertThat(read(volume, 1)).as("what follows a lost record is lost").isZero();
        volume.write(data(1, 1), 0, false);
        volume.handOver();
        volume = direct.open("one", noData, false);
        try {
            return read(volume, 1);
        } finally {
            volume.handOver();
        }
    }

    private ObjectStore withoutLogPutsButTakeovers() {
        return with(type -> {
            if (type != Header.Type.TAKEOVER) throw new IOException("403");
        });
    }

    @Test
    void whatTheDiskLostNeverComesBackBehindARecordThatIsWrittenAgain() throws Exception {
        assertThat(secondBlockAfterARecordWasLostAndWrittenAgain(new Rules())).isZero();
    }

    @Test
    void withoutTheEpochInRecordsItWouldComeBack() throws Exception {
        assertThat(secondBlockAfterARecordWasLostAndWrittenAgain(new Rules() {
                    @Override
                    long recordEpoch(long epoch) {
                        return 1;
                    }
                }))
                .isEqualTo(2);
    }

    @Test
    void aSmallJournalTakesLargeWrites() throws Exception {
        S3Store store = host("host");
        var volume = store.open(spec("v", 16 << 20).withOption("journalSize", "1M"));
        Thread writer = new Thread(() -> {
            try {
                for (int i = 0; i < 8; i++) volume.write(data(i, 256), i * 256L * BLOCK, false);
            } catch (IOException e) {
                throw new AssertionError(e);
            }
        });
        writer.setDaemon(true);
        writer.start();
        writer.join(60_000);
        assertThat(writer.isAlive()).as("still writing").isFalse();
        for (int i = 0; i < 8; i++) assertThat(read(volume, i * 256L)).isEqualTo(i);
        volume.close();
    }

    @Test
    void aPutThatFailsInAnyWayIsRepeated() throws Exception {
        AtomicInteger failures = new AtomicInteger(3);
        direct.remoteDurable = true;
        S3Volume volume = direct.open(
                "one",
                with(type -> {
                    if (type == Header.Type.DATA && failures.getAndDecrement() > 0)
                        throw new IllegalStateException("a pool was shut down");
                }),
                false);
        volume.write(data(7, 1), 0, false);
        volume.flush();
        volume.close();
    }

    @Test
    void anErrorInAPutFailsTheVolumeInsteadOfLettingItWaitForEver() throws Exception {
        direct.remoteDurable = true;
        S3Volume volume = direct.open(
                "one",
                with(type -> {
                    if (type == Header.Type.DATA) throw new OutOfMemoryError("as a test");
                }),
                false);
        volume.write(data(7, 1), 0, false);
        assertThatThrownBy(volume::flush)
                .isInstanceOf(BlockException.class)
                .hasMessageContaining("as a test")
                .extracting(e -> ((BlockException) e).reason())
                .isEqualTo(Reason.IO);
        volume.close();
        S3Volume again = direct.open("one", bucket, false);
        assertThat(read(again, 0)).isEqualTo(7);
        again.close();
    }

    @Test
    void aNameIsKeptWhenOnlyTheFormatIsMissing() throws Exception {
        S3Store store = host("host");
        store.open(spec("v", 1 << 20)).close();
        String format = bucket.objects.keySet().stream()
                .filter(k -> k.endsWith("/format") && !k.startsWith("p/"))
                .findFirst()
                .orElseThrow();
        byte[] text = bucket.objects.remove(format);
        assertThatThrownBy(() -> store.open(spec("v", 1 << 20)))
                .isInstanceOf(Corruption.class)
                .hasMessageContaining("format is missing");
        bucket.objects.put(format, text);
        store.open(spec("v", 0)).close();
    }

    @Test
    void anOwnerThatDoesNothingLearnsThatAllOfItsVolumeIsGone() throws Exception {
        direct.look = 10_000_000L;
        try (S3Volume volume = direct.open("one", bucket, true)) {
            volume.write(Direct.data(1, 1), 0, true);
            Thread.sleep(100);
            assertThat(volume.details().get("store")).isEqualTo(Bucket.HEALTHY);
            bucket.objects.clear();
            long end = System.nanoTime() + 10_000_000_000L;
            while (volume.details().get("store").equals(Bucket.HEALTHY) && System.nanoTime() < end) Thread.sleep(10);
            assertThat(volume.details().get("store")).contains("was deleted by another gateway");
            assertThatThrownBy(() -> volume.write(Direct.data(1, 1), 0, true)).hasMessageContaining("was deleted");
        }
    }
}
