package org.dblock.backend.s3;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/** Makes clones: a pin that keeps the snapshot, and then a format that names it; nothing is copied. */
final class Cloning {
    private Cloning() {}

    /** What a new clone of a snapshot will be. */
    static Format format(UUID volume, Format parent, Snapshots.Entry snapshot, long size, int window)
            throws BlockException {
        List<UUID> ancestors = new ArrayList<>();
        ancestors.add(parent.volume());
        ancestors.addAll(parent.ancestors());
        if (ancestors.size() > Format.MOST_ANCESTORS)
            throw new BlockException(
                    Reason.INVALID,
                    "a clone of '" + snapshot.name() + "' would have " + ancestors.size() + " ancestors: at most "
                            + Format.MOST_ANCESTORS + ", so copy the data instead");
        return new Format(volume, size, window, snapshot.slot(), snapshot.name(), List.copyOf(ancestors));
    }

    /** Lets a clone come to be; it has no name yet. */
    static void begin(
            Bucket bucket,
            String prefix,
            Snapshots snapshots,
            Snapshots.Entry snapshot,
            Format format,
            String who,
            long now,
            long patience)
            throws IOException {
        String pin = format.volume().toString();
        snapshots.pin(snapshot, pin, who, now);
        if (format.create(bucket, format.keys(prefix), patience)) return;
        snapshots.unpin(snapshot.slot(), pin);
        throw new BlockException(Reason.NOT_FOUND, "snapshot '" + snapshot.name() + "' was deleted meanwhile");
    }
}
