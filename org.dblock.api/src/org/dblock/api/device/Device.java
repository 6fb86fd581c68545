package org.dblock.api.device;

import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.dblock.api.BlockException;
import org.dblock.api.Geometry;
import org.osgi.annotation.versioning.ProviderType;

/**
 * A block device of this gateway: a name, a volume that is reached through a gate, and the front ends that serve it.
 *
 * <p>Whatever can disappear (a backend, its bundle, the volume) is behind the gate; a device stays the same object from
 * its creation to its removal. Thread-safe.
 */
@ProviderType
public interface Device {
    /** Where a device stands. */
    enum State {
        /** Its volume is being opened for the first time. */
        STARTING,
        /** Requests are served. */
        ONLINE,
        /** Requests wait: the backend is away, is being swapped, or somebody parked the device. */
        PARKED,
        /** Requests fail with EIO; the volume is opened again when its store is back and its contents are not lost. */
        FAILED,
        /** The device is no more; every request fails. */
        REMOVED
    }

    /** Its name, unique in this gateway. */
    String name();

    /** Its identity: stays with the configuration, so a restarted gateway recognises what it served. */
    UUID id();

    /** Where it stands. */
    State state();

    /** Why it stands there: one line for people; empty where there is nothing to say. */
    String explanation();

    /** What it is made of, as stored. */
    DeviceSpec spec();

    /**
     * The shape of its volume; while the volume is away, the last one known.
     *
     * @throws BlockException while nothing has been opened yet
     */
    Geometry geometry() throws BlockException;

    /** What the volume says of itself; empty while there is none. */
    Map<String, String> details();

    /** Counters and latencies since the device was made. */
    DeviceStats stats();

    /** What serves it now. */
    List<Export> exports();

    /** Who has it open now, one line each. */
    List<String> clients();

    /**
     * Opens the device for a client. It counts as in use until the connection is closed.
     *
     * @param client is told what the client has to know
     * @throws BlockException when the device is not there for clients: not yet opened, failed or removed
     */
    Connection connect(Client client) throws BlockException;

    /**
     * Closes the gate: requests wait until {@link #resume()}, at most the device's park timeout. Those inside are
     * waited for, and the volume is flushed. Nothing happens where the device is parked already.
     */
    void park() throws BlockException;

    /** Opens the gate that {@link #park()} closed; a failed device tries to open its volume again. */
    void resume() throws BlockException;
}
