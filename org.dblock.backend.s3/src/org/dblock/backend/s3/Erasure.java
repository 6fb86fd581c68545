package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.List;
import java.util.UUID;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/** What precedes the erasure of a volume that is too damaged to be taken over, as its deletion would. */
final class Erasure {
    /** What is assumed where the format can't be read. */
    private static final int WINDOW = 64;

    private final String name;
    private final Bucket bucket;
    private final Scheduler scheduler;
    private final Settings settings;
    private final Rules rules;
    /** Whether the format is not the one that is damaged. */
    private final boolean readable;

    private final Format format;
    private final Keys keys;

    Erasure(String name, UUID volume, String prefix, Bucket bucket, Scheduler scheduler, Settings settings, Rules rules)
            throws IOException {
        this.name = name;
        this.bucket = bucket;
        this.scheduler = scheduler;
        this.settings = settings;
        this.rules = rules;
        Format found = null;
        try {
            found = Format.find(bucket, new Keys(prefix, volume), settings.patienceNanos());
        } catch (Corruption e) {
            // that's what it is about
        }
        readable = found != null;
        format = readable ? found : new Format(volume, 0, WINDOW);
        keys = format.keys(prefix);
    }

    /** Refuses the erasure of what somebody has or needs, as far as that can be read. */
    void refuseIfUsed(boolean takeover) throws IOException {
        Snapshots snapshots = new Snapshots(bucket, keys, rules, settings.patienceNanos());
        // without its format the volume can't be left to its clones; and no reader could let go of it
        List<String> users = readable ? snapshots.readers() : snapshots.clones();
        if (!users.isEmpty())
            throw new BlockException(
                    Reason.IN_USE,
                    "snapshots of volume '" + name + "' are used by " + String.join(", ", users) + ": "
                            + (readable ? "detach them, or delete them by force" : "delete these first"));
        Checkpoints checkpoints = new Checkpoints(bucket, keys, format.volume(), rules, settings.patienceNanos());
        Fence.Partial found = new Fence(bucket, keys, format, checkpoints, scheduler, settings, rules).readable();
        if (found != null && !found.state().released && !takeover)
            throw new BlockException(
                    Reason.IN_USE,
                    "volume '" + name + "' is held by " + found.state().host + " since "
                            + Instant.ofEpochMilli(found.state().time)
                            + ": stop that gateway, or erase the volume with the option takeover=true too");
    }

    /** Lays takeovers into the way of an owner, wherever its next put may be. */
    void stopOwner() throws IOException {
        long last = 0;
        for (ObjectStore.Item item : bucket.listAll(keys.logs(), settings.patienceNanos()))
            last = Keys.slot(item.key());
        // the last may be a takeover itself, which says that the log goes on further up
        long end = rules.resumeAt(last, format.window()) + format.window();
        for (long slot = last + 1; slot <= end; slot++) {
            Header header = new Header();
            header.type = Header.Type.TAKEOVER;
            header.volume = format.volume();
            header.slot = slot;
            header.argument = slot + 1;
            header.epoch = Long.MAX_VALUE;
            header.time = scheduler.millis();
            header.host = settings.host();
            ByteBuffer body = ByteBuffer.allocate(Header.BLOCK);
            header.encode(body);
            bucket.putIfAbsent(keys.log(slot), body.flip(), settings.patienceNanos());
        }
    }
}
