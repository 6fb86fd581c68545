package org.dblock.api.device;

import org.osgi.annotation.versioning.ConsumerType;

/** A device as one front end serves it. */
@ConsumerType
public interface Export extends AutoCloseable {
    /** Why an export ends, which decides what its clients see. */
    enum End {
        /** The device is removed, or no longer served: clients are cut off and nothing stays behind. */
        REMOVED,
        /** The gateway stops and will come back: what can outlive it stays (kernel devices park). */
        STOPPING
    }

    /** The front end's name. */
    String frontEnd();

    /** What a person types to reach it: a URI, a path. */
    String address();

    /** One line of state that a person should know; empty: all is well. */
    default String explanation() {
        return "";
    }

    /** Ends it: finishes the requests under way, waits for them, then lets the clients go. Called once. */
    void close(End end);

    /** The same as {@code close(End.REMOVED)}. */
    @Override
    default void close() {
        close(End.REMOVED);
    }
}
