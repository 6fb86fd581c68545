package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;

/** A journal's file on a disk that can lose, as in a crash of the host, any of the sectors that were not synced. */
final class LossyDisk implements Disk {
    private static final int SECTOR = 512;

    private final Path path;
    private final Disk disk;
    /** What the sectors that were written since the last sync held before. */
    private final Map<Long, byte[]> synced = new HashMap<>();

    LossyDisk(Path path) throws IOException {
        this.path = path;
        disk = new FileDisk(path);
    }

    /** Loses about half of what was not synced; call when it is closed. */
    synchronized void crash(Random random) throws IOException {
        if (!Files.exists(path)) return;
        try (FileChannel file = FileChannel.open(path, StandardOpenOption.WRITE)) {
            for (Map.Entry<Long, byte[]> sector : synced.entrySet())
                if (random.nextBoolean()) file.write(ByteBuffer.wrap(sector.getValue()), sector.getKey() * SECTOR);
        }
        synced.clear();
    }

    @Override
    public long size() throws IOException {
        return disk.size();
    }

    @Override
    public synchronized void replace(long bytes, boolean keep) throws IOException {
        disk.replace(bytes, keep);
        synced.clear();
    }

    @Override
    public synchronized void write(ByteBuffer from, long position) throws IOException {
        for (long s = position / SECTOR; s * SECTOR < position + from.remaining(); s++) {
            if (synced.containsKey(s)) continue;
            ByteBuffer before = ByteBuffer.allocate(SECTOR);
            disk.read(before, s * SECTOR);
            synced.put(s, before.array());
        }
        disk.write(from, position);
    }

    @Override
    public void read(ByteBuffer into, long position) throws IOException {
        disk.read(into, position);
    }

    @Override
    public synchronized void sync() {
        synced.clear();
    }

    @Override
    public synchronized void delete() throws IOException {
        disk.delete();
        synced.clear();
    }

    @Override
    public void close() {
        disk.close();
    }
}
