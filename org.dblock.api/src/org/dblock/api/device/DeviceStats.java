package org.dblock.api.device;

import org.osgi.annotation.versioning.ProviderType;

/** The counters of a device, read without stopping it: each number is exact at some moment, not all at the same one. */
@ProviderType
public interface DeviceStats {
    /** The kinds of request. */
    enum Op {
        READ,
        WRITE,
        FLUSH,
        DISCARD,
        WRITE_ZEROES,
        EXTENTS
    }

    /** How many requests were finished, failed ones included. */
    long count(Op op);

    /** How many bytes they asked for; 0 for a flush. */
    long bytes(Op op);

    /** How many failed. */
    long errors(Op op);

    /**
     * A quantile of the time inside the volume, waiting at the gate not included, in nanoseconds; at most 13 % off; 0:
     * none yet.
     *
     * @param quantile 0 to 1
     */
    long latency(Op op, double quantile);

    /** How many writes had to be durable at once (FUA). */
    long fua();

    /** How many requests are inside the volume now. */
    int inFlight();

    /** How often the volume was replaced by that of another store or of an updated one. */
    long swaps();

    /** How long the gate was closed for the last swap, in nanoseconds; 0: none yet. */
    long lastSwapNanos();
}
