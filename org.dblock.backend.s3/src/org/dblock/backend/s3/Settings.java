package org.dblock.backend.s3;

/**
 * What a volume is run with.
 *
 * @param host the name that a takeover leaves behind
 * @param objectBlocks the payload at which an object of the log is closed, in blocks of 4096 bytes
 * @param window how many puts are under way at most when the volume is created; later the format object says it
 * @param sealNanos how long a write waits at most before its object is put
 * @param maxLagMillis how old what the bucket doesn't have yet may become before writes wait; 0: as old as it gets
 * @param checkpointObjects after how many objects of the log a checkpoint is due
 * @param idleNanos after how long without writes a checkpoint is made
 * @param tickNanos how often housekeeping looks whether there is something to do
 * @param lookNanos how often an idle owner looks for a takeover
 * @param patienceNanos how long reads, and opening, wait for the store
 * @param closeNanos how long closing waits until everything is in the bucket
 * @param journalBytes the size of a new journal
 * @param cacheBytes the size of the read cache
 * @param remoteDurable whether a flush waits for the bucket instead of the local disk
 * @param collectBelow the share of live data below which space is collected, in percent; 0: never
 * @param collectBytesPerSecond what collecting reads per second at most
 */
record Settings(
        String host,
        int objectBlocks,
        int window,
        long sealNanos,
        long maxLagMillis,
        int checkpointObjects,
        long idleNanos,
        long tickNanos,
        long lookNanos,
        long patienceNanos,
        long closeNanos,
        long journalBytes,
        long cacheBytes,
        boolean remoteDurable,
        int collectBelow,
        long collectBytesPerSecond) {}
