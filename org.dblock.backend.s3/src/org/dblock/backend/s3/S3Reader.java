package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.dblock.api.BlockException;
import org.dblock.api.Capability;
import org.dblock.api.ExtentVisitor;
import org.dblock.api.Geometry;
import org.dblock.api.Persistence;
import org.dblock.api.Reason;
import org.dblock.api.Size;
import org.dblock.api.VolumeSpec;

/**
 * A volume as its log was when it was opened, or a snapshot of one, for reading only. It neither owns the volume nor
 * disturbs who does, and never moves on: what the owner has collected since fails with EIO, which a snapshot that is
 * pinned never does.
 */
final class S3Reader implements WholeBlocks {
    private static final int BLOCK = Header.BLOCK;

    private final String name;
    private final State state;
    private final Scheduler scheduler;
    private final Bucket bucket;
    private final ReadCache cache;
    private final ReadAhead readAhead;
    private final Geometry geometry;
    private final End onClose;
    private boolean closed;

    /** What there is to do at the end. */
    interface End {
        /**
         * Returns what the successor gets.
         *
         * @param forNow whether a successor goes on with it
         */
        Map<String, Object> run(boolean forNow) throws IOException;
    }

    /** Reads a volume's state as it is now. */
    S3Reader(
            VolumeSpec spec,
            Format format,
            Bucket bucket,
            Keys keys,
            Scheduler scheduler,
            Settings settings,
            End onClose)
            throws IOException {
        this(
                "volume '" + spec.volume() + "'",
                now(spec, format, bucket, keys, scheduler, settings),
                bucket,
                keys,
                scheduler,
                settings,
                onClose);
    }

    /** @param name what it is called in messages */
    S3Reader(String name, State state, Bucket bucket, Keys keys, Scheduler scheduler, Settings settings, End onClose) {
        this.name = name;
        this.state = state;
        this.scheduler = scheduler;
        this.bucket = bucket;
        this.onClose = onClose;
        cache = new ReadCache(
                bucket, keys, scheduler, settings.patienceNanos(), settings.cacheBytes(), state.volume, null);
        readAhead = new ReadAhead(scheduler, settings.cacheBytes());
        geometry = new Geometry(
                (state.size + BLOCK - 1) / BLOCK * BLOCK,
                BLOCK,
                BLOCK,
                1 << 20,
                true,
                true,
                Persistence.DURABLE,
                Set.of(Capability.EXTENTS));
    }

    private static State now(
            VolumeSpec spec, Format format, Bucket bucket, Keys keys, Scheduler scheduler, Settings settings)
            throws IOException {
        Rules rules = new Rules();
        Checkpoints checkpoints = new Checkpoints(bucket, keys, format.volume(), rules, settings.patienceNanos());
        State state = new Fence(bucket, keys, format, checkpoints, scheduler, settings, rules)
                .read()
                .state();
        if (state.deleted || Format.isGone(bucket, keys, settings.patienceNanos()))
            throw new BlockException(Reason.NOT_FOUND, "volume '" + spec.volume() + "' has been deleted");
        if (spec.size() != 0 && spec.size() != state.size)
            throw new BlockException(
                    Reason.INVALID,
                    "volume '" + spec.volume() + "' has " + state.size + " bytes, not " + spec.size()
                            + ": ask for that size, or for none");
        return state;
    }

    @Override
    public Geometry geometry() {
        return geometry;
    }

    @Override
    public long size() {
        return state.size;
    }

    @Override
    public boolean failed() {
        return false;
    }

    @Override
    public void resize(long size, int blockSize) throws IOException {
        throw readOnly();
    }

    /** The slot up to which it has the log. */
    long slot() {
        return state.slot;
    }

    private record Piece(long lba, int blocks, long object, int at) {}

    private List<Piece> pieces(long lba, long blocks) {
        List<Piece> pieces = new ArrayList<>();
        state.map.visit(lba, blocks, (first, count, object, at) -> pieces.add(new Piece(first, count, object, at)));
        return pieces;
    }

    @Override
    public void read(ByteBuffer into, long offset) throws IOException {
        int start = into.position();
        int limit = into.limit();
        long lba = offset / BLOCK;
        int blocks = (limit - start) / BLOCK;
        readAhead.before(lba, blocks, geometry.size() / BLOCK, this::load);
        while (into.remaining() >= 8) into.putLong(0);
        try {
            if (blocks > 1) cache.load(stretches(lba, blocks));
        } catch (ObjectStore.Missing e) {
            // is told below, with the slot
        }
        for (Piece piece : pieces(lba, blocks)) {
            State.Stored stored = state.objects.get(piece.object);
            if (stored == null) throw new Corruption(name + ": slot " + piece.object + " is not in the log");
            int at = start + (int) (piece.lba - lba) * BLOCK;
            into.limit(at + piece.blocks * BLOCK).position(at);
            try {
                cache.read(new ReadCache.Stretch(piece.object, stored, piece.at, piece.blocks), into);
            } catch (ObjectStore.Missing e) {
                throw new BlockException(
                        Reason.IO,
                        name + " is open for reading only, as it was at slot " + state.slot
                                + ", and what it held in slot " + piece.object
                                + " has been collected since, or is lost: open it again",
                        e);
            }
        }
        into.limit(limit).position(limit);
    }

    private List<ReadCache.Stretch> stretches(long lba, int blocks) {
        List<ReadCache.Stretch> stretches = new ArrayList<>();
        for (Piece piece : pieces(lba, blocks)) {
            State.Stored stored = state.objects.get(piece.object);
            if (stored != null) stretches.add(new ReadCache.Stretch(piece.object, stored, piece.at, piece.blocks));
        }
        return stretches;
    }

    /** Reads a range into the cache. */
    private void load(long lba, int blocks) {
        try {
            cache.load(stretches(lba, blocks));
        } catch (IOException e) {
            // whoever really reads it will be told
        }
    }

    @Override
    public void extents(long offset, long length, ExtentVisitor visitor) throws IOException {
        long done = offset;
        for (long at = offset; at < offset + length; ) {
            // no more at a time than a page, however large the range
            long page = (long) ExtentMap.PAGE * BLOCK;
            long next = Math.min(offset + length, Math.max(at / page + 1, state.map.next(at / page)) * page);
            for (Piece piece : pieces(at / BLOCK, (next - at) / BLOCK)) {
                if (piece.lba * BLOCK > done && !hole(visitor, done, piece.lba * BLOCK)) return;
                if (!visitor.extent(piece.lba * BLOCK, (long) piece.blocks * BLOCK, ExtentVisitor.DATA)) return;
                done = (piece.lba + piece.blocks) * BLOCK;
            }
            at = next;
        }
        if (done < offset + length) hole(visitor, done, offset + length);
    }

    private static boolean hole(ExtentVisitor visitor, long from, long to) {
        return visitor.extent(from, to - from, ExtentVisitor.HOLE + ExtentVisitor.ZERO);
    }

    private BlockException readOnly() {
        return new BlockException(Reason.READ_ONLY, name + " is open for reading only");
    }

    @Override
    public void write(ByteBuffer from, long offset, boolean fua) throws IOException {
        throw readOnly();
    }

    @Override
    public void discard(long offset, long length) throws IOException {
        throw readOnly();
    }

    @Override
    public void writeZeroes(long offset, long length, boolean mayUnmap, boolean fua) throws IOException {
        throw readOnly();
    }

    @Override
    public void flush() {
        // nothing was written
    }

    @Override
    public void closeSoon() {
        scheduler.lock();
        bucket.end();
        scheduler.unlock();
    }

    @Override
    public Map<String, Object> handOver() throws IOException {
        return end(true);
    }

    @Override
    public void close() throws IOException {
        end(false);
    }

    private Map<String, Object> end(boolean forNow) throws IOException {
        if (closed) return Map.of();
        closed = true;
        return onClose.run(forNow);
    }

    @Override
    public Map<String, String> details() {
        Map<String, String> details = new LinkedHashMap<>();
        scheduler.lock();
        try {
            details.put("id", state.volume.toString());
            details.put("store", bucket.state());
            details.put("as of", "slot " + state.slot + " of the log, for reading only");
            details.put("owner then", state.host + " since " + Instant.ofEpochMilli(state.time));
            details.put("data", Size.format(state.liveBlocks * BLOCK) + " live");
            details.put("read cache", cache.describe());
        } finally {
            scheduler.unlock();
        }
        return details;
    }
}
