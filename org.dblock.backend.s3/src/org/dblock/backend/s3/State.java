package org.dblock.backend.s3;

import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.UUID;

/** A volume exactly as the log has it up to one slot. Guarded by the volume's lock once the volume is open. */
final class State {
    /** The largest volume, in blocks: 64 TiB. */
    static final long MOST_BLOCKS = 1L << 34;

    /** An object of the log that holds data or may be deleted. */
    static final class Stored {
        final int headerBlocks;
        final int payloadBlocks;
        final int crc;
        /** Blocks of the payload to which the map points. */
        int live;
        /** The slot at which that became 0. */
        long died;

        Stored(int headerBlocks, int payloadBlocks, int crc, int live) {
            this.headerBlocks = headerBlocks;
            this.payloadBlocks = payloadBlocks;
            this.crc = crc;
            this.live = live;
        }

        private Stored inherited() {
            return new Stored(headerBlocks, payloadBlocks, crc, live);
        }
    }

    final UUID volume;
    final ExtentMap map = new ExtentMap(MOST_BLOCKS);
    final TreeMap<Long, Stored> objects = new TreeMap<>();
    /** By the slots of their records. */
    final TreeMap<Long, Snapshot> snapshots = new TreeMap<>();
    /** The last slot applied, or the last that a takeover made void; 0: none yet. */
    long slot;
    /** The CRC of the last header applied. */
    int crc;

    long lastRecord;
    /** In bytes. */
    long size;

    long epoch;
    long nonce;
    String host = "";
    long time;
    boolean released = true;
    boolean deleted;
    /** How many objects were applied, and their bytes, since the last checkpoint. */
    int applied;

    long appliedBytes;
    /** Of the payloads in the volume's own log. */
    long liveBlocks;

    long storedBlocks;
    /** Of what is stored, in objects of which nothing is live. */
    long deadBlocks;
    /** Of these, what died since the last checkpoint and no snapshot shows. */
    long diedBlocks;

    private final Rules rules;

    State(UUID volume, long size, Rules rules) {
        this.volume = volume;
        this.size = size;
        this.rules = rules;
    }

    /** Applies the object of the next slot. */
    void apply(Header header) {
        slot = header.slot;
        crc = header.crc;
        lastRecord = Math.max(lastRecord, header.lastRecord);
        released = false;
        applied++;
        appliedBytes += header.objectBytes();
        if (header.type != Header.Type.TAKEOVER || !rules.keepsTakeovers())
            add(header.slot, new Stored(header.headerBlocks(), header.payloadCrc.length, header.crc, 0));
        switch (header.type) {
            case DATA -> written(header);
            case COLLECTED -> moved(header);
            case TAKEOVER -> {
                epoch = header.epoch;
                nonce = header.nonce;
                host = header.host;
                time = header.time;
                slot = header.argument - 1;
            }
            case RELEASE -> released = true;
            case RESIZE -> size = header.argument;
            case DELETE -> deleted = true;
            case SNAPSHOT -> {
                Snapshot snapshot = new Snapshot(slot, header.name, size, header.time);
                snapshot.image = Image.of(this, header.time);
                snapshots.put(slot, snapshot);
            }
            case FORGET -> {
                Snapshot snapshot = snapshots.remove(header.argument);
                if (snapshot != null && snapshot.image != null) snapshot.image.release();
            }
        }
    }

    private void written(Header header) {
        for (int i = 0; i < header.extents; i++) {
            if (header.at[i] == ExtentMap.ZEROES) map.clear(header.lba[i], header.blocks[i], this::displaced);
            else point(header.lba[i], header.blocks[i], header.slot, header.at[i]);
        }
    }

    private void moved(Header header) {
        List<int[]> pieces = new ArrayList<>();
        for (int i = 0; i < header.extents; i++) {
            long first = header.lba[i];
            long source = header.sourceSlot[i];
            int from = header.sourceAt[i];
            map.visit(first, header.blocks[i], (lba, blocks, object, at) -> {
                int skip = (int) (lba - first);
                if (rules.stillThere(object, at, source, from + skip)) pieces.add(new int[] {skip, blocks});
            });
            for (int[] piece : pieces) point(first + piece[0], piece[1], header.slot, header.at[i] + piece[0]);
            pieces.clear();
        }
    }

    private void point(long lba, int blocks, long object, int at) {
        map.set(lba, blocks, object, at, this::displaced);
        Stored stored = objects.get(object);
        if (stored.live == 0) deadBlocks -= stored.payloadBlocks;
        stored.live += blocks;
        liveBlocks += blocks; // what is new is the volume's own
    }

    private void displaced(long lba, int blocks, long object, int at) {
        Stored stored = objects.get(object);
        if (stored != null) {
            stored.live -= blocks;
            if (stored.live == 0) died(object, stored);
        }
        if (Keys.isOwn(object)) liveBlocks -= blocks;
    }

    private void died(long object, Stored stored) {
        stored.died = slot;
        if (!Keys.isOwn(object)) return;
        deadBlocks += stored.payloadBlocks;
        if (!isShown(object, stored)) diedBlocks += stored.payloadBlocks;
    }

    /** Takes an object up; also one in a void slot, which nothing will ever point to. */
    void add(long at, Stored stored) {
        objects.put(at, stored);
        if (stored.live == 0 && stored.died == 0) stored.died = at;
        if (!Keys.isOwn(at)) return;
        storedBlocks += stored.payloadBlocks;
        liveBlocks += stored.live;
        if (stored.live == 0) deadBlocks += stored.payloadBlocks;
    }

    /**
     * Whether a snapshot shows data of an object. Data die once: what was live at some slot was so from its own slot to
     * the one at which it died.
     */
    boolean isShown(long at, Stored stored) {
        Long first = snapshots.ceilingKey(at);
        return first != null && (stored.live > 0 || first < stored.died) && rules.keepsWhatSnapshotsShow();
    }

    /** The first snapshot whose root is not written; null: all are. */
    Snapshot unwritten() {
        for (Snapshot each : snapshots.values()) if (each.parts == null) return each;
        return null;
    }

    /** What a clone begins with that is made of this state; this one is not to be used any more. */
    State inherited(UUID clone) {
        State child = new State(clone, size, rules);
        for (long n = map.next(0); n < map.limit(); n = map.next(n + 1)) {
            ExtentPage page = map.page(n);
            page.inherit();
            page.part = null; // that is the parent's
            child.map.put(n, page);
        }
        objects.forEach((at, stored) -> {
            if (stored.live > 0) child.add(at + (1L << Keys.GENERATION), stored.inherited());
        });
        return child;
    }

    /** Forgets objects that were deleted. */
    void forget(List<Long> slots) {
        for (long gone : slots) {
            Stored stored = objects.remove(gone);
            if (stored == null || !Keys.isOwn(gone)) continue;
            storedBlocks -= stored.payloadBlocks;
            deadBlocks -= stored.payloadBlocks;
        }
    }
}
