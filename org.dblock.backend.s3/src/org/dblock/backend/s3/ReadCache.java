package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import org.dblock.api.Size;

/**
 * Reads payloads of log objects through a cache of lines in memory; every block is checked against the CRC in its
 * object's header. Lines that several ask for are read once, and neighbours in one request. Guarded by the volume's
 * lock, which no caller holds.
 */
final class ReadCache {
    /** Blocks in a line. */
    static final int LINE = 16;

    private static final int LINE_BYTES = LINE * Header.BLOCK;
    /** The most lines in one request: 1 MiB. */
    private static final int RUN = 16;

    private static final int MOST_SUMS = 1024;

    private record Key(long slot, int crc, int line) {}

    private final Bucket bucket;
    private final Keys keys;
    private final Scheduler scheduler;
    private final long patience;
    private final long capacity;
    private final LinkedHashMap<Key, byte[]> lines = new LinkedHashMap<>(16, 0.75f, true);
    private final Set<Key> coming = new HashSet<>();
    private long bytes;
    private long hits;
    private long misses;

    private final LinkedHashMap<Key, int[]> sums = new LinkedHashMap<>(16, 0.75f, true) {
        private static final long serialVersionUID = 1;

        @Override
        protected boolean removeEldestEntry(Map.Entry<Key, int[]> eldest) {
            return size() > MOST_SUMS;
        }
    };

    ReadCache(Bucket bucket, Keys keys, Scheduler scheduler, long patience, long capacity) {
        this.bucket = bucket;
        this.keys = keys;
        this.scheduler = scheduler;
        this.patience = patience;
        this.capacity = capacity;
    }

    /** Copies blocks of an object's payload to the buffer. */
    void read(long slot, State.Stored stored, int at, int blocks, ByteBuffer into) throws IOException {
        int first = at / LINE;
        int last = (at + blocks - 1) / LINE;
        for (int line = first; line <= last; line++) {
            byte[] data = line(slot, stored, line, last);
            int from = Math.max(at, line * LINE) - line * LINE;
            int to = Math.min(at + blocks, (line + 1) * LINE) - line * LINE;
            into.put(data, from * Header.BLOCK, (to - from) * Header.BLOCK);
        }
    }

    /** Reads a range into the cache. */
    void load(long slot, State.Stored stored, int at, int blocks) throws IOException {
        int last = (at + blocks - 1) / LINE;
        for (int line = at / LINE; line <= last; line++) line(slot, stored, line, last);
    }

    private byte[] line(long slot, State.Stored stored, int line, int last) throws IOException {
        Key key = new Key(slot, stored.crc, line);
        int run = 1;
        scheduler.lock();
        try {
            while (true) {
                byte[] data = lines.get(key);
                if (data != null) {
                    hits++;
                    return data;
                }
                if (coming.add(key)) break;
                scheduler.await(patience);
            }
            misses++;
            while (run < RUN && line + run <= last) {
                Key next = new Key(slot, stored.crc, line + run);
                if (lines.containsKey(next) || !coming.add(next)) break;
                run++;
            }
        } finally {
            scheduler.unlock();
        }
        byte[][] got = new byte[run][];
        try {
            fetch(slot, stored, line, got);
            return got[0];
        } finally {
            scheduler.lock();
            for (int i = 0; i < run; i++) {
                Key each = new Key(slot, stored.crc, line + i);
                coming.remove(each);
                if (got[i] != null) keep(each, got[i]);
            }
            scheduler.signal();
            scheduler.unlock();
        }
    }

    private void keep(Key key, byte[] data) {
        if (lines.put(key, data) == null) bytes += data.length;
        var eldest = lines.entrySet().iterator();
        while (bytes > capacity && eldest.hasNext()) {
            bytes -= eldest.next().getValue().length;
            eldest.remove();
        }
    }

    private void fetch(long slot, State.Stored stored, int line, byte[][] got) throws IOException {
        int first = line * LINE;
        int count = Math.min(got.length * LINE, stored.payloadBlocks - first);
        ByteBuffer data = payload(slot, stored, sums(slot, stored), first, count);
        for (int i = 0; i < got.length; i++) {
            got[i] = new byte[Math.min(LINE_BYTES, data.remaining())];
            data.get(got[i]);
        }
    }

    /** Reads blocks of a payload past the cache, and checks them. */
    ByteBuffer payload(long slot, State.Stored stored, int[] sums, int first, int count) throws IOException {
        String key = keys.log(slot);
        ByteBuffer data =
                bucket.get(key, (long) (stored.headerBlocks + first) * Header.BLOCK, count * Header.BLOCK, patience);
        if (data.remaining() != count * Header.BLOCK) throw new Corruption(key + " is cut short in block " + first);
        for (int i = 0; i < count; i++)
            if (Header.crcOf(data, i * Header.BLOCK, Header.BLOCK) != sums[first + i])
                throw new Corruption(key + " is damaged in block " + (first + i) + " of its payload");
        return data;
    }

    /** The CRC of each block of an object's payload. */
    private int[] sums(long slot, State.Stored stored) throws IOException {
        Key key = new Key(slot, stored.crc, 0);
        scheduler.lock();
        int[] known = sums.get(key);
        scheduler.unlock();
        if (known != null) return known;
        int[] read = header(slot, stored).payloadCrc;
        scheduler.lock();
        sums.put(key, read);
        scheduler.unlock();
        return read;
    }

    /** Reads an object's header. */
    Header header(long slot, State.Stored stored) throws IOException {
        Header header = Fence.readHeader(bucket, keys.log(slot), patience);
        if (header.crc != stored.crc)
            throw new Corruption(keys.log(slot) + " is not the object that the map points to");
        return header;
    }

    /** Call with the lock. */
    String describe() {
        return Size.format(bytes) + " of " + Size.format(capacity) + ", " + hits + " hits, " + misses + " misses";
    }
}
