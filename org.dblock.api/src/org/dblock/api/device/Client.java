package org.dblock.api.device;

import org.osgi.annotation.versioning.ConsumerType;

/** Who has a device open: implemented by front ends. Its methods return at once. */
@ConsumerType
public interface Client {
    /**
     * The client for people, beginning with the front end's name: {@code nbd client 3 on /run/dblock/nbd.sock}. Empty
     * while it is there but nobody uses the device through it, as through a kernel device that isn't open: then the
     * device is not in use.
     */
    String describe();

    /** The device has another size now. */
    default void resized(long size) {}

    /**
     * The device is no more, or what it held is lost: every further request of this connection fails. The client closes
     * its connection.
     */
    default void gone(String why) {}
}
