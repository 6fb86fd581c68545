package org.dblock.backend.s3;

import java.util.Set;

/** A snapshot of a volume, as the volume's state knows it. Guarded by the volume's lock. */
final class Snapshot {
    /** The slot of its record: it shows what the log says up to there. */
    final long slot;

    final String name;
    /** Of the volume then, in bytes. */
    final long size;
    /** Milliseconds since 1970. */
    final long time;
    /** The keys of the parts with its pages; null: its root is not written yet. */
    Set<String> parts;
    /** What is to be written; null: it is. */
    Image image;

    Snapshot(long slot, String name, long size, long time) {
        this.slot = slot;
        this.name = name;
        this.size = size;
        this.time = time;
    }
}
