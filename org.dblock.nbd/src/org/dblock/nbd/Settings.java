package org.dblock.nbd;

import org.osgi.service.metatype.annotations.AttributeDefinition;
import org.osgi.service.metatype.annotations.ObjectClassDefinition;

/** What an operator sets for the NBD server: configuration {@code org.dblock.nbd}. */
@ObjectClassDefinition(
        name = "NBD server",
        description = "Serves devices to NBD clients, all on the same sockets; the export's name is the device's.")
@interface Settings {
    /** The configuration's PID. */
    String PID = "org.dblock.nbd";

    @AttributeDefinition(
            description =
                    "path of the Unix socket; empty: sockets/nbd.sock in the gateway's folder; none: no Unix socket")
    String socket() default "";

    @AttributeDefinition(
            description = "TCP address to listen on, as PORT (on 127.0.0.1), HOST:PORT or [IPV6]:PORT; empty: no TCP")
    String listen() default "";

    @AttributeDefinition(
            description =
                    "whether listen may be another address than loopback: NBD knows no passwords, so whoever reaches"
                            + " the port reads and writes every export")
    boolean allowRemote() default false;

    @AttributeDefinition(min = "1", description = "how many clients may be connected at a time")
    int maxConnections() default 128;

    @AttributeDefinition(min = "1", description = "seconds until a client must have finished its handshake")
    int handshakeSeconds() default 10;

    @AttributeDefinition(min = "1", description = "seconds until a client that takes none of its replies is cut off")
    int stallSeconds() default 30;

    @AttributeDefinition(
            min = "0",
            max = "1000",
            description =
                    "microseconds that a connection with traffic looks for its next request before it sleeps; 0: none."
                            + " It shortens the answer to a client that waits for each, and costs that much of a"
                            + " processor")
    int spinMicros() default 200;
}
