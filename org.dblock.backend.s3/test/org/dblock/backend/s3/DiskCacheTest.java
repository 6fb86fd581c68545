package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.dblock.api.BlockVolume;
import org.dblock.api.Size;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the cache on the local disk finds again, and that it never finds anything wrong. */
class DiskCacheTest {
    private static final UUID VOLUME = new UUID(5, 6);
    private static final int LINE = ReadCache.LINE * Header.BLOCK;
    private static final int BLOCK = Header.BLOCK;

    @TempDir
    Path folder;

    private Path file() {
        return folder.resolve("test.cache");
    }

    private DiskCache open(int lines) {
        return new DiskCache("test", file(), (long) lines * LINE);
    }

    private static DiskCache.Key key(int number) {
        return new DiskCache.Key(VOLUME, number / 100, 7 * number, number % 100);
    }

    private static byte[] content(int number) {
        byte[] data = new byte[number % 5 == 0 ? BLOCK : LINE];
        new Random(number).nextBytes(data);
        return data;
    }

    private DiskCache reopened(DiskCache cache, int lines) {
        cache.close();
        return open(lines);
    }

    @Test
    void findsItsLinesAgainAfterARestart() {
        DiskCache cache = open(100);
        for (int i = 0; i < 50; i++) cache.offer(key(i), content(i));
        cache = reopened(cache, 100);
        for (int i = 0; i < 50; i++)
            assertThat(cache.get(key(i))).as("line %d", i).isEqualTo(content(i));
        assertThat(cache.get(key(50))).isNull();
        assertThat(cache.describe()).contains("50 hits, 1 misses");
        cache.close();
    }

    @Test
    void aLineIsOnlyFoundUnderItsOwnKey() {
        DiskCache cache = open(100);
        DiskCache.Key key = new DiskCache.Key(VOLUME, 1, 2, 3);
        cache.offer(key, content(1));
        cache = reopened(cache, 100);
        assertThat(cache.get(new DiskCache.Key(new UUID(5, 7), 1, 2, 3))).isNull();
        assertThat(cache.get(new DiskCache.Key(VOLUME, 2, 2, 3))).isNull();
        assertThat(cache.get(new DiskCache.Key(VOLUME, 1, 3, 3))).isNull();
        assertThat(cache.get(new DiskCache.Key(VOLUME, 1, 2, 4))).isNull();
        assertThat(cache.get(key)).isEqualTo(content(1));
        cache.close();
    }

    @Test
    void whateverIsDamagedIsAMissAndNeverWrongData() throws IOException {
        DiskCache cache = open(8);
        for (int i = 0; i < 8; i++) cache.offer(key(i), content(i));
        cache.close();
        byte[] whole = Files.readAllBytes(file());
        Random random = new Random(3);
        int missed = 0;
        for (int round = 0; round < 400; round++) {
            byte[] damaged = whole.clone();
            // most of what is interesting is in front: the header and the table
            int at = random.nextInt(round % 2 == 0 ? 200 : BLOCK + 8 * 16);
            if (round % 4 == 0) at = random.nextInt(whole.length);
            damaged[at] ^= (byte) (1 << random.nextInt(8));
            if (round % 10 == 0) damaged = Arrays.copyOf(damaged, random.nextInt(whole.length));
            Files.write(file(), damaged);
            cache = open(8);
            for (int i = 0; i < 8; i++) {
                byte[] found = cache.get(key(i));
                if (found == null) missed++;
                else assertThat(found).as("byte %d, line %d", at, i).isEqualTo(content(i));
            }
            cache.offer(key(9), content(9));
            cache.close();
        }
        assertThat(missed).isPositive();
    }

    @Test
    void neverTakesMoreThanItsSizeAndKeepsWhatIsUsed() throws Exception {
        DiskCache cache = open(10);
        for (int i = 0; i < 200; i++) {
            cache.offer(key(i), content(i));
            until(cache::idle);
            assertThat(cache.get(key(0)))
                    .as("used all the time, after %d others", i)
                    .isEqualTo(content(0));
        }
        assertThat(cache.describe()).startsWith(Size.format(10 * LINE) + " of " + Size.format(10 * LINE));
        cache.close();
        assertThat(Files.size(file())).isLessThanOrEqualTo(2 * BLOCK + 10 * LINE);
    }

    private interface Condition {
        boolean met() throws IOException;
    }

    private static void until(Condition condition) throws IOException, InterruptedException {
        long end = System.nanoTime() + 60_000_000_000L;
        while (!condition.met()) {
            assertThat(System.nanoTime()).as("a minute has passed").isLessThan(end);
            Thread.sleep(1);
        }
    }

    @Test
    void anotherSizeBeginsAnew() {
        DiskCache cache = open(100);
        cache.offer(key(1), content(1));
        cache = reopened(cache, 50);
        assertThat(cache.get(key(1))).isNull();
        cache.offer(key(1), content(1));
        cache = reopened(cache, 50);
        assertThat(cache.get(key(1))).isEqualTo(content(1));
        cache.close();
    }

    @Test
    void manyReadersAndAWriterNeverMixLines() throws Exception {
        DiskCache cache = open(5);
        ExecutorService threads = Executors.newFixedThreadPool(4);
        List<Future<Integer>> done = new ArrayList<>();
        for (int t = 0; t < 4; t++) {
            int seed = t;
            done.add(threads.submit(() -> {
                Random random = new Random(seed);
                int hits = 0;
                for (int i = 0; i < 3000; i++) {
                    int number = random.nextInt(12);
                    byte[] found = cache.get(key(number));
                    if (found == null) {
                        cache.offer(key(number), content(number));
                        continue;
                    }
                    hits++;
                    if (!Arrays.equals(found, content(number))) throw new AssertionError("line " + number);
                }
                return hits;
            }));
        }
        threads.shutdown();
        int hits = 0;
        for (Future<Integer> each : done) hits += each.get();
        assertThat(hits).isPositive();
        assertThat(cache.describe()).doesNotContain("damaged");
        cache.close();
    }

    // ---- a disk that is of no use

    private static List<String> warnings(Runnable what) {
        List<String> warnings = new ArrayList<>();
        Logger logger = Logger.getLogger(DiskCache.class.getName());
        Handler handler = new Handler() {
            @Override
            public synchronized void publish(LogRecord record) {
                if (record.getLevel() == Level.WARNING) warnings.add(record.getMessage());
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        };
        Level before = logger.getLevel();
        logger.setLevel(Level.WARNING); // whatever else a simulation before has silenced
        logger.addHandler(handler);
        try {
            what.run();
        } finally {
            logger.removeHandler(handler);
            logger.setLevel(before);
        }
        return warnings;
    }

    private void isOffWithOneWarning(Runnable spoil, String why) {
        List<String> warnings = warnings(() -> {
            spoil.run();
            DiskCache cache = open(10);
            for (int i = 0; i < 20; i++) {
                cache.offer(key(i), content(i));
                assertThat(cache.get(key(i))).isNull();
            }
            assertThat(cache.describe()).startsWith("off: ").contains(why);
            cache.close();
        });
        assertThat(warnings).hasSize(1);
        assertThat(warnings.get(0)).contains(file().toString()).contains(why);
    }

    @Test
    void aFullDiskTurnsItOffWithOneWarning() {
        isOffWithOneWarning(
                () -> {
                    try {
                        Files.createSymbolicLink(file(), Path.of("/dev/full"));
                    } catch (IOException e) {
                        throw new AssertionError(e);
                    }
                },
                "No space left");
    }

    @Test
    void aFileInUseTurnsItOffAndIsLeftAlone() {
        DiskCache first = open(10);
        first.offer(key(1), content(1));
        isOffWithOneWarning(() -> {}, "another gateway uses it");
        first = reopened(first, 10);
        assertThat(first.get(key(1))).isEqualTo(content(1));
        first.close();
    }

    @Test
    void aDiskThatFailsLaterTurnsItOffToo() throws Exception {
        DiskCache cache = open(10);
        cache.offer(key(1), content(1));
        until(cache::idle);
        assertThat(cache.get(key(1))).isEqualTo(content(1));
        List<String> warnings = warnings(() -> {
            Thread.currentThread().interrupt(); // closes the channel under everybody's hands
            assertThat(cache.get(key(1))).isNull();
            assertThat(Thread.interrupted()).isTrue();
            cache.offer(key(2), content(2));
            assertThat(cache.get(key(2))).isNull();
            cache.close();
        });
        assertThat(warnings).hasSize(1);
    }

    // ---- behind a volume

    private final FaultyStore bucket = new FaultyStore(0);

    private static VolumeSpec spec() {
        return VolumeSpec.of("v", 16 << 20)
                .withOption("bucket", "b")
                .withOption("journalSize", "2M")
                .withOption("objectSize", "64K")
                .withOption("cacheSize", "0")
                .withOption("timeoutSeconds", 1);
    }

    private S3Store store() {
        return new S3Store(folder, options -> bucket);
    }

    private Path cacheFile() throws IOException {
        try (var files = Files.list(folder.resolve("cache"))) {
            return files.findFirst().orElseThrow();
        }
    }

    private static byte[] read(BlockVolume volume) throws IOException {
        ByteBuffer data = ByteBuffer.allocateDirect(16 << 20);
        volume.read(data, 0);
        byte[] bytes = new byte[16 << 20];
        data.flip().get(bytes);
        return bytes;
    }

    private byte[] filled() throws IOException {
        byte[] bytes = new byte[16 << 20];
        new Random(1).nextBytes(bytes);
        try (BlockVolume volume = store().open(spec())) {
            volume.write(ByteBuffer.allocateDirect(bytes.length).put(bytes).flip(), 0, true);
        }
        return bytes;
    }

    @Test
    void whatWasReadOnceIsReadWithoutTheStoreAfterARestartOrAnUpdate() throws Exception {
        byte[] bytes = filled();
        for (boolean update : new boolean[] {false, true}) {
            BlockVolume volume = store().open(spec());
            until(() -> {
                // what the writer had no time for comes with the next reading
                int gets = bucket.gets.get();
                assertThat(read(volume)).isEqualTo(bytes);
                return bucket.gets.get() == gets;
            });
            if (update) volume.handOver();
            else volume.close();
            try (BlockVolume again = store().open(spec())) {
                bucket.down = true;
                assertThat(read(again)).isEqualTo(bytes);
                bucket.down = false;
            }
        }
    }

    @Test
    void aCacheThatIsDeletedOrDamagedMeanwhileOnlyCostsTime() throws Exception {
        byte[] bytes = filled();
        try (BlockVolume volume = store().open(spec())) {
            assertThat(read(volume)).isEqualTo(bytes);
        }
        byte[] content = Files.readAllBytes(cacheFile());
        for (int at = 0; at < content.length; at += 20_000) content[at] ^= 1;
        Files.write(cacheFile(), content);
        try (BlockVolume volume = store().open(spec())) {
            assertThat(read(volume)).isEqualTo(bytes);
        }
        Files.delete(cacheFile());
        try (BlockVolume volume = store().open(spec())) {
            assertThat(read(volume)).isEqualTo(bytes);
        }
    }

    @Test
    void noneIsMadeWhereNoneIsWanted() throws Exception {
        try (BlockVolume volume = store().open(spec().withOption("diskCacheSize", 0))) {
            assertThat(volume.details()).doesNotContainKey("read cache on disk");
        }
        assertThat(folder.resolve("cache")).doesNotExist();
        try (BlockVolume volume = store().open(spec().withOption(
                        "diskCacheFolder", folder.resolve("own").toString()))) {
            assertThat(volume.details()).containsKey("read cache on disk");
        }
        assertThat(folder.resolve("own")).isNotEmptyDirectory();
    }

    @Test
    void deletingAVolumeDeletesItsCache() throws Exception {
        filled();
        assertThat(cacheFile()).exists();
        store().delete(spec());
        assertThat(folder.resolve("cache")).isEmptyDirectory();
    }
}
