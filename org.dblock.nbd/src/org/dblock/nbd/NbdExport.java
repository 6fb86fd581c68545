package org.dblock.nbd;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.dblock.api.Geometry;
import org.dblock.api.device.Device;
import org.dblock.api.device.Export;

/** A device as the NBD server serves it. Thread-safe. */
final class NbdExport implements Export {
    /** How long the requests under way are waited for at the end. */
    private static final long DRAIN_NANOS = TimeUnit.SECONDS.toNanos(3);

    private final NbdServer server;
    private final Device device;
    private final boolean readOnly;
    private final Set<Session> sessions = ConcurrentHashMap.newKeySet();
    private boolean closed;

    NbdExport(NbdServer server, Device device, boolean readOnly) {
        this.server = server;
        this.device = device;
        this.readOnly = readOnly;
    }

    Device device() {
        return device;
    }

    /** Whether clients may not write. */
    boolean readOnly(Geometry geometry) {
        return readOnly || geometry.readOnly();
    }

    /** A client begins its transmission phase; false when the export has ended. */
    synchronized boolean enter(Session session) {
        return !closed && sessions.add(session);
    }

    /** A client has gone. */
    void leave(Session session) {
        sessions.remove(session);
    }

    /** The volume was swapped. */
    void poke() {
        sessions.forEach(Session::poke);
    }

    @Override
    public String frontEnd() {
        return NbdServer.NAME;
    }

    @Override
    public String address() {
        return server.address(device.name());
    }

    @Override
    public void close(End end) {
        synchronized (this) {
            if (closed) return;
            closed = true;
        }
        server.remove(this);
        NbdServer.drain(sessions, DRAIN_NANOS);
    }
}
