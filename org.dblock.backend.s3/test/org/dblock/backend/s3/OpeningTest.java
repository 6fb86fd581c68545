package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentSkipListMap;
import org.dblock.api.BlockVolume;
import org.dblock.api.Size;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Opening is fast and takes bounded memory: 1 TiB in as many extents as {@code -Ddblock.extents} says, from a store in
 * a folder. 16 million: {@code mvn -q verify -Dgoals="test:org.dblock.backend.s3:OpeningTest" -Djvm="-Xmx600m
 * -Ddblock.extents=16777216"}.
 */
class OpeningTest {
    private static final long TIB = 1L << 40;
    private static final int EXTENTS = Integer.getInteger("dblock.extents", 1 << 20);

    @TempDir
    Path folder;

    @Test
    void opensATebibyteOfSmallExtents() throws IOException {
        ObjectStore store = new FolderStore(Files.createDirectories(folder.resolve("bucket")));
        VolumeSpec spec = VolumeSpec.of("v", TIB)
                .withOption("bucket", "b")
                .withOption("journalSize", "1M")
                .withOption("diskCacheSize", 0);
        new S3Store(folder.resolve("host"), options -> store).open(spec).close();
        fill(store, EXTENTS);
        long start = System.nanoTime();
        try (BlockVolume volume = new S3Store(folder.resolve("host"), options -> store).open(spec)) {
            double seconds = (System.nanoTime() - start) / 1e9;
            System.gc();
            long heap = ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed() >> 20;
            System.out.printf(
                    "opening 1 TiB with %,d extents: %.1f s, then %,d MiB of heap in use, of %,d MiB allowed%n",
                    EXTENTS, seconds, heap, Runtime.getRuntime().maxMemory() >> 20);
            assertThat(volume.details().get("data")).startsWith(Size.format((long) EXTENTS * Header.BLOCK) + " live");
            assertThat(seconds).isLessThan(100);
            assertThat(heap).isLessThan(600);
        }
    }

    /** Writes a checkpoint with so many extents of one block, spread evenly. */
    private static void fill(ObjectStore store, int extents) throws IOException {
        Threads scheduler = new Threads("fill");
        Bucket bucket = new Bucket(store, scheduler, "fill");
        String key = store.list("dblock/", "", 1000).stream()
                .map(ObjectStore.Item::key)
                .filter(k -> k.endsWith("/format"))
                .findFirst()
                .orElseThrow();
        ByteBuffer text = ByteBuffer.allocate(4096);
        store.get(key, 0, text);
        Format format = Format.parse(new String(text.array(), 0, text.position()));
        Keys keys = new Keys("dblock/", format.volume());
        long patience = 1_000_000_000L;
        Checkpoints checkpoints = new Checkpoints(bucket, keys, format.volume(), new Rules(), patience);
        Settings settings = new Settings("", 1, 8, 1, 0, 1, 1, 1, 1, patience, 1, 1, 1, false, 0, 1);
        State state = new Fence(bucket, keys, format, checkpoints, scheduler, settings, new Rules())
                .read()
                .state();
        long apart = TIB / Header.BLOCK / extents;
        int perObject = 2048;
        for (int i = 0; i < extents; i++) {
            long slot = 1000 + i / perObject;
            if (i % perObject == 0)
                state.add(slot, new State.Stored(10, perObject, i, Math.min(perObject, extents - i)));
            state.map.set(i * apart, 1, slot, i % perObject);
        }
        state.slot = 1000 + extents / perObject;
        checkpoints.write(state, 7, scheduler);
        scheduler.join(0);
    }

    /** A file an object. */
    private static final class FolderStore implements ObjectStore {
        private final Path folder;
        private final ConcurrentSkipListMap<String, Long> sizes = new ConcurrentSkipListMap<>();

        FolderStore(Path folder) {
            this.folder = folder;
        }

        private Path file(String key) {
            return folder.resolve(key.replace('/', '!'));
        }

        @Override
        public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
            sizes.put(key, (long) body.remaining());
            try (FileChannel out =
                    FileChannel.open(file(key), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
                ByteBuffer all = body.duplicate();
                while (all.hasRemaining()) out.write(all);
                return true;
            } catch (FileAlreadyExistsException e) {
                return false;
            }
        }

        @Override
        public void get(String key, long offset, ByteBuffer into) throws IOException {
            try (FileChannel in = FileChannel.open(file(key), StandardOpenOption.READ)) {
                in.position(offset);
                while (into.hasRemaining()) if (in.read(into) < 0) break;
            } catch (NoSuchFileException e) {
                throw new Missing(key);
            }
        }

        @Override
        public List<Item> list(String prefix, String after, int most) {
            List<Item> items = new ArrayList<>();
            sizes.tailMap(prefix).forEach((key, size) -> {
                if (key.startsWith(prefix) && key.compareTo(after) > 0 && items.size() < most)
                    items.add(new Item(key, size));
            });
            return items;
        }

        @Override
        public void delete(List<String> keys) throws IOException {
            for (String key : keys) {
                sizes.remove(key);
                Files.deleteIfExists(file(key));
            }
        }

        @Override
        public void close() {}
    }
}
