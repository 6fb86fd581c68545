package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/**
 * The owner's end of the log: turns the journal into objects, gives them slots, keeps a window of puts under way, and
 * applies them to the state in the order of their slots. Guarded by the volume's lock.
 */
final class Log {
    private static final System.Logger LOG = System.getLogger(Log.class.getName());
    private static final int MOST_FLUSHES = 4;
    private static final long LONG = 3_600_000_000_000L;

    /** An object between its slot's assignment and its application. */
    private static final class Put {
        final Header header;
        final ByteBuffer body;
        final Journal.Mark end;
        final boolean flush;
        /** When the oldest record in it was written, in milliseconds since 1970; 0: it has none. */
        final long oldest;

        boolean stored;

        Put(Header header, ByteBuffer body, Journal.Mark end, boolean flush, long oldest) {
            this.header = header;
            this.body = body;
            this.end = end;
            this.flush = flush;
            this.oldest = oldest;
        }
    }

    /** An object that is not made of the journal, and waits for a slot. */
    private record Queued(Header header, ByteBuffer payload) {}

    private final Bucket bucket;
    private final Keys keys;
    private final State state;
    private final Journal journal;
    private final ExtentMap dirty;
    private final Scheduler scheduler;
    private final Settings settings;
    private final Rules rules;
    private final int window;
    private final Batch batch;

    private final Deque<Put> puts = new ArrayDeque<>();
    private final Deque<Queued> waiting = new ArrayDeque<>();
    private long nextSlot;
    private int lastCrc;
    /** Up to where the journal has been turned into objects. */
    private Journal.Mark sealed;

    private long sealedRecord;
    private long unsealedSince;
    /** When the first record was written that is in no object yet, in milliseconds since 1970. */
    private long unsealedTime;

    private long flushWanted;
    private long newestStored;
    private boolean trimming;
    private boolean draining;
    private boolean stopped;
    private BlockException failure;

    Log(
            Bucket bucket,
            Keys keys,
            State state,
            Journal journal,
            ExtentMap dirty,
            Scheduler scheduler,
            Settings settings,
            int window,
            Rules rules)
            throws IOException {
        this.bucket = bucket;
        this.keys = keys;
        this.state = state;
        this.journal = journal;
        this.dirty = dirty;
        this.scheduler = scheduler;
        this.settings = settings;
        this.window = window;
        this.rules = rules;
        nextSlot = state.slot + 1;
        lastCrc = state.crc;
        sealed = journal.tail();
        sealedRecord = state.lastRecord;
        unsealedSince = scheduler.nanos();
        // an object is as large as the window's share of a quarter of the journal allows
        int blocks = (int) Math.min(settings.objectBlocks(), Math.max(1, journal.size() / 4 / window / Header.BLOCK));
        batch = new Batch(journal, blocks);
        if (unsealed()) unsealedTime = batch.timeOf(sealed);
    }

    /** Whether the journal has records that are in no object yet. */
    private boolean unsealed() {
        return sealed.position() < journal.head().position();
    }

    /** Starts to put what is in the journal. */
    void start() {
        scheduler.run("log", this::sequence);
    }

    /** Takes no more copies from the collector: what closes the log has to be its last object. */
    void drain() {
        draining = true;
    }

    /** Stops after what is under way; nobody is told of it as a failure. */
    void stop() {
        stopped = true;
        scheduler.signal();
    }

    /** Says that a record has been appended at a position of the journal, and when. */
    void appended(long position, long time) {
        if (position == sealed.position()) {
            unsealedTime = time;
            unsealedSince = scheduler.nanos();
            scheduler.signal();
        } else if (full()) {
            scheduler.signal();
        }
    }

    private boolean full() {
        return journal.head().position() - sealed.position() >= batch.enough();
    }

    /** Throws if this gateway must not go on. */
    void check() throws BlockException {
        if (failure != null) throw new BlockException(failure.reason(), failure.getMessage());
    }

    /** Fails everything from now on; the first reason stays. */
    void fail(BlockException reason) {
        if (failure == null) {
            failure = reason;
            LOG.log(System.Logger.Level.ERROR, reason.getMessage());
        }
        scheduler.signal();
    }

    boolean failed() {
        return failure != null;
    }

    /** Whether all that was written is in the log. */
    boolean idle() {
        return puts.isEmpty() && waiting.isEmpty() && !unsealed();
    }

    /** The bytes of the journal that the bucket doesn't have yet. */
    long unprotected() {
        return journal.head().position() - journal.tail().position();
    }

    /** How long ago the oldest record was written that the bucket doesn't have yet, in milliseconds; 0: it has all. */
    long lagMillis() {
        long oldest = unsealed() ? unsealedTime : 0;
        for (Put put : puts) {
            if (put.oldest == 0) continue;
            oldest = put.oldest;
            break;
        }
        return oldest == 0 ? 0 : Math.max(0, scheduler.millis() - oldest);
    }

    /** Whether less important objects may take a place in the window now. */
    boolean hasRoom() {
        return puts.size() + waiting.size() < Math.max(1, window * 3 / 4);
    }

    int window() {
        return window;
    }

    /** Asks for a remote flush of all records up to now; returns what {@link #isStored} takes. */
    long wantStored() {
        flushWanted = Math.max(flushWanted, journal.nextNumber() - 1);
        scheduler.signal();
        return journal.nextNumber() - 1;
    }

    /** Whether a record and all before it are in the log. */
    boolean isStored(long record) {
        return rules.stored(state.lastRecord, newestStored) >= record;
    }

    /** Queues an object that is not made of the journal; returns its header, which gets its slot later. */
    Header enqueue(Header.Type type, long argument) {
        return enqueue(type, argument, "");
    }

    /** The same with a name. */
    Header enqueue(Header.Type type, long argument, String name) {
        Header header = new Header();
        header.type = type;
        header.name = name;
        header.argument = argument;
        return enqueue(header, ByteBuffer.allocate(0));
    }

    private Header enqueue(Header header, ByteBuffer payload) {
        waiting.add(new Queued(header, payload));
        scheduler.signal();
        return header;
    }

    /** Queues an object of copied extents. */
    void append(Header header, ByteBuffer payload) throws BlockException {
        if (draining) throw closing();
        enqueue(header, payload);
    }

    /** Waits, with the lock, until an object that was queued is applied. */
    void await(Header header) throws BlockException {
        while (header.slot == 0 || header.slot > state.slot) {
            check();
            if (stopped || bucket.ending()) throw closing();
            scheduler.await(LONG);
        }
    }

    private static BlockException closing() {
        return new BlockException(Reason.SHUTTING_DOWN, "the volume is being closed");
    }

    private void sequence() {
        scheduler.lock();
        try {
            while (!stopped && failure == null) {
                if (puts.size() >= window) {
                    scheduler.await(LONG);
                } else if (!waiting.isEmpty()) {
                    Queued queued = waiting.poll();
                    queued.header.lastRecord = sealedRecord;
                    assign(queued.header, sealed, false, 0, body -> body.put(queued.payload));
                } else if (!unsealed()) {
                    scheduler.await(LONG);
                } else {
                    long left = unsealedSince + settings.sealNanos() - scheduler.nanos();
                    boolean flush = flushWanted > sealedRecord && flushes() < MOST_FLUSHES;
                    if (flush || full() || left <= 0) seal(flush);
                    else scheduler.await(left);
                }
            }
        } catch (IOException e) {
            fail(new BlockException(Reason.IO, "the local journal of volume " + state.volume + " failed: " + e, e));
        } catch (RuntimeException | Error e) {
            fail(new BlockException(Reason.IO, "the log of volume " + state.volume + " failed: " + e, e));
            throw e;
        } finally {
            scheduler.unlock();
        }
    }

    /** Writes an object's payload at a buffer's position. */
    private interface Filler {
        void fill(ByteBuffer body) throws IOException;
    }

    private int flushes() {
        int count = 0;
        for (Put put : puts) if (put.flush && !put.stored) count++;
        return count;
    }

    private void seal(boolean flush) throws IOException {
        Journal.Mark from = sealed;
        Journal.Mark to = journal.head();
        scheduler.unlock();
        try {
            batch.gather(from, to);
        } finally {
            scheduler.lock();
        }
        if (stopped) return;
        sealed = batch.end();
        if (unsealed()) unsealedTime = batch.timeOf(sealed);
        unsealedSince = scheduler.nanos();
        sealedRecord = batch.header().lastRecord;
        assign(batch.header(), sealed, flush, batch.time(), batch::fill);
    }

    /** Gives an object the next slot and begins to put it. Only the sequencer's thread calls it. */
    private void assign(Header header, Journal.Mark end, boolean flush, long oldest, Filler payload)
            throws IOException {
        header.volume = state.volume;
        header.slot = nextSlot++;
        header.epoch = state.epoch;
        header.nonce = state.nonce;
        header.previousCrc = lastCrc;
        header.host = settings.host();
        header.time = scheduler.millis();
        scheduler.unlock();
        ByteBuffer body;
        try {
            body = ByteBuffer.allocate(Math.toIntExact(header.objectBytes()));
            int payloadAt = header.headerBlocks() * Header.BLOCK;
            body.position(payloadAt);
            payload.fill(body);
            checksums(header, body, payloadAt);
            body.position(0);
            header.encode(body);
            body.rewind();
        } finally {
            scheduler.lock();
        }
        if (stopped) return; // it stays in the journal
        lastCrc = header.crc;
        Put put = new Put(header, body, end, flush, oldest);
        puts.add(put);
        scheduler.run("put", () -> upload(put));
    }

    private static void checksums(Header header, ByteBuffer body, int payloadAt) {
        for (int i = 0; i < header.payloadCrc.length; i++)
            header.payloadCrc[i] = Header.crcOf(body, payloadAt + i * Header.BLOCK, Header.BLOCK);
    }

    private void upload(Put put) {
        try {
            String key = keys.log(put.header.slot);
            boolean own = bucket.putIfAbsent(key, put.body, Bucket.EVER) || isOwn(put.header, key);
            scheduler.lock();
            try {
                if (!own || failure != null) return;
                put.stored = true;
                newestStored = Math.max(newestStored, put.header.lastRecord);
                advance();
                scheduler.signal();
                while (!trimming && journal.wantsHeader(journal.used() > journal.size() / 2)) trim();
            } finally {
                scheduler.unlock();
            }
        } catch (IOException e) {
            scheduler.lock();
            // at the end of the process it just stays in the journal
            boolean ending = BlockException.reasonOf(e) == Reason.SHUTTING_DOWN;
            if (!stopped && !ending)
                fail(new BlockException(
                        BlockException.reasonOf(e), "volume " + state.volume + ": " + e.getMessage(), e));
            scheduler.unlock();
        } catch (RuntimeException | Error e) {
            // or its slot would wait for ever, and all behind it
            scheduler.lock();
            fail(new BlockException(Reason.IO, "the log of volume " + state.volume + " failed: " + e, e));
            scheduler.unlock();
            throw e;
        }
    }

    /** Whether the object in a slot is what we tried to put; if not, this gateway has been taken over. */
    private boolean isOwn(Header mine, String key) throws IOException {
        Header found = null;
        String who = "another gateway";
        try {
            found = Fence.readHeader(bucket, key, Bucket.EVER);
            who = found.host + " at " + Instant.ofEpochMilli(found.time);
        } catch (ObjectStore.Missing | Corruption e) {
            who = "another gateway (" + e.getMessage() + ")";
        }
        if (found != null && rules.isOwn(mine, found)) return true;
        scheduler.lock();
        fail(fenced(who));
        scheduler.unlock();
        return false;
    }

    private BlockException fenced(String who) {
        return new BlockException(
                Reason.FENCED,
                "volume " + state.volume + " was taken over by " + who
                        + "; what this gateway had not put is kept in its journal");
    }

    /**
     * Looks whether somebody took the volume over: an owner that puts nothing would not notice. Call without the lock.
     */
    void lookAhead() throws IOException {
        scheduler.lock();
        long slot = state.slot + 1;
        scheduler.unlock();
        try {
            Header found = Fence.readHeader(bucket, keys.log(slot), settings.patienceNanos());
            scheduler.lock();
            boolean other = found.nonce != state.nonce;
            if (other) fail(fenced(found.host + " at " + Instant.ofEpochMilli(found.time)));
            scheduler.unlock();
        } catch (ObjectStore.Missing e) {
            // nobody did, unless all of the log is gone
            if (Format.find(bucket, keys, settings.patienceNanos()) != null) return;
            scheduler.lock();
            fail(new BlockException(Reason.FENCED, "volume " + state.volume + " was deleted by another gateway"));
            scheduler.unlock();
        }
    }

    private void advance() {
        if (rules.appliesEarly()) {
            puts.removeIf(put -> {
                if (put.stored) apply(put);
                return put.stored;
            });
            return;
        }
        while (!puts.isEmpty() && puts.peek().stored) apply(puts.poll());
    }

    private void apply(Put put) {
        state.apply(put.header);
        Header header = put.header;
        if (header.type != Header.Type.DATA) return;
        long end = put.end.position();
        for (int i = 0; i < header.extents; i++) forget(header.lba[i], header.blocks[i], end);
        if (end > journal.tail().position()) journal.free(put.end);
    }

    /** Removes from the journal's index what lies before a position. */
    private void forget(long lba, long blocks, long end) {
        List<long[]> old = new ArrayList<>();
        dirty.visit(lba, blocks, (at, count, position, offset) -> {
            if (position < end) old.add(new long[] {at, count});
        });
        for (long[] piece : old) dirty.clear(piece[0], piece[1], (at, count, position, offset) -> {});
    }

    /** Gives the journal's space back. */
    private void trim() throws IOException {
        if (!rules.headerBeforeReuse()) {
            journal.headerSynced(journal.tail());
            return;
        }
        trimming = true;
        Journal.Mark written = journal.writeHeader();
        scheduler.unlock();
        try {
            journal.sync();
        } finally {
            scheduler.lock();
            trimming = false;
        }
        journal.headerSynced(written);
        scheduler.signal();
    }
}
