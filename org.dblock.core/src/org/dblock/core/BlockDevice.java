package org.dblock.core;

import java.io.IOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.dblock.api.BlockException;
import org.dblock.api.Geometry;
import org.dblock.api.Reason;
import org.dblock.api.device.Client;
import org.dblock.api.device.Connection;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceSpec;
import org.dblock.api.device.DeviceStats;
import org.dblock.api.device.DeviceStats.Op;
import org.dblock.api.device.Export;

/**
 * A device: what clients and requests see. Its {@link VolumeControl} opens, swaps and closes the volume behind it.
 *
 * <p>A request reads {@link #current} and enters that volume's gate; no lock. Only where the gate is closed it waits at
 * {@link #door}, whose monitor also guards every change of state and is held for moments only, never during a backend's
 * call.
 */
final class BlockDevice implements Device {
    private static final Logger LOG = System.getLogger(BlockDevice.class.getPackageName());

    /** State and explanation, which change together. */
    private record Status(State state, String explanation) {}

    /** Why the device ends, for requests that wait. */
    private record Ending(Reason reason, String why) {}

    final Stats stats = new Stats(this);
    final Workers workers;
    final ControlThread thread;
    final VolumeControl control;

    private final DeviceRegistry registry;
    private final UUID id;
    private final Object door = new Object();
    private final ConcurrentLinkedQueue<VolumeConnection> connections = new ConcurrentLinkedQueue<>();
    private final AtomicLong nextFailureLog = new AtomicLong(System.nanoTime());
    private final AtomicLong unloggedFailures = new AtomicLong();

    private volatile DeviceSpec spec;
    private volatile OpenVolume current;
    private volatile Status status = new Status(State.STARTING, "is about to open its volume");
    private volatile Ending ending;
    private volatile Geometry geometry;
    private volatile int epoch;
    /**
     * The PID of its configuration if that is gone or changed, and it is served on as it is until its last client
     * leaves.
     */
    private volatile String outdated;
    /** The size that its volume may have got without anybody knowing; 0: none. */
    private volatile long resizing;

    private Future<?> parkTimeout;

    BlockDevice(DeviceRegistry registry, DeviceSpec spec, UUID id) {
        this.registry = registry;
        this.spec = spec;
        this.id = id;
        workers = new Workers(spec.name(), spec.queueDepth());
        thread = new ControlThread(spec.name());
        control = new VolumeControl(registry, this);
    }

    // ---- requests

    /**
     * Enters the gate of the current volume, and waits for one where there is none.
     *
     * @return the volume; the caller leaves its gate on the same thread
     */
    OpenVolume enter(int knownEpoch) throws BlockException {
        while (true) {
            OpenVolume open = current;
            if (open != null && open.gate.enter()) {
                if (open.epoch == knownEpoch) return open;
                open.gate.leave();
                throw new BlockException(
                        Reason.IO, "device " + name() + " has lost the contents that this connection knew");
            }
            awaitOpenGate(knownEpoch);
        }
    }

    private void awaitOpenGate(int knownEpoch) throws BlockException {
        boolean interrupted = false;
        synchronized (door) {
            while (current == null || current.gate.closed()) {
                Ending end = ending;
                if (end != null) throw new BlockException(end.reason, "device " + name() + ": " + end.why);
                if (status.state == State.FAILED || knownEpoch != epoch)
                    throw new BlockException(Reason.IO, "device " + name() + " has failed: " + status.explanation);
                try {
                    door.wait();
                } catch (InterruptedException e) {
                    interrupted = true; // the requests of a thread end by answers, not by interrupts
                }
            }
        }
        if (interrupted) Thread.currentThread().interrupt();
    }

    /** Says in one exception, and in the log at most once a second, that the volume failed a request. */
    BlockException failed(Op op, long offset, long length, Throwable failure) {
        BlockException error = asBlockException(failure);
        long now = System.nanoTime();
        long due = nextFailureLog.get();
        if (now - due >= 0 && nextFailureLog.compareAndSet(due, now + TimeUnit.SECONDS.toNanos(1))) {
            long more = unloggedFailures.getAndSet(0);
            String text = "device " + name() + ": " + op
                    + (op == Op.FLUSH ? "" : " of " + VolumeConnection.range(offset, length)) + " failed: "
                    + error.getMessage() + (more == 0 ? "" : " (and " + more + " failures before)");
            // what is no IOException is a mistake in the backend: its author wants to see where
            if (failure instanceof IOException) LOG.log(Level.ERROR, text);
            else LOG.log(Level.ERROR, text, failure);
        } else {
            unloggedFailures.incrementAndGet();
        }
        return error;
    }

    /** Makes of any failure one of ours that refers to none of a backend's classes. */
    static BlockException asBlockException(Throwable failure) {
        if (failure.getClass() == BlockException.class && failure.getCause() == null) return (BlockException) failure;
        String message = failure.getMessage();
        boolean told = failure instanceof IOException && message != null;
        return new BlockException(BlockException.reasonOf(failure), told ? message : failure.toString());
    }

    OpenVolume current() {
        return current;
    }

    boolean mayBlock() {
        Geometry shape = geometry;
        return shape == null || shape.mayBlock();
    }

    // ---- state, as the control changes it

    /** Closes the gate of the current volume, if there is one: requests wait, unless the device has failed already. */
    void park(String why) {
        synchronized (door) {
            if (current != null) current.gate.close();
            set(status.state == State.FAILED ? State.FAILED : State.PARKED, why);
        }
    }

    /** Closes the gate for good: the device is ending. */
    void shut() {
        synchronized (door) {
            if (current != null) current.gate.close();
            door.notifyAll();
        }
    }

    /** Opens the gate of a volume, which becomes the current one. */
    void serve(OpenVolume open, String remark) {
        synchronized (door) {
            current = open;
            geometry = open.geometry;
            open.gate.open();
            set(State.ONLINE, remark);
        }
    }

    /** The current volume is no more. Its gate is closed. */
    void vacate() {
        synchronized (door) {
            current = null;
        }
    }

    /** Requests fail from now on. The gate is closed. */
    void fail(String why) {
        synchronized (door) {
            if (current != null) current.gate.close();
            set(State.FAILED, why);
        }
    }

    /** Says something new about an unchanged state. */
    void explain(String why) {
        synchronized (door) {
            if (!status.explanation.equals(why)) set(status.state, why);
        }
    }

    /** What the device held is lost: those who knew it are told, and never served again. */
    void contentsLost(String why) {
        synchronized (door) {
            epoch++;
            door.notifyAll();
        }
        for (VolumeConnection each : connections) if (each.epoch != epoch) tellGone(each, why);
    }

    /** Requests that wait fail from now on, and nobody is let in any more; those inside go on. */
    void ending(Reason reason, String why) {
        synchronized (door) {
            ending = new Ending(reason, why);
            door.notifyAll();
        }
    }

    boolean isEnding() {
        return ending != null;
    }

    /** The removal was refused after all. */
    void goOn() {
        synchronized (door) {
            ending = null;
        }
    }

    void removed(String why) {
        synchronized (door) {
            if (status.state != State.REMOVED) set(State.REMOVED, why);
        }
    }

    void tellGone(String why) {
        for (VolumeConnection each : connections) tellGone(each, why);
    }

    private static void tellGone(VolumeConnection connection, String why) {
        try {
            connection.client.gone(why);
        } catch (RuntimeException e) {
            LOG.log(Level.WARNING, "a client failed to hear that its device is gone: " + e);
        }
    }

    /** The volume has another size. */
    void resized(OpenVolume open, Geometry shape) {
        open.geometry = shape;
        geometry = shape;
        for (VolumeConnection each : connections) {
            try {
                each.client.resized(shape.size());
            } catch (RuntimeException e) {
                LOG.log(Level.WARNING, "device " + name() + ": a client failed to hear of its new size: " + e);
            }
        }
    }

    /** Holds {@link #door}. */
    private void set(State state, String why) {
        Status before = status;
        status = new Status(state, why);
        door.notifyAll();
        if (state != State.PARKED && parkTimeout != null) {
            parkTimeout.cancel(false);
            parkTimeout = null;
        }
        int seconds = spec.parkSeconds();
        if (state == State.PARKED && parkTimeout == null && seconds > 0)
            parkTimeout = registry.clock.schedule(() -> parkedTooLong(seconds), seconds, TimeUnit.SECONDS);
        boolean bad = state == State.FAILED || state == State.STARTING;
        LOG.log(
                bad ? Level.WARNING : Level.INFO,
                "device " + name() + " is " + state.name().toLowerCase(Locale.ROOT)
                        + (why.isEmpty() ? "" : ": " + why));
        if (state != before.state) registry.changed(this, state);
    }

    private void parkedTooLong(int seconds) {
        synchronized (door) {
            if (status.state == State.PARKED)
                set(State.FAILED, "parked for more than " + seconds + " s: " + status.explanation);
        }
    }

    int epoch() {
        return epoch;
    }

    /** The last shape known; null before the first open. */
    Geometry lastGeometry() {
        return geometry;
    }

    void spec(DeviceSpec changed) {
        spec = changed;
        workers.depth(changed.queueDepth());
    }

    /** The size that its volume is about to get, stored beforehand; 0: that is over. */
    void resizing(long size) {
        resizing = size;
    }

    long resizing() {
        return resizing;
    }

    /** Its configuration is gone or changed, but not applied yet; null: all is well. */
    void outdated(String pid) {
        outdated = pid;
    }

    /** The PID of the configuration that waits to be applied; null: none does. */
    String outdated() {
        return outdated;
    }

    // ---- clients

    @Override
    public Connection connect(Client client) throws BlockException {
        synchronized (door) {
            Ending end = ending;
            if (end != null) throw new BlockException(end.reason, "device " + name() + ": " + end.why);
            if (geometry == null || status.state == State.FAILED)
                throw new BlockException(
                        Reason.IO,
                        "device " + name() + " is " + (geometry == null ? "not open yet: " : "failed: ")
                                + status.explanation);
            VolumeConnection connection = new VolumeConnection(this, client, epoch);
            connections.add(connection);
            return connection;
        }
    }

    void disconnect(VolumeConnection connection) {
        connections.remove(connection);
        String pid = outdated;
        if (pid != null && clients().isEmpty()) registry.configurations().replace(this, pid);
    }

    @Override
    public List<String> clients() {
        return connections.stream()
                .map(each -> each.client.describe())
                .filter(text -> !text.isEmpty())
                .sorted()
                .toList();
    }

    /** Refuses new clients from here on, unless somebody is connected. */
    void claimForRemoval(boolean force) throws BlockException {
        synchronized (door) {
            List<String> clients = clients();
            if (!force && !clients.isEmpty())
                throw new BlockException(
                        Reason.IN_USE,
                        "device " + name() + " is in use by " + String.join(", ", clients)
                                + ": disconnect them first, or use force");
            if (ending != null) {
                // its requests fail with an I/O error; who wants to remove it comes too late
                Reason reason = ending.reason == Reason.IO ? Reason.NOT_FOUND : ending.reason;
                throw new BlockException(reason, "device " + name() + ": " + ending.why);
            }
            ending = new Ending(Reason.IO, "is being removed");
            door.notifyAll();
        }
    }

    // ---- what people see

    @Override
    public String name() {
        return spec.name();
    }

    @Override
    public UUID id() {
        return id;
    }

    @Override
    public State state() {
        return status.state;
    }

    @Override
    public String explanation() {
        return status.explanation;
    }

    @Override
    public DeviceSpec spec() {
        return spec;
    }

    @Override
    public Geometry geometry() throws BlockException {
        Geometry shape = geometry;
        if (shape == null)
            throw new BlockException(Reason.NOT_FOUND, "device " + name() + " is not open yet: " + explanation());
        return shape;
    }

    @Override
    public Map<String, String> details() {
        OpenVolume open = current;
        if (open == null || !open.gate.enter()) return Map.of();
        try {
            return open.volume.details();
        } catch (RuntimeException e) {
            return Map.of("details", "failed: " + e);
        } finally {
            open.gate.leave();
        }
    }

    @Override
    public DeviceStats stats() {
        return stats;
    }

    @Override
    public List<Export> exports() {
        return control.exports.list();
    }

    @Override
    public void park() throws BlockException {
        ControlThread.await(thread.submit(control::park));
    }

    @Override
    public void resume() throws BlockException {
        ControlThread.await(thread.submit(control::resume));
    }

    @Override
    public String toString() {
        return name() + " (" + status.state + ")";
    }
}
