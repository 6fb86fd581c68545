package org.dblock.tck;

/** The two crash levels of {@link org.dblock.api.BlockVolume}. */
public enum Crash {
    /** The process is killed; the host lives on. */
    GATEWAY,
    /** The host loses its power. */
    HOST
}
