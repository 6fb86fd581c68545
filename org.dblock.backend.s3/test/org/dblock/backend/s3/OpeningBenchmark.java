package org.dblock.backend.s3;

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
import org.dblock.api.VolumeSpec;

/**
 * How long opening takes, and in how much memory: 1 TiB in 16 million extents, or as many as the argument says, from a
 * store in a folder. Run it with {@code -Xmx600m}.
 */
final class OpeningBenchmark {
    private static final long TIB = 1L << 40;

    private OpeningBenchmark() {}

    public static void main(String[] arguments) throws Exception {
        int extents = arguments.length == 0 ? 1 << 24 : Integer.parseInt(arguments[0]);
        Path folder = Files.createTempDirectory("dblock-opening");
        try {
            long[] measured = run(folder, extents);
            System.out.printf(
                    "opening 1 TiB with %,d extents: %.1f s, %,d MiB of heap in use then, %,d MiB at most allowed%n",
                    extents,
                    measured[0] / 1e9,
                    measured[1] >> 20,
                    Runtime.getRuntime().maxMemory() >> 20);
        } finally {
            try (var files = Files.walk(folder)) {
                for (Path each : files.sorted((a, b) -> b.compareTo(a)).toList()) Files.delete(each);
            }
        }
    }

    /** Nanoseconds, and bytes of heap. */
    static long[] run(Path folder, int extents) throws IOException {
        ObjectStore store = new FolderStore(Files.createDirectories(folder.resolve("bucket")));
        VolumeSpec spec = VolumeSpec.of("v", TIB).withOption("bucket", "b").withOption("journalSize", "1M");
        new S3Store(folder.resolve("host"), options -> store).open(spec).close();
        fill(store, extents);
        long start = System.nanoTime();
        try (BlockVolume volume = new S3Store(folder.resolve("host"), options -> store).open(spec)) {
            long nanos = System.nanoTime() - start;
            System.gc();
            long heap = ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed();
            if (!volume.details().get("data").startsWith("64G live") && extents == 1 << 24)
                throw new AssertionError(volume.details());
            return new long[] {nanos, heap};
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
