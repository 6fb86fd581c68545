package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import org.dblock.api.Size;

/**
 * Reads payloads of log objects through a cache of lines in memory, and one on the local disk behind it; every block
 * that comes from the store is checked against the CRC in its object's header. Lines that several ask for are read
 * once, and neighbours in one request. Guarded by the volume's lock, which no caller holds.
 */
final class ReadCache {
    private static final System.Logger LOG = System.getLogger(ReadCache.class.getName());
    /** Blocks in a line: 128 KiB. A request costs a store and the SDK as much as moving that does. */
    static final int LINE = 32;

    private static final int LINE_BYTES = LINE * Header.BLOCK;
    /** The most lines in one request: 1 MiB. */
    private static final int RUN = 8;
    /** The most requests under way beside those that readers make themselves. */
    private static final int MOST_AHEAD = 24;
    /** How many CRCs of payloads are kept: 8 MiB. */
    private static final int MOST_SUMS = 2 << 20;
    /** How often an object is asked for again that comes damaged. */
    private static final int REPEATS = 2;

    private record Key(long slot, int crc, int line) {}

    /** A stretch of an object's payload, in blocks. */
    record Stretch(long slot, State.Stored stored, int at, int blocks) {
        private int firstLine() {
            return at / LINE;
        }

        private int lastLine() {
            return (at + blocks - 1) / LINE;
        }
    }

    /** Neighbouring lines for one request. */
    private record Run(long slot, State.Stored stored, int line, int count) {
        Key key(int i) {
            return new Key(slot, stored.crc, line + i);
        }
    }

    private final Bucket bucket;
    private final Keys keys;
    private final Scheduler scheduler;
    private final long patience;
    private final long capacity;
    private final UUID volume;
    private final DiskCache disk;
    private final LinkedHashMap<Key, byte[]> lines = new LinkedHashMap<>(16, 0.75f, true);
    private final LinkedHashMap<Key, int[]> sums = new LinkedHashMap<>(16, 0.75f, true);
    /** What is being read; an object's header counts as line -1. */
    private final Set<Key> coming = new HashSet<>();

    private long bytes;
    private long sumsKept;
    private int ahead;
    private long hits;
    private long misses;

    /** @param disk null: there is none */
    ReadCache(
            Bucket bucket, Keys keys, Scheduler scheduler, long patience, long capacity, UUID volume, DiskCache disk) {
        this.bucket = bucket;
        this.keys = keys;
        this.scheduler = scheduler;
        this.patience = patience;
        this.capacity = capacity;
        this.volume = volume;
        this.disk = disk;
    }

    /** Copies blocks of an object's payload to the buffer. */
    void read(Stretch stretch, ByteBuffer into) throws IOException {
        int end = stretch.at + stretch.blocks;
        for (int line = stretch.firstLine(); line <= stretch.lastLine(); line++) {
            byte[] data = line(stretch, line);
            int from = Math.max(stretch.at, line * LINE) - line * LINE;
            int to = Math.min(end, (line + 1) * LINE) - line * LINE;
            into.put(data, from * Header.BLOCK, (to - from) * Header.BLOCK);
        }
    }

    /**
     * Reads what the cache lacks of some stretches that are read in this order: neighbours of one object in one
     * request, whatever lies between them in the volume, and several requests at a time. Returns when all are under
     * way, and those of the calling thread done.
     */
    void load(List<Stretch> stretches) throws IOException {
        List<Run> plan = plan(stretches);
        // a single line is no more than what its reader asks for
        if (plan.size() == 1 && plan.get(0).count == 1) return;
        for (int next = 0; next < plan.size(); ) {
            List<Run> runs = new ArrayList<>();
            scheduler.lock();
            try {
                if (bucket.ending()) return;
                // one for this thread, however many there are
                while (next < plan.size() && (runs.isEmpty() || ahead < MOST_AHEAD)) {
                    Run wanted = plan.get(next++);
                    for (int line = wanted.line; line < wanted.line + wanted.count; ) {
                        Run run = claim(wanted, line);
                        line += Math.max(1, run.count);
                        if (run.count == 0) continue;
                        if (!runs.isEmpty()) ahead++;
                        runs.add(run);
                    }
                }
            } finally {
                scheduler.unlock();
            }
            for (int i = 1; i < runs.size(); i++) begin(runs.get(i));
            if (!runs.isEmpty()) fetch(runs.get(0));
        }
    }

    /** The lines of some stretches, each once and in order of need; no more than fit until they are read. */
    private List<Run> plan(List<Stretch> stretches) {
        List<Run> plan = new ArrayList<>();
        Map<Long, Integer> latest = new HashMap<>();
        Set<Key> planned = new HashSet<>();
        for (Stretch stretch : stretches) {
            for (int line = stretch.firstLine(); line <= stretch.lastLine(); line++) {
                if (!planned.add(new Key(stretch.slot, stretch.stored.crc, line))) continue;
                if ((long) planned.size() * LINE_BYTES > capacity / 2) return plan;
                Integer at = latest.get(stretch.slot);
                Run last = at == null ? null : plan.get(at);
                if (last != null && last.line + last.count == line && last.count < RUN) {
                    plan.set(at, new Run(last.slot, last.stored, last.line, last.count + 1));
                } else {
                    latest.put(stretch.slot, plan.size());
                    plan.add(new Run(stretch.slot, stretch.stored, line, 1));
                }
            }
        }
        return plan;
    }

    private void begin(Run run) {
        try {
            scheduler.run("read", () -> fetchAhead(run));
        } catch (RuntimeException | Error e) {
            // no thread for it: whoever really reads it does so itself
            LOG.log(System.Logger.Level.DEBUG, "volume " + volume + ": nothing is read ahead: " + e);
            scheduler.lock();
            unclaim(run);
            ahead--;
            scheduler.unlock();
        }
    }

    private void fetchAhead(Run run) {
        try {
            fetch(run);
        } catch (IOException e) {
            // whoever really reads it tries again, and is told
        } finally {
            scheduler.lock();
            ahead--;
            scheduler.unlock();
        }
    }

    /** As much of a run from a line on as is missing and nobody reads; call with the lock. */
    private Run claim(Run wanted, int line) {
        int count = 0;
        while (line + count < wanted.line + wanted.count) {
            Key key = new Key(wanted.slot, wanted.stored.crc, line + count);
            if (lines.containsKey(key) || !coming.add(key)) break;
            count++;
        }
        return new Run(wanted.slot, wanted.stored, line, count);
    }

    private void unclaim(Run run) {
        for (int i = 0; i < run.count; i++) coming.remove(run.key(i));
        scheduler.signal();
    }

    private byte[] line(Stretch stretch, int line) throws IOException {
        Key key = new Key(stretch.slot, stretch.stored.crc, line);
        Run wanted = new Run(stretch.slot, stretch.stored, line, Math.min(RUN, stretch.lastLine() - line + 1));
        Run run;
        scheduler.lock();
        try {
            while (true) {
                byte[] data = lines.get(key);
                if (data != null) {
                    hits++;
                    return data;
                }
                run = claim(wanted, line);
                if (run.count > 0) break;
                scheduler.await(patience);
            }
            misses++;
        } finally {
            scheduler.unlock();
        }
        return fetch(run)[0];
    }

    /** Reads a run that was claimed. */
    private byte[][] fetch(Run run) throws IOException {
        byte[][] got = new byte[run.count][];
        try {
            if (disk != null) for (int i = 0; i < run.count; i++) got[i] = disk.get(onDisk(run, i));
            for (int i = 0; i < run.count; ) {
                int to = i;
                while (to < run.count && got[to] == null) to++;
                if (to > i) fetch(run, i, to, got);
                i = to + 1;
            }
            return got;
        } finally {
            scheduler.lock();
            for (int i = 0; i < run.count; i++) if (got[i] != null) keep(run.key(i), got[i]);
            unclaim(run);
            scheduler.unlock();
        }
    }

    private void fetch(Run run, int from, int to, byte[][] got) throws IOException {
        int first = (run.line + from) * LINE;
        int count = Math.min((to - from) * LINE, run.stored.payloadBlocks - first);
        ByteBuffer data = payload(run.slot, run.stored, sums(run.slot, run.stored), first, count);
        for (int i = from; i < to; i++) {
            byte[] line = data.array();
            if (data.capacity() > LINE_BYTES) data.get(line = new byte[Math.min(LINE_BYTES, data.remaining())]);
            got[i] = line;
            if (disk != null) disk.offer(onDisk(run, i), line);
        }
    }

    private DiskCache.Key onDisk(Run run, int i) {
        return new DiskCache.Key(volume, run.slot, run.stored.crc, run.line + i);
    }

    private void keep(Key key, byte[] data) {
        if (lines.put(key, data) == null) bytes += data.length;
        var eldest = lines.entrySet().iterator();
        while (bytes > capacity && eldest.hasNext()) {
            bytes -= eldest.next().getValue().length;
            eldest.remove();
        }
    }

    /** Reads blocks of a payload past the cache, and checks them. */
    ByteBuffer payload(long slot, State.Stored stored, int[] sums, int first, int count) throws IOException {
        String key = keys.log(slot);
        long offset = (long) (stored.headerBlocks + first) * Header.BLOCK;
        for (int repeats = 0; ; repeats++) {
            ByteBuffer data = bucket.get(key, offset, count * Header.BLOCK, patience);
            int wrong = 0;
            while (wrong < count && right(data, wrong, sums[first + wrong])) wrong++;
            if (wrong == count) return data;
            // it may have been damaged on its way
            if (repeats == REPEATS)
                throw new Corruption(
                        (wrong + 1) * Header.BLOCK > data.limit()
                                ? key + " is cut short in block " + (first + wrong)
                                : key + " is damaged in block " + (first + wrong) + " of its payload");
        }
    }

    private static boolean right(ByteBuffer data, int block, int sum) {
        return (block + 1) * Header.BLOCK <= data.limit()
                && Header.crcOf(data, block * Header.BLOCK, Header.BLOCK) == sum;
    }

    /** The CRC of each block of an object's payload. */
    private int[] sums(long slot, State.Stored stored) throws IOException {
        Key key = new Key(slot, stored.crc, -1);
        scheduler.lock();
        try {
            while (true) {
                int[] known = sums.get(key);
                if (known != null) return known;
                if (coming.add(key)) break;
                scheduler.await(patience);
            }
        } finally {
            scheduler.unlock();
        }
        int[] read = null;
        try {
            read = header(slot, stored).payloadCrc;
            return read;
        } finally {
            scheduler.lock();
            coming.remove(key);
            if (read != null && sums.put(key, read) == null) sumsKept += read.length;
            var eldest = sums.entrySet().iterator();
            while (sumsKept > MOST_SUMS && eldest.hasNext()) {
                sumsKept -= eldest.next().getValue().length;
                eldest.remove();
            }
            scheduler.signal();
            scheduler.unlock();
        }
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
