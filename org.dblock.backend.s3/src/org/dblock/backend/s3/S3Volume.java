package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.dblock.api.BlockException;
import org.dblock.api.Capability;
import org.dblock.api.ExtentVisitor;
import org.dblock.api.Geometry;
import org.dblock.api.Persistence;
import org.dblock.api.Reason;
import org.dblock.api.Size;

/** A volume that this gateway owns: writes go to the journal, from there to the log; reads come from both. */
final class S3Volume implements WholeBlocks {
    private static final int BLOCK = Header.BLOCK;
    private static final long LONG = 3_600_000_000_000L;
    private static final long SOON = 2_000_000_000L;
    /** For how long a write is slowed down at most. */
    private static final long LONGEST_PAUSE = 10_000_000L;

    private static final int LOOKUPS = 5;
    private static final int OVERTAKEN = 1000;
    /** The most blocks in one record of zeroes. */
    private static final long MOST_ZEROES = 1L << 30;

    private final String name;
    private final Scheduler scheduler;
    private final Settings settings;
    private final Rules rules;
    private final Bucket bucket;
    private final Disk disk;
    private final State state;
    private final Journal journal;
    /** What the journal has and the log lacks. */
    private final ExtentMap dirty;

    private final Log log;
    private final Checkpoints checkpoints;
    private final long nonce;
    private final ReadCache cache;
    /** Null: there is none. */
    private final DiskCache diskCache;

    private final ReadAhead readAhead;
    private final Collector collector;
    private final Snapshots snapshots;
    private final Runnable onClose;

    private final int recordBytes;
    private volatile Geometry geometry;
    private long syncedPosition;
    private boolean syncing;
    private long lastWrite;
    private boolean deletionsWanted;
    /** Whether a snapshot is being made. */
    private boolean snapshotting;

    private boolean closing;
    private boolean closed;
    private long closeBy = Long.MAX_VALUE;

    /** @param diskCache is closed with the volume; null: there is none */
    S3Volume(
            String name,
            Opening opening,
            Bucket bucket,
            Keys keys,
            Disk disk,
            Scheduler scheduler,
            Settings settings,
            int window,
            Rules rules,
            boolean readOnly,
            DiskCache diskCache,
            Runnable onClose)
            throws IOException {
        this.name = name;
        this.scheduler = scheduler;
        this.settings = settings;
        this.rules = rules;
        this.bucket = bucket;
        this.disk = disk;
        this.onClose = onClose;
        state = opening.state();
        journal = opening.journal();
        dirty = opening.dirty();
        checkpoints = opening.checkpoints();
        nonce = opening.nonce();
        log = new Log(bucket, keys, state, journal, dirty, scheduler, settings, window, rules);
        this.diskCache = diskCache;
        cache = new ReadCache(
                bucket, keys, scheduler, settings.patienceNanos(), settings.cacheBytes(), state.volume, diskCache);
        readAhead = new ReadAhead(scheduler, settings.cacheBytes());
        snapshots = new Snapshots(bucket, keys, rules, settings.patienceNanos());
        collector = new Collector(state, log, cache, scheduler, settings);
        geometry = new Geometry(
                blocks(state.size) * BLOCK,
                BLOCK,
                BLOCK,
                1 << 20,
                readOnly,
                true,
                Persistence.DURABLE,
                Set.of(
                        Capability.DISCARD,
                        Capability.WRITE_ZEROES,
                        Capability.FAST_ZEROES,
                        Capability.EXTENTS,
                        Capability.RESIZE));
        lastWrite = scheduler.nanos();
        // a record has to fit into a small journal beside others
        recordBytes = (int) Math.max(1, Math.min(Batch.RECORD_BLOCKS, journal.size() / 8 / BLOCK)) * BLOCK;
        log.start();
        scheduler.run("keeper", this::keep);
    }

    /** In whole blocks; {@link #size} is exact. */
    @Override
    public Geometry geometry() {
        return geometry;
    }

    private static long blocks(long bytes) {
        return (bytes + BLOCK - 1) / BLOCK;
    }

    @Override
    public long size() {
        scheduler.lock();
        long size = state.size;
        scheduler.unlock();
        return size;
    }

    @Override
    public boolean failed() {
        scheduler.lock();
        boolean failed = log.failed();
        scheduler.unlock();
        return failed;
    }

    // ---- writing

    @Override
    public void write(ByteBuffer from, long offset, boolean fua) throws IOException {
        long lba = offset / BLOCK;
        for (int limit = from.limit(); from.position() < limit; ) {
            int bytes = Math.min(limit - from.position(), recordBytes);
            from.limit(from.position() + bytes);
            append(lba, bytes / BLOCK, from);
            lba += bytes / BLOCK;
            from.limit(limit);
        }
        if (fua) flush();
    }

    @Override
    public void discard(long offset, long length) throws IOException {
        zero(offset / BLOCK, length / BLOCK);
    }

    @Override
    public void writeZeroes(long offset, long length, boolean mayUnmap, boolean fua) throws IOException {
        zero(offset / BLOCK, length / BLOCK);
        if (fua) flush();
    }

    /** Zeroes what is mapped in a range, a record for each stretch of pages. */
    private void zero(long lba, long blocks) throws IOException {
        long end = lba + blocks;
        while (lba < end) {
            scheduler.lock();
            long first;
            long last;
            try {
                check();
                first = Math.max(lba, nextMapped(lba) * ExtentMap.PAGE);
                last = first;
                while (last < end && last - first < MOST_ZEROES && nextMapped(last) == last / ExtentMap.PAGE)
                    last = Math.min(end, (last / ExtentMap.PAGE + 1) * ExtentMap.PAGE);
            } finally {
                scheduler.unlock();
            }
            if (first >= end) return;
            append(first, (int) (last - first), null);
            lba = last;
        }
    }

    /** The last slot that is applied. */
    long slot() {
        scheduler.lock();
        try {
            return state.slot;
        } finally {
            scheduler.unlock();
        }
    }

    private long nextMapped(long lba) {
        return Math.min(state.map.next(lba / ExtentMap.PAGE), dirty.next(lba / ExtentMap.PAGE));
    }

    /** Appends a record of data, or of zeroes where {@code data} is null. */
    private void append(long lba, int blocks, ByteBuffer data) throws IOException {
        long bytes = data == null ? 0 : (long) blocks * BLOCK;
        int crc = data == null ? 0 : Header.crcOf(data, data.position(), data.remaining());
        scheduler.lock();
        try {
            if (geometry.readOnly())
                throw new BlockException(Reason.READ_ONLY, "volume '" + name + "' is open for reading only");
            check();
            waitForRoom(bytes);
            long position;
            long time = scheduler.millis();
            try {
                position = journal.append(lba, blocks, data == null, data, crc, time);
            } catch (IOException e) {
                throw broken("writing", e);
            }
            if (data == null) dirty.set(lba, blocks, position, ExtentMap.ZEROES);
            else dirty.set(lba, blocks, position + Journal.RECORD, 0);
            lastWrite = scheduler.nanos();
            log.appended(position, time);
        } finally {
            scheduler.unlock();
        }
    }

    /**
     * Slows writers down from 70 % on, and stops them at 95 %, so that the journal never overflows; the same towards
     * the longest time that the bucket may lag behind.
     */
    private void waitForRoom(long bytes) throws BlockException {
        long most = journal.size() / 100 * 95;
        long lag = settings.maxLagMillis();
        double pressure = Math.max(
                pressure(journal.used(), journal.size() / 100 * 70, most),
                pressure(log.lagMillis(), lag / 10 * 7, lag));
        if (pressure > 0) {
            long until = scheduler.nanos() + (long) (Math.min(1, pressure) * LONGEST_PAUSE);
            while (scheduler.nanos() < until) {
                pause(until);
                check();
            }
        }
        while (journal.used() + Journal.RECORD + bytes > most || lag > 0 && log.lagMillis() > lag) {
            pause(Long.MAX_VALUE);
            check();
        }
    }

    /** 0 up to {@code low}, 1 at {@code high}; 0 if there is no {@code high}. */
    private static double pressure(long value, long low, long high) {
        return high == 0 || value <= low ? 0 : (double) (value - low) / (high - low);
    }

    /** Waits for a change, at most until a time; gives up when the process is about to end. */
    private void pause(long until) throws BlockException {
        long now = scheduler.nanos();
        if (now >= closeBy)
            throw new BlockException(
                    Reason.SHUTTING_DOWN,
                    "shutting down while volume '" + name + "' waits for its object store: " + bucket.trouble());
        scheduler.await(Math.max(1, Math.min(LONG, Math.min(until, closeBy) - now)));
    }

    private BlockException broken(String what, IOException e) {
        log.fail(new BlockException(Reason.IO, what + " the local journal of volume '" + name + "' failed: " + e, e));
        return new BlockException(Reason.IO, what + " the local journal of volume '" + name + "' failed: " + e, e);
    }

    private void check() throws BlockException {
        log.check();
        if (closing) throw new BlockException(Reason.SHUTTING_DOWN, "volume '" + name + "' is being closed");
    }

    @Override
    public void flush() throws IOException {
        scheduler.lock();
        try {
            check();
            if (settings.remoteDurable()) {
                long record = log.wantStored();
                while (!log.isStored(record)) {
                    pause(Long.MAX_VALUE);
                    check();
                }
            } else {
                sync(journal.head().position());
            }
            check();
        } finally {
            scheduler.unlock();
        }
    }

    /** Waits until the local disk has everything before a position; one sync serves all that wait when it begins. */
    private void sync(long position) throws BlockException {
        while (syncedPosition < position) {
            if (syncing) {
                scheduler.await(LONG);
                check();
                continue;
            }
            syncing = true;
            long until = journal.head().position();
            scheduler.unlock();
            IOException failure = null;
            try {
                if (rules.syncs()) journal.sync();
            } catch (IOException e) {
                failure = e;
            } finally {
                scheduler.lock();
            }
            syncing = false;
            scheduler.signal();
            if (failure != null) throw broken("syncing", failure);
            syncedPosition = Math.max(syncedPosition, until);
        }
    }

    // ---- reading

    /** A piece of a read: in the journal, or in a log object, which {@code stored} describes. */
    private record Piece(long lba, int blocks, boolean inJournal, long object, int at, State.Stored stored) {
        boolean inLog() {
            return !inJournal && at != ExtentMap.ZEROES;
        }

        ReadCache.Stretch stretch() {
            return new ReadCache.Stretch(object, stored, at, blocks);
        }
    }

    @Override
    public void read(ByteBuffer into, long offset) throws IOException {
        int start = into.position();
        int limit = into.limit();
        long lba = offset / BLOCK;
        int blocks = (limit - start) / BLOCK;
        long giveUp = scheduler.nanos() + settings.patienceNanos();
        readAhead.before(lba, blocks, geometry.size() / BLOCK, this::load);
        for (int n = 1; ; n++) {
            try {
                if (readOnce(into, start, lba, blocks)) break;
                // the journal's space was given back while it was read: the log has it by now
                if (n >= OVERTAKEN)
                    throw new Corruption("volume '" + name + "' looks for block " + lba + " where it is not");
            } catch (ObjectStore.Missing e) {
                // collected meanwhile: the map points elsewhere by now, unless the object is lost, or a new owner
                // deleted it
                if (n < LOOKUPS) continue;
                if (scheduler.nanos() > giveUp) throw new Corruption("volume '" + name + "': " + e.getMessage());
                log.lookAhead();
                scheduler.lock();
                try {
                    check();
                    pause(scheduler.nanos() + SOON);
                } finally {
                    scheduler.unlock();
                }
            }
        }
        into.limit(limit).position(limit);
    }

    private boolean readOnce(ByteBuffer into, int start, long lba, int blocks) throws IOException {
        List<Piece> pieces = pieces(lba, blocks);
        if (blocks > 1) cache.load(stretches(pieces));
        long next = lba;
        for (Piece piece : pieces) {
            zero(into, start, lba, next, piece.lba);
            next = piece.lba + piece.blocks;
            int at = start + (int) (piece.lba - lba) * BLOCK;
            into.limit(at + piece.blocks * BLOCK).position(at);
            if (piece.at == ExtentMap.ZEROES) zero(into, start, lba, piece.lba, next);
            else if (piece.inJournal) journal.read(into, piece.object + (long) piece.at * BLOCK);
            else if (piece.stored == null)
                throw new Corruption("volume '" + name + "': slot " + piece.object + " is not in the log");
            else cache.read(piece.stretch(), into);
        }
        zero(into, start, lba, next, lba + blocks);
        scheduler.lock();
        try {
            log.check();
            for (Piece piece : pieces) if (piece.inJournal && !journal.holds(piece.object)) return false;
        } finally {
            scheduler.unlock();
        }
        return true;
    }

    private static void zero(ByteBuffer into, int start, long lba, long from, long to) {
        into.limit(start + (int) (to - lba) * BLOCK).position(start + (int) (from - lba) * BLOCK);
        while (into.remaining() >= 8) into.putLong(0);
    }

    private List<Piece> pieces(long lba, int blocks) throws BlockException {
        List<Piece> pieces = new ArrayList<>();
        scheduler.lock();
        try {
            check();
            long[] next = {lba};
            dirty.visit(lba, blocks, (at, count, position, offset) -> {
                stored(next[0], at, pieces);
                pieces.add(new Piece(at, count, true, position, offset, null));
                next[0] = at + count;
            });
            stored(next[0], lba + blocks, pieces);
        } finally {
            scheduler.unlock();
        }
        return pieces;
    }

    private void stored(long from, long to, List<Piece> pieces) {
        if (from >= to) return;
        state.map.visit(
                from,
                to - from,
                (at, count, object, offset) ->
                        pieces.add(new Piece(at, count, false, object, offset, state.objects.get(object))));
    }

    private static List<ReadCache.Stretch> stretches(List<Piece> pieces) {
        List<ReadCache.Stretch> stretches = new ArrayList<>(pieces.size());
        for (Piece piece : pieces) if (piece.inLog() && piece.stored != null) stretches.add(piece.stretch());
        return stretches;
    }

    /** Reads a range into the cache. */
    private void load(long lba, int blocks) {
        try {
            cache.load(stretches(pieces(lba, blocks)));
        } catch (IOException e) {
            // whoever really reads it will be told
        }
    }

    @Override
    public void extents(long offset, long length, ExtentVisitor visitor) throws IOException {
        for (long at = offset; at < offset + length; ) {
            long piece = Math.min(offset + length - at, (long) ExtentMap.PAGE * BLOCK);
            List<long[]> data = new ArrayList<>();
            scheduler.lock();
            try {
                check();
                long next = nextMapped(at / BLOCK) * ExtentMap.PAGE * BLOCK;
                if (next > at) piece = Math.min(offset + length, next) - at;
                else data = dataIn(at / BLOCK, (int) (piece / BLOCK));
            } finally {
                scheduler.unlock();
            }
            long done = at;
            for (long[] extent : data) {
                if (extent[0] * BLOCK > done && !hole(visitor, done, extent[0] * BLOCK)) return;
                if (!visitor.extent(extent[0] * BLOCK, extent[1] * BLOCK, ExtentVisitor.DATA)) return;
                done = (extent[0] + extent[1]) * BLOCK;
            }
            if (done < at + piece && !hole(visitor, done, at + piece)) return;
            at += piece;
        }
    }

    private static boolean hole(ExtentVisitor visitor, long from, long to) {
        return visitor.extent(from, to - from, ExtentVisitor.HOLE + ExtentVisitor.ZERO);
    }

    /** The stretches of data in a range, ascending and apart. */
    private List<long[]> dataIn(long lba, int blocks) throws BlockException {
        List<long[]> data = new ArrayList<>();
        for (Piece piece : pieces(lba, blocks)) {
            if (piece.at == ExtentMap.ZEROES) continue;
            long[] last = data.isEmpty() ? null : data.get(data.size() - 1);
            if (last != null && last[0] + last[1] == piece.lba) last[1] += piece.blocks;
            else data.add(new long[] {piece.lba, piece.blocks});
        }
        return data;
    }

    @Override
    public void resize(long size) throws IOException {
        resize(size, BLOCK);
    }

    @Override
    public void resize(long size, int blockSize) throws IOException {
        if (size <= 0 || size % blockSize != 0 || blocks(size) > State.MOST_BLOCKS)
            throw new BlockException(
                    Reason.INVALID, "size " + size + ": must be a multiple of " + blockSize + ", at most 64T");
        if (size < state.size) zero(blocks(size), blocks(state.size) - blocks(size));
        scheduler.lock();
        try {
            if (geometry.readOnly())
                throw new BlockException(Reason.READ_ONLY, "volume '" + name + "' is open for reading only");
            check();
            // after the zeroes of what is cut off, so that no later growth brings it back
            long record = log.wantStored();
            while (!log.isStored(record)) {
                pause(Long.MAX_VALUE);
                check();
            }
            log.await(log.enqueue(Header.Type.RESIZE, size));
            geometry = geometry.withSize(blocks(size) * BLOCK);
        } finally {
            scheduler.unlock();
        }
    }

    // ---- snapshots

    /**
     * Makes a snapshot of what was written before the call, and perhaps of some of what is written meanwhile: one
     * moment in the order of writing. Returns when its record is in the log.
     */
    void snapshot(String snapshot) throws IOException {
        Set<Long> deleted = snapshots.deleted();
        boolean mine = false;
        scheduler.lock();
        try {
            check();
            // one at a time, or two could get the same name
            while (snapshotting) {
                pause(Long.MAX_VALUE);
                check();
            }
            snapshotting = mine = true;
            long record = log.wantStored();
            while (!log.isStored(record)) {
                pause(Long.MAX_VALUE);
                check();
            }
            for (Snapshot each : state.snapshots.values())
                if (each.name.equals(snapshot) && !deleted.contains(each.slot))
                    throw new BlockException(
                            Reason.EXISTS,
                            "volume '" + name + "' has a snapshot '" + snapshot
                                    + "' already: choose another name, or delete it");
            log.await(log.enqueue(Header.Type.SNAPSHOT, 0, snapshot));
            scheduler.signal(); // the keeper writes it down
        } finally {
            if (mine) {
                snapshotting = false;
                scheduler.signal();
            }
            scheduler.unlock();
        }
    }

    /** Waits until a snapshot is written down, if there is one of that name. */
    void awaitSnapshot(String snapshot) throws BlockException {
        scheduler.lock();
        try {
            long until = scheduler.nanos() + settings.patienceNanos();
            while (isUnwritten(snapshot) && scheduler.nanos() < until) {
                check();
                pause(until);
            }
        } finally {
            scheduler.unlock();
        }
    }

    private boolean isUnwritten(String snapshot) {
        for (Snapshot each : state.snapshots.values())
            if (each.name.equals(snapshot) && each.parts == null) return true;
        return false;
    }

    /** Looks soon for snapshots that are deleted. */
    void lookForDeletions() {
        scheduler.lock();
        deletionsWanted = true;
        scheduler.signal();
        scheduler.unlock();
    }

    private void writeSnapshots() throws IOException {
        while (true) {
            scheduler.lock();
            Snapshot next = state.unwritten();
            boolean stop = log.failed() || bucket.ending();
            scheduler.unlock();
            if (next == null || stop) return;
            checkpoints.write(next, scheduler);
        }
    }

    /** Forgets the snapshots that are deleted and that nobody uses. */
    private void forgetSnapshots() throws IOException {
        List<Long> known = new ArrayList<>();
        scheduler.lock();
        deletionsWanted = false;
        for (Snapshot each : state.snapshots.values()) if (each.parts != null) known.add(each.slot);
        scheduler.unlock();
        if (known.isEmpty()) return;
        known.retainAll(snapshots.deleted());
        for (long slot : known) {
            if (snapshots.isUsed(slot)) continue;
            scheduler.lock();
            try {
                if (closing) return;
                log.await(log.enqueue(Header.Type.FORGET, slot));
            } finally {
                scheduler.unlock();
            }
        }
    }

    // ---- in the background, and the end

    /** Makes checkpoints, looks for takeovers, collects space. */
    private void keep() {
        long look = scheduler.nanos();
        boolean collecting = false;
        while (true) {
            scheduler.lock();
            boolean due;
            boolean deletions;
            try {
                if (!closing && !collecting) scheduler.await(settings.tickNanos());
                if (closing || log.failed()) break;
                boolean idle = scheduler.nanos() - lastWrite > settings.idleNanos();
                due = Checkpoints.due(state, settings.checkpointObjects(), idle);
                deletions = deletionsWanted;
            } finally {
                scheduler.unlock();
            }
            collecting = false;
            try {
                if (rules.writesSnapshotsFirst()) writeSnapshots();
                if (due) checkpoints.write(state, nonce, scheduler);
                writeSnapshots();
                if (rules.looksAhead() && scheduler.nanos() - look > settings.lookNanos()) {
                    log.lookAhead();
                    look = scheduler.nanos();
                    deletions = true;
                }
                if (deletions) forgetSnapshots();
                collecting = collector.step();
            } catch (IOException | RuntimeException e) {
                System.getLogger(S3Volume.class.getName())
                        .log(System.Logger.Level.WARNING, "volume " + name + ": housekeeping is put off: " + e);
            }
        }
        try {
            writeSnapshots();
        } catch (IOException | RuntimeException e) {
            // whoever opens the volume next does it: its log says that there is one
            System.getLogger(S3Volume.class.getName())
                    .log(System.Logger.Level.DEBUG, "volume " + name + ": a snapshot is not written yet", e);
        }
    }

    @Override
    public void closeSoon() {
        scheduler.lock();
        closeBy = Math.min(closeBy, scheduler.nanos() + SOON);
        bucket.end();
        scheduler.signal();
        scheduler.unlock();
    }

    @Override
    public Map<String, Object> handOver() throws IOException {
        end(false, false);
        return Map.of();
    }

    @Override
    public void close() throws IOException {
        end(true, false);
    }

    /** Closes the volume after it has been marked as deleted for ever. */
    void closeDeleted() throws IOException {
        end(true, true);
    }

    private void end(boolean drain, boolean delete) throws IOException {
        boolean complete = false;
        scheduler.lock();
        try {
            if (closed) return;
            closed = true;
            closing = true;
            scheduler.signal();
            closeBy = Math.min(closeBy, scheduler.nanos() + settings.closeNanos());
            if (drain) complete = release(delete);
            // so that others can use them while nobody has the volume open
            while (complete && !delete && state.unwritten() != null && !log.failed() && scheduler.nanos() < closeBy)
                scheduler.await(Math.max(1, closeBy - scheduler.nanos()));
            log.stop();
            bucket.end();
        } finally {
            scheduler.unlock();
        }
        scheduler.join(SOON);
        if (diskCache != null) diskCache.close();
        try {
            if (complete && delete && diskCache != null) diskCache.delete();
            if (complete && delete) disk.delete();
            else if (complete) journal.persist();
        } finally {
            journal.close();
            onClose.run();
        }
        if (delete && !complete)
            throw new BlockException(Reason.IO, "volume '" + name + "' can't be deleted now: " + bucket.trouble());
    }

    /** Puts everything, then the record that lets anybody open the volume; returns whether there was time for it. */
    private boolean release(boolean delete) {
        log.wantStored();
        log.drain();
        while (!log.idle()) {
            if (log.failed() || scheduler.nanos() >= closeBy) return false;
            scheduler.await(Math.max(1, closeBy - scheduler.nanos()));
        }
        Header last = log.enqueue(delete ? Header.Type.DELETE : Header.Type.RELEASE, 0);
        while (last.slot == 0 || last.slot > state.slot) {
            if (log.failed() || scheduler.nanos() >= closeBy) return false;
            scheduler.await(Math.max(1, closeBy - scheduler.nanos()));
        }
        return true;
    }

    private static String lag(long bytes, long millis) {
        return Size.format(bytes) + (millis == 0 ? "" : String.format(Locale.ROOT, ", %.1f s", millis / 1e3));
    }

    @Override
    public Map<String, String> details() {
        Map<String, String> details = new LinkedHashMap<>();
        scheduler.lock();
        try {
            String failure = "";
            try {
                log.check();
            } catch (BlockException e) {
                failure = e.getMessage();
            }
            details.put("id", state.volume.toString());
            details.put("store", failure.isEmpty() ? bucket.state() : failure);
            details.put("flush", settings.remoteDurable() ? "remote-durable" : "local-durable");
            details.put("not yet in bucket", lag(log.unprotected(), log.lagMillis()));
            details.put("at most", lag(journal.size(), settings.maxLagMillis()));
            details.put(
                    "journal",
                    Size.format(journal.used()) + " of " + Size.format(journal.size()) + " ("
                            + 100 * journal.used() / journal.size() + " %)");
            details.put("owner", state.host + " since " + Instant.ofEpochMilli(state.time) + ", epoch " + state.epoch);
            details.put("log", "slot " + state.slot + ", " + state.objects.size() + " objects");
            details.put(
                    "data",
                    Size.format(state.liveBlocks * BLOCK) + " live of " + Size.format(state.storedBlocks * BLOCK)
                            + " stored, " + Size.format(state.deadBlocks * BLOCK) + " of it dead");
            if (!state.snapshots.isEmpty()) details.put("snapshots", String.valueOf(state.snapshots.size()));
            details.put("read cache", cache.describe());
            if (diskCache != null) details.put("read cache on disk", diskCache.describe());
        } finally {
            scheduler.unlock();
        }
        return details;
    }
}
