package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.UUID;
import org.dblock.api.BlockVolume;
import org.dblock.api.Inspection;

/** One small volume, opened past the store's front, so that a test chooses its settings and rules. */
final class Direct {
    static final int BLOCK = Header.BLOCK;
    static final int WINDOW = 8;
    private static final long MS = 1_000_000L;
    private static final long SECOND = 1000 * MS;

    final Format format = new Format(new UUID(5, 6), 1 << 20, WINDOW);
    final Keys keys = new Keys("p/", format.volume());
    private final Path folder;
    /** How long requests are repeated. */
    long patience = 2 * SECOND;

    long look = 600 * SECOND;

    int checkpointObjects = 1000;
    int collectBelow;
    boolean remoteDurable;
    Rules rules = new Rules();

    private Direct(Path folder) {
        this.folder = folder;
    }

    /** Creates the volume: puts the object that says that it exists. */
    static Direct create(Path folder, FaultyStore store) {
        Direct direct = new Direct(folder);
        store.objects.put(direct.keys.format(), direct.format.text().getBytes(StandardCharsets.US_ASCII));
        return direct;
    }

    Path journal(String host) {
        return folder.resolve(host);
    }

    /** Whether the time of day stands still. */
    boolean clockStands;

    /** Whether no more threads can be made to read. */
    volatile boolean noThreads;

    S3Volume open(String host, ObjectStore store, boolean takeover) throws IOException {
        Disk disk = new FileDisk(journal(host));
        Scheduler scheduler = new Threads(host) {
            @Override
            public void run(String task, Runnable what) {
                if (noThreads && task.startsWith("read"))
                    throw new OutOfMemoryError("as if there were no more threads");
                super.run(task, what);
            }

            @Override
            public long millis() {
                return clockStands ? 1 : super.millis();
            }
        };
        try {
            Bucket bucket = new Bucket(store, scheduler, host);
            Settings settings = settings(host);
            Opening opening = new Opening(host, format, 0, bucket, keys, disk, scheduler, settings, rules, takeover);
            opening.run();
            return new S3Volume(
                    host, opening, bucket, keys, disk, scheduler, settings, WINDOW, rules, false, null, () -> {});
        } catch (IOException | RuntimeException | Error e) {
            scheduler.join(0);
            disk.close();
            throw e;
        }
    }

    Settings settings(String host) {
        return new Settings(
                host,
                16,
                WINDOW,
                50 * MS,
                0,
                checkpointObjects,
                600 * SECOND,
                10 * MS,
                look,
                patience,
                10 * SECOND,
                Journal.RING + (1 << 20),
                1 << 20,
                remoteDurable,
                collectBelow,
                1 << 30);
    }

    Inspection inspect(ObjectStore store, boolean scrub) throws IOException {
        Scheduler scheduler = new Threads("inspection");
        try {
            Bucket bucket = new Bucket(store, scheduler, "v");
            return new Inspector(bucket, keys, format, scheduler, settings(""), scrub).run();
        } finally {
            scheduler.join(0);
        }
    }

    static ByteBuffer data(int value, int blocks) {
        ByteBuffer data = ByteBuffer.allocateDirect(blocks * BLOCK);
        while (data.hasRemaining()) data.put((byte) value);
        return data.flip();
    }

    static int read(BlockVolume volume, long lba) throws IOException {
        ByteBuffer data = ByteBuffer.allocateDirect(BLOCK);
        volume.read(data, lba * BLOCK);
        assertThat(data.remaining()).isZero();
        return data.get(17);
    }
}
