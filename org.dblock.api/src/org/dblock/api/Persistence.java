package org.dblock.api;

/** What a volume's contents outlive. */
public enum Persistence {
    /** Contents end with the process: devices on it come back empty, and never to a client that knew the old ones. */
    VOLATILE,
    /** Both crash levels of {@link BlockVolume} hold. */
    DURABLE
}
