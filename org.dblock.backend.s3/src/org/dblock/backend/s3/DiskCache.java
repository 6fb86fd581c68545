package org.dblock.backend.s3;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.UUID;
import java.util.zip.CRC32C;
import org.dblock.api.Size;

/**
 * Lines of log objects in a file on the local disk, behind the cache in memory; they outlive restarts.
 *
 * <p>A line never goes stale, for its key names a piece of an immutable object, and its CRC covers key and data: one
 * that is damaged, torn, or another's is a miss. Nothing depends on this file. It is bounded in size, may be deleted
 * while the volume is closed, and is given up, with one warning, when the disk fails or is full.
 *
 * <p>Thread-safe. One thread writes, and what it can't take in time it never gets, so no read waits for a write. The
 * file: docs/s3-format.md.
 */
final class DiskCache implements Closeable {
    private static final System.Logger LOG = System.getLogger(DiskCache.class.getName());
    private static final long MAGIC = 0x3143434b4c4c4244L; // "DBLLKCC1"
    private static final int LINE = ReadCache.LINE * Header.BLOCK;
    private static final int ENTRY = 16;
    /** The most lines that wait to be written: 8 MiB. */
    private static final int MOST_WAITING = 64;

    private static final long LAST_WRITE_MILLIS = 2000;

    /** A line of an object of a volume's log. */
    record Key(UUID volume, long slot, int crc, int line) {
        /** 64 well mixed bits. */
        long hash() {
            long h = volume.getMostSignificantBits();
            h = mix(h ^ volume.getLeastSignificantBits());
            h = mix(h ^ slot);
            return mix(h ^ ((long) crc << 32 | line));
        }

        private static long mix(long h) {
            h += 0x9e3779b97f4a7c15L;
            h = (h ^ h >>> 30) * 0xbf58476d1ce4e5b9L;
            h = (h ^ h >>> 27) * 0x94d049bb133111ebL;
            return h ^ h >>> 31;
        }

        int crcWith(byte[] data) {
            ByteBuffer key = ByteBuffer.allocate(32);
            key.putLong(volume.getMostSignificantBits()).putLong(volume.getLeastSignificantBits());
            key.putLong(slot).putInt(crc).putInt(line);
            CRC32C sum = new CRC32C();
            sum.update(key.flip());
            sum.update(data);
            return (int) sum.getValue();
        }
    }

    private record Waiting(Key key, byte[] data) {}

    private final String volume;
    private final Path path;
    private final int places;
    private final long dataAt;

    // of each place: what is there (0 blocks: nothing), whether it was used of late, and the next in its hash chain
    private final long[] hashes;
    private final int[] sums;
    private final byte[] blocks;
    private final boolean[] used;
    private final int[] next;
    /** For each hash its first place; -1: none. */
    private final int[] chains;

    private final Deque<Waiting> queue = new ArrayDeque<>();
    private final ByteBuffer entry = ByteBuffer.allocate(ENTRY).order(ByteOrder.LITTLE_ENDIAN);
    private final Thread writer;
    private FileChannel channel;
    private int hand;
    private int filled;
    private long hits;
    private long misses;
    private long damaged;
    private boolean writing;
    private boolean closed;
    /** Why the cache is off; empty: it works. */
    private volatile String off = "";

    /** @param bytes how much the lines may take, at least one line's */
    DiskCache(String volume, Path path, long bytes) {
        this.volume = volume;
        this.path = path;
        places = (int) Math.max(1, Math.min(bytes / LINE, 1 << 24));
        long table = (long) places * ENTRY;
        dataAt = Header.BLOCK + (table + Header.BLOCK - 1) / Header.BLOCK * Header.BLOCK;
        hashes = new long[places];
        sums = new int[places];
        blocks = new byte[places];
        used = new boolean[places];
        next = new int[places];
        chains = new int[Math.max(1, Integer.highestOneBit(places)) * 2];
        clear();
        writer = new Thread(this::write, "s3 cache " + volume);
        writer.setDaemon(true);
        try {
            open();
            writer.start();
        } catch (IOException | OverlappingFileLockException e) {
            off(e instanceof IOException ? e.toString() : "another gateway uses it");
        }
    }

    // ---- the file

    private void open() throws IOException {
        Files.createDirectories(path.getParent());
        channel = FileChannel.open(path, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
        if (channel.tryLock() == null) throw new IOException("another gateway uses it");
        ByteBuffer header = header();
        ByteBuffer found = ByteBuffer.allocate(header.remaining());
        if (channel.read(found, 0) == header.remaining() && found.flip().equals(header)) {
            readTable();
        } else {
            if (channel.size() > 0) channel.truncate(0);
            write(header, 0);
        }
    }

    private ByteBuffer header() {
        ByteBuffer header = ByteBuffer.allocate(24).order(ByteOrder.LITTLE_ENDIAN);
        return header.putLong(MAGIC)
                .putInt(1)
                .putInt(LINE)
                .putInt(places)
                .putInt(0)
                .flip();
    }

    /** Finds what is there. Entries may be wrong in any way: what they lead to is checked. */
    private void readTable() throws IOException {
        ByteBuffer some = ByteBuffer.allocate(1 << 16).order(ByteOrder.LITTLE_ENDIAN);
        for (int place = 0; place < places; ) {
            some.clear().limit((int) Math.min(some.capacity(), (long) (places - place) * ENTRY));
            long at = Header.BLOCK + (long) place * ENTRY;
            while (some.hasRemaining()) if (channel.read(some, at + some.position()) < 0) break;
            some.flip();
            int count = some.remaining() / ENTRY;
            if (count == 0) return; // the file was never longer
            for (int i = 0; i < count; i++, place++) {
                long hash = some.getLong(i * ENTRY);
                int sum = some.getInt(i * ENTRY + 8);
                int length = some.getInt(i * ENTRY + 12);
                if (length > 0 && length <= ReadCache.LINE && find(hash) < 0) insert(place, hash, sum, length);
            }
        }
    }

    private void write(ByteBuffer from, long position) throws IOException {
        while (from.hasRemaining()) position += channel.write(from, position);
    }

    /** Gives the cache and its space up, and says so once. */
    private void off(String why) {
        synchronized (this) {
            if (!off.isEmpty() || closed) return;
            off = why;
            clear();
            queue.clear();
            notifyAll();
        }
        LOG.log(
                System.Logger.Level.WARNING,
                "volume " + volume + ": the read cache " + path + " is off until the volume is opened again: " + why);
        try {
            if (channel != null && channel.isOpen() && writer.isAlive()) channel.truncate(0);
        } catch (IOException e) {
            LOG.log(System.Logger.Level.DEBUG, "giving back the space of " + path, e);
        }
    }

    // ---- the index; call with the lock

    private void clear() {
        Arrays.fill(chains, -1);
        Arrays.fill(blocks, (byte) 0);
        filled = 0;
    }

    private int chain(long hash) {
        return (int) hash & chains.length - 1;
    }

    private int find(long hash) {
        int place = chains[chain(hash)];
        while (place >= 0 && hashes[place] != hash) place = next[place];
        return place;
    }

    private void insert(int place, long hash, int sum, int length) {
        hashes[place] = hash;
        sums[place] = sum;
        blocks[place] = (byte) length;
        next[place] = chains[chain(hash)];
        chains[chain(hash)] = place;
        filled++;
    }

    private void remove(int place) {
        if (blocks[place] == 0) return;
        int chain = chain(hashes[place]);
        if (chains[chain] == place) {
            chains[chain] = next[place];
        } else {
            int before = chains[chain];
            while (next[before] != place) before = next[before];
            next[before] = next[place];
        }
        blocks[place] = 0;
        filled--;
    }

    /** The next place that was not used since the hand last came by. */
    private int victim() {
        while (true) {
            int place = hand;
            hand = (hand + 1) % places;
            if (!used[place]) return place;
            used[place] = false;
        }
    }

    // ---- lines

    /** A line as it was written; null: it is not there. */
    byte[] get(Key key) {
        if (!off.isEmpty()) return null;
        int place;
        int sum;
        byte[] data;
        synchronized (this) {
            place = find(key.hash());
            if (place < 0) {
                misses++;
                return null;
            }
            used[place] = true;
            sum = sums[place];
            data = new byte[blocks[place] * Header.BLOCK];
        }
        try {
            ByteBuffer into = ByteBuffer.wrap(data);
            long at = dataAt + (long) place * LINE;
            while (into.hasRemaining()) if (channel.read(into, at + into.position()) < 0) break;
        } catch (IOException e) {
            off(e.toString());
            return null;
        }
        boolean right = key.crcWith(data) == sum;
        synchronized (this) {
            if (right) {
                hits++;
                return data;
            }
            misses++;
            // unless it was replaced meanwhile
            if (blocks[place] != 0 && hashes[place] == key.hash() && sums[place] == sum) {
                damaged++;
                remove(place);
            }
        }
        return null;
    }

    /** Takes a line, which nobody changes any more, to be written; or not, when too many wait already. */
    void offer(Key key, byte[] data) {
        if (!off.isEmpty()) return;
        synchronized (this) {
            if (closed || queue.size() >= MOST_WAITING || find(key.hash()) >= 0) return;
            queue.add(new Waiting(key, data));
            notifyAll();
        }
    }

    private void write() {
        try {
            while (true) {
                Waiting line;
                int place;
                synchronized (this) {
                    writing = false;
                    while (queue.isEmpty() && !closed && off.isEmpty()) wait();
                    line = queue.poll();
                    writing = line != null;
                    if (line == null) return;
                    if (find(line.key.hash()) >= 0) continue;
                    place = victim();
                    remove(place);
                }
                long hash = line.key.hash();
                int sum = line.key.crcWith(line.data);
                int length = line.data.length / Header.BLOCK;
                write(ByteBuffer.wrap(line.data), dataAt + (long) place * LINE);
                entry.clear().putLong(hash).putInt(sum).putInt(length).flip();
                write(entry, Header.BLOCK + (long) place * ENTRY);
                synchronized (this) {
                    if (off.isEmpty()) insert(place, hash, sum, length);
                }
            }
        } catch (IOException | RuntimeException e) {
            off(e.toString());
        } catch (InterruptedException e) {
            off("interrupted");
        }
    }

    /** How full it is and how much it helps, or why it is off. */
    synchronized String describe() {
        if (!off.isEmpty()) return "off: " + off;
        return Size.format((long) filled * LINE) + " of " + Size.format((long) places * LINE) + ", " + hits + " hits, "
                + misses + " misses" + (damaged == 0 ? "" : ", " + damaged + " damaged lines");
    }

    /** Whether all that was taken is written. */
    synchronized boolean idle() {
        return queue.isEmpty() && !writing;
    }

    /** Removes the file; after {@link #close}. */
    void delete() {
        try {
            Files.deleteIfExists(path);
        } catch (IOException e) {
            LOG.log(System.Logger.Level.WARNING, "deleting " + path, e);
        }
    }

    /** Writes what waits, for two seconds at most, and lets go of the file. */
    @Override
    public void close() {
        synchronized (this) {
            closed = true;
            notifyAll();
        }
        try {
            writer.join(LAST_WRITE_MILLIS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        try {
            if (channel != null) channel.close();
        } catch (IOException e) {
            LOG.log(System.Logger.Level.DEBUG, "closing " + path, e);
        }
    }
}
