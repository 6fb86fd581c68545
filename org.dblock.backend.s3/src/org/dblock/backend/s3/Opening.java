package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Instant;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/**
 * Opens a volume: takes it, finds out whether this host's journal belongs to it, and what the journal has beyond the
 * log.
 */
final class Opening implements Fence.Admission {
    private static final System.Logger LOG = System.getLogger(Opening.class.getName());

    private final String name;
    private final Format format;
    private final Bucket bucket;
    private final Keys keys;
    private final long size;
    private final Disk disk;
    private final Settings settings;
    private final Rules rules;
    private final boolean takeover;
    private final Scheduler scheduler;
    /** 0: not chosen yet. */
    private long nonce;

    private final Checkpoints checkpoints;
    private final Fence fence;
    private final ExtentMap dirty = new ExtentMap(State.MOST_BLOCKS);
    private Journal journal;
    private boolean fresh;
    private State state;

    /** @param size what the volume's size must be in bytes; 0: anything */
    Opening(
            String name,
            Format format,
            long size,
            Bucket bucket,
            Keys keys,
            Disk disk,
            Scheduler scheduler,
            Settings settings,
            Rules rules,
            boolean takeover) {
        this.name = name;
        this.format = format;
        this.bucket = bucket;
        this.keys = keys;
        this.size = size;
        this.disk = disk;
        this.settings = settings;
        this.rules = rules;
        this.takeover = takeover;
        this.scheduler = scheduler;
        checkpoints = new Checkpoints(bucket, keys, format.volume(), rules, settings.patienceNanos());
        fence = new Fence(bucket, keys, format, checkpoints, scheduler, settings, rules);
    }

    void run() throws IOException {
        journal = Journal.open(disk, format.volume());
        state = fence.take(this);
        if (Format.isGone(bucket, keys, settings.patienceNanos())) {
            // with the next deletion goes what was put now, and by others who came late
            bucket.putIfAbsent(keys.grave(), ByteBuffer.allocate(0), settings.patienceNanos());
            throw deleted();
        }
        journal.restartAfter(rules.lastRecord(journal.nextNumber() - 1, state.lastRecord));
        journal.epoch(rules.recordEpoch(state.epoch));
        index();
        journal.persist();
    }

    @Override
    public long admit(State found) throws IOException {
        if (found.deleted) throw deleted();
        if (size != 0 && size != found.size)
            throw new BlockException(
                    Reason.INVALID,
                    "volume '" + name + "' has " + found.size + " bytes, not " + size
                            + ": ask for that size, or for none");
        boolean ours = journal != null && rules.isOurs(journal, found);
        if (!ours && !found.released && !takeover)
            throw new BlockException(
                    Reason.IN_USE,
                    "volume '" + name + "' is held by " + found.host + " since " + Instant.ofEpochMilli(found.time)
                            + ": stop that gateway, or take the volume over with the option takeover=true");
        if (ours) {
            if (nonce == 0) nonce = journal.join(found.nonce, scheduler.random());
        } else if (fresh) {
            journal.restartAfter(found.lastRecord);
        } else {
            boolean keep = journal == null ? disk.size() > 0 : !journal.isEmpty();
            if (keep)
                LOG.log(
                        System.Logger.Level.WARNING,
                        "the journal of volume ''{0}'' on this host is older than what {1} wrote since: it is put"
                                + " aside",
                        name,
                        found.host);
            nonce = scheduler.random();
            journal = Journal.create(disk, format.volume(), settings.journalBytes(), found.lastRecord, nonce, keep);
            fresh = true;
        }
        return nonce;
    }

    private BlockException deleted() {
        return new BlockException(Reason.NOT_FOUND, "volume '" + name + "' has been deleted");
    }

    /** Fills the journal's index with what the log lacks. */
    private void index() throws IOException {
        ByteBuffer scratch = ByteBuffer.allocateDirect(Journal.RECORD);
        Journal.Mark at = journal.tail();
        while (at.position() < journal.head().position()) {
            Journal.Record record = journal.record(at.position(), scratch);
            if (record == null) throw new Corruption("the journal of volume '" + name + "' changed while it was read");
            at = new Journal.Mark(record.end(), record.number + 1, record.crc);
            if (record.number <= state.lastRecord) journal.free(at);
            else if (record.zeroes) dirty.set(record.lba, record.blocks, record.position, ExtentMap.ZEROES);
            else dirty.set(record.lba, record.blocks, record.dataPosition(), 0);
        }
    }

    State state() {
        return state;
    }

    Journal journal() {
        return journal;
    }

    ExtentMap dirty() {
        return dirty;
    }

    Checkpoints checkpoints() {
        return checkpoints;
    }

    long nonce() {
        return nonce;
    }
}
