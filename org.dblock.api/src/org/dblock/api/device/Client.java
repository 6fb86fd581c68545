package org.dblock.api.device;

import org.osgi.annotation.versioning.ConsumerType;

/** Who has a device open: implemented by front ends. Its methods return at once. */
@ConsumerType
public interface Client {
    /** The client for people: {@code nbd client 3 on /run/dblock/nbd.sock}. */
    String describe();

    /**
     * Whether somebody works with the device through this client, so that it can't be removed without force. A front
     * end that keeps a connection for itself, as a kernel device does, says whether anybody has that open.
     */
    default boolean inUse() {
        return true;
    }

    /** The device has another size now. */
    default void resized(long size) {}

    /**
     * The device is no more, or what it held is lost: every further request of this connection fails. The client closes
     * its connection.
     */
    default void gone(String why) {}
}
