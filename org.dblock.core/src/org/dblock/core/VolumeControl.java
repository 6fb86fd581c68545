package org.dblock.core;

import java.io.IOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.dblock.api.BlockException;
import org.dblock.api.BlockVolume;
import org.dblock.api.Capability;
import org.dblock.api.Geometry;
import org.dblock.api.Persistence;
import org.dblock.api.Reason;
import org.dblock.api.Size;
import org.dblock.api.SnapshotStore;
import org.dblock.api.VolumeSpec;
import org.dblock.api.device.Device.State;
import org.dblock.api.device.DeviceSpec;
import org.dblock.api.device.Export;

/** Opens, parks, swaps and closes the volume of one device, on the device's {@link ControlThread}. */
final class VolumeControl {
    private static final Logger LOG = System.getLogger(VolumeControl.class.getPackageName());

    /** How long requests, a flush and a hand-over may take together when a store leaves: SCR gives up after 5 s. */
    static final long DRAIN_NANOS = TimeUnit.SECONDS.toNanos(3);
    /** How much of that an early flush may take. */
    private static final long EARLY_FLUSH_NANOS = TimeUnit.SECONDS.toNanos(1);
    /** The same at the end of the gateway, when nothing waits for it. */
    private static final long END_NANOS = TimeUnit.SECONDS.toNanos(5);
    /** How long parking on command waits for the requests inside. */
    private static final long PARK_NANOS = TimeUnit.SECONDS.toNanos(30);

    /** How often a drain looks whether it still makes sense. */
    private static final long LOOK_NANOS = TimeUnit.MILLISECONDS.toNanos(100);

    private static final long RETRY_SECONDS = 5;

    /** What a volume left behind: its state, or the failure of its last flush. */
    private record Departure(Map<String, Object> state, BlockException flushFailure) {}

    private interface VolumeCall {
        void on(BlockVolume volume) throws IOException;
    }

    final DeviceExports exports;

    private final DeviceRegistry registry;
    private final BlockDevice device;
    private final ControlThread thread;

    // all of these belong to the control thread

    /** What the last volume handed over and no successor has taken. */
    private Map<String, Object> inherited = new HashMap<>();
    /** Parked on command. */
    private boolean held;
    /** Why the volume is not opened again but on command; null: it is. */
    private String stuck;
    /** Whether the next open may create the volume although there was one before: what it held is lost. */
    private boolean anew;
    /** The service id of the store that served last, and when its gate was closed; -1: none. */
    private long lastStore = -1;

    private long closedAt;
    /** The service id of the better store that this device could not move to, and doesn't try again; -1: none. */
    private long refused = -1;

    private boolean retrying;
    /** Whether the open that is under way created the volume. */
    private boolean created;
    /** Whether the device is being created by command: then its volume's coming up empty is no news. */
    private boolean starting;

    VolumeControl(DeviceRegistry registry, BlockDevice device) {
        this.registry = registry;
        this.device = device;
        thread = device.thread;
        exports = new DeviceExports(registry, device);
    }

    // ---- what is to be

    /** Makes the device what it is meant to be with the stores and front ends that are there now. Repeatable. */
    void reconcile() {
        if (device.isEnding()) return;
        try {
            bringUp();
        } catch (BlockException e) {
            openFailed(e);
        }
        boolean served = device.state() == State.ONLINE || device.state() == State.PARKED;
        if (served && device.lastGeometry() != null && !exports.reconcile()) retry();
    }

    /** The same for a device that is being created: any failure is the caller's. */
    void start() throws BlockException {
        checkStays();
        starting = true;
        bringUp();
        starting = false;
        for (String each : device.spec().exports()) exports.begin(each);
    }

    private void bringUp() throws BlockException {
        Store best = registry.best(device.spec().backend());
        OpenVolume open = device.current();
        if (open != null) {
            if (!held && best != null && best.serviceId() != refused && best.betterThan(open.store)) swap(open, best);
        } else if (best == null) {
            if (device.state() == State.STARTING) device.explain(awaitedBackend());
        } else if (stuck == null && !held) {
            online(open(best, inherited));
        }
    }

    private String awaitedBackend() {
        return "waits for backend " + device.spec().backend() + ", which is not there";
    }

    private void openFailed(BlockException e) {
        if (registry.best(device.spec().backend()) == null && stuck == null) {
            device.explain(awaitedBackend()); // it left while its volume was being opened
            return;
        }
        if (e.reason() == Reason.FENCED) stuck = e.getMessage();
        if (device.state() == State.STARTING || stuck != null) device.fail(e.getMessage());
        else device.explain(e.getMessage());
        if (stuck == null) retry();
    }

    private void retry() {
        if (retrying) return;
        retrying = true;
        registry.clock.schedule(
                () -> thread.submit(() -> {
                    retrying = false;
                    reconcile();
                }),
                RETRY_SECONDS,
                TimeUnit.SECONDS);
    }

    // ---- opening

    private OpenVolume open(Store store, Map<String, Object> state) throws BlockException {
        DeviceSpec spec = device.spec();
        Geometry known = anew ? null : device.lastGeometry();
        // options that were right once are not checked again: it would prolong the pause of each swap
        if (known == null) registry.checkOptions(store, spec.options());
        registry.claim(device);
        VolumeSpec wanted = new VolumeSpec(
                spec.volume(), spec.size(), spec.blockSize(), spec.readOnly(), false, spec.options(), state);
        int had = state.size();
        BlockVolume volume;
        try {
            volume = open(store, wanted);
            device.resizing(0);
        } catch (BlockException e) {
            long meant = device.resizing();
            if (e.reason() == Reason.INVALID && meant != 0) {
                volume = open(store, wanted.withSize(meant));
                wasResized(meant);
            } else {
                if (e.reason() != Reason.NOT_FOUND) throw e;
                if (known != null) throw absent(known, e);
                if (!spec.create()) throw e;
                volume = open(store, wanted.withCreate(true));
                created = true;
            }
        }
        try {
            Geometry shape = volume.geometry();
            if (spec.readOnly() && !shape.readOnly()) shape = shape.withReadOnly(true);
            if (known != null && (known.size() != shape.size() || known.blockSize() != shape.blockSize()))
                throw new BlockException(
                        Reason.INVALID,
                        store.describe() + " opens the volume with " + shape.size() + " bytes in blocks of "
                                + shape.blockSize() + ", its clients know " + known.size() + " in blocks of "
                                + known.blockSize());
            if (known != null
                    && shape.persistence() == Persistence.VOLATILE
                    && store.serviceId() != lastStore
                    && state.size() == had) throw absent(known, null);
            int epoch = anew ? device.epoch() + 1 : device.epoch();
            return new OpenVolume(volume, store, shape, epoch);
        } catch (BlockException | RuntimeException e) {
            if (state.size() < had) giveBack(store, volume, state);
            else close(volume);
            throw BlockDevice.asBlockException(e);
        }
    }

    /** The gateway ended between the resize of the volume and the storing of its new size: the volume is right. */
    private void wasResized(long size) {
        LOG.log(
                Level.WARNING,
                "device " + device.name() + " has the size that it was being given when the gateway ended: "
                        + Size.format(size));
        device.resizing(0);
        device.spec(device.spec().withSize(size));
        try {
            registry.configurations().store(device);
        } catch (BlockException e) {
            LOG.log(Level.ERROR, e.getMessage());
        }
    }

    /** What a volume took from its predecessor and can't be served with belongs to the next one. */
    private void giveBack(Store store, BlockVolume volume, Map<String, Object> state) {
        try {
            state.putAll(thread.call(store, "hand-over", DRAIN_NANOS, volume::handOver, VolumeControl::closeAll));
        } catch (BlockException e) {
            LOG.log(Level.ERROR, "device " + device.name() + ": what it had in memory is lost: " + e.getMessage());
        }
    }

    private BlockVolume open(Store store, VolumeSpec wanted) throws BlockException {
        return thread.call(
                store,
                "open",
                Long.MAX_VALUE,
                () -> {
                    BlockVolume volume = store.service().open(wanted);
                    if (volume == null) throw new BlockException(Reason.IO, store.describe() + " opened nothing");
                    return volume;
                },
                VolumeControl::close);
    }

    /** The volume was there before and is not now. */
    private BlockException absent(Geometry known, BlockException e) {
        if (known.persistence() == Persistence.VOLATILE) {
            stuck = "its contents, which were in memory only, are lost; resume brings it back empty";
            return new BlockException(Reason.IO, stuck);
        }
        return new BlockException(Reason.NOT_FOUND, "its volume has vanished: " + e.getMessage());
    }

    private void online(OpenVolume open) {
        if (anew) {
            anew = false;
            device.contentsLost("device " + device.name() + " lost its contents");
        }
        if (lastStore >= 0 && lastStore != open.store.serviceId()) device.stats.swapped(System.nanoTime() - closedAt);
        lastStore = open.store.serviceId();
        closeAll(inherited);
        inherited = new HashMap<>();
        boolean empty = created && !starting && open.geometry.persistence() == Persistence.VOLATILE;
        created = false;
        device.serve(open, empty ? "came up empty: its contents are in memory only" : "");
    }

    // ---- leaving

    /**
     * A store is about to go: its volume is drained, flushed and closed, or abandoned.
     *
     * @param deadline by {@link System#nanoTime()}
     */
    void storeLeft(Store store, long deadline) {
        OpenVolume open = device.current();
        if (open == null || open.store != store) return;
        try {
            // requests go on during this flush, and have to wait only for the next one, which finds little
            flush(open, Math.min(EARLY_FLUSH_NANOS, deadline - System.nanoTime()));
        } catch (BlockException e) {
            LOG.log(Level.DEBUG, "device " + device.name() + ": the flush before the last: " + e.getMessage());
        }
        closedAt = System.nanoTime();
        device.park("backend " + store.backend() + " has gone; waits for it to come back");
        Departure left = letGo(open, true, deadline - System.nanoTime());
        device.vacate();
        device.workers.renew(left == null);
        if (left == null) {
            LOG.log(
                    Level.WARNING,
                    "device " + device.name() + ": " + store.describe()
                            + " did not finish its requests in time; its volume is abandoned");
            return;
        }
        if (left.flushFailure != null) flushFailed(left.flushFailure);
        inherited = new HashMap<>(left.state);
    }

    /**
     * Drains, flushes and closes a volume whose gate is closed; null: it took too long, and the volume is abandoned.
     */
    private Departure letGo(OpenVolume open, boolean handOver, long nanos) {
        BlockVolume volume = open.volume;
        try {
            return thread.call(
                    open.store,
                    "close",
                    Math.max(0, nanos),
                    () -> {
                        open.gate.drain(Long.MAX_VALUE);
                        BlockException failure = null;
                        try {
                            if (!open.abandoned && !open.geometry.readOnly()) volume.flush();
                        } catch (Throwable e) {
                            failure = BlockDevice.asBlockException(e);
                        }
                        if (!open.abandoned && failure == null && handOver)
                            try {
                                return new Departure(volume.handOver(), null);
                            } catch (Throwable e) {
                                LOG.log(Level.ERROR, "device " + device.name() + ": the hand-over failed: " + e);
                            }
                        close(volume);
                        return new Departure(Map.of(), failure);
                    },
                    late -> closeAll(late.state));
        } catch (BlockException e) {
            open.abandoned = true;
            return null;
        }
    }

    private void flushFailed(BlockException e) {
        stuck = "writes may be lost, for its last flush failed: " + e.getMessage() + "; resume opens it as it is";
        device.fail(stuck);
    }

    // ---- swapping

    /** Moves to a better store while the present one stays; whatever fails, the device stays where it is. */
    private void swap(OpenVolume open, Store better) {
        OpenVolume next = null;
        try {
            // an early flush keeps the pause short, and a volume that can't flush is not swapped
            flush(open, Long.MAX_VALUE);
            if (open.geometry.persistence() == Persistence.DURABLE)
                try {
                    next = open(better, new HashMap<>());
                } catch (BlockException e) {
                    if (e.reason() != Reason.IN_USE) throw e;
                }
            closedAt = System.nanoTime();
            device.park("is moving to " + better.describe());
            drain(open, DRAIN_NANOS);
            flush(open, Long.MAX_VALUE);
        } catch (BlockException e) {
            if (next != null) close(next.volume);
            stay(open, better, e);
            return;
        }
        // from here on the present volume is closed, and has to be opened anew where the better store fails
        Departure left = letGo(open, next == null, DRAIN_NANOS);
        device.vacate();
        device.workers.renew(left == null);
        if (left != null) inherited = new HashMap<>(left.state);
        if (left != null && left.flushFailure != null) {
            if (next != null) close(next.volume);
            flushFailed(left.flushFailure);
            return;
        }
        try {
            online(next != null ? next : open(better, inherited));
        } catch (BlockException e) {
            goBack(open.store, better, e);
        }
    }

    private void stay(OpenVolume open, Store better, BlockException e) {
        refused = better.serviceId();
        LOG.log(
                Level.WARNING,
                "device " + device.name() + " stays: can't move to " + better.describe() + ": " + e.getMessage());
        reopen(open);
    }

    private void goBack(Store old, Store better, BlockException e) {
        refused = better.serviceId();
        LOG.log(
                Level.WARNING,
                "device " + device.name() + " goes back to " + old.describe() + ": can't move to " + better.describe()
                        + ": " + e.getMessage());
        try {
            if (stuck == null && registry.has(old)) online(open(old, inherited));
            else openFailed(e);
        } catch (BlockException again) {
            openFailed(again);
        }
    }

    /** Waits until nobody is inside; not for a store that is leaving, nor for a device that ends. */
    private void drain(OpenVolume open, long nanos) throws BlockException {
        long start = System.nanoTime();
        while (!open.gate.drain(Math.min(nanos, LOOK_NANOS))) {
            if (!registry.has(open.store) || device.isEnding() || System.nanoTime() - start >= nanos)
                throw new BlockException(
                        Reason.TIMED_OUT,
                        open.gate.inside() + " requests are still inside after "
                                + TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start) + " ms");
        }
    }

    private void flush(OpenVolume open, long nanos) throws BlockException {
        if (!open.geometry.readOnly()) callInside(open, "flush", nanos, BlockVolume::flush);
    }

    /** Calls a volume; when the call is no longer waited for, whoever closes the volume waits for it all the same. */
    private void callInside(OpenVolume open, String what, long nanos, VolumeCall body) throws BlockException {
        open.gate.count();
        thread.call(
                open.store,
                what,
                nanos,
                () -> {
                    try {
                        body.on(open.volume);
                        return null;
                    } finally {
                        open.gate.leave();
                    }
                },
                late -> {});
    }

    /** Serves the volume as before; not if its store is leaving, for that closes it next. */
    private void reopen(OpenVolume open) {
        if (open.gate.closed() && registry.has(open.store)) device.serve(open, "");
    }

    // ---- commands

    /** Refuses what comes behind a removal. */
    void checkStays() throws BlockException {
        if (device.isEnding())
            throw new BlockException(Reason.NOT_FOUND, "device " + device.name() + " is being removed");
    }

    void park() throws BlockException {
        if (held) return;
        checkStays();
        OpenVolume open = device.current();
        if (open == null) {
            if (device.state() != State.PARKED)
                throw new BlockException(
                        Reason.IO, "device " + device.name() + " is not online: " + device.explanation());
        } else {
            device.park("parked on command; waits for resume");
            try {
                drain(open, PARK_NANOS);
                flush(open, Long.MAX_VALUE);
            } catch (BlockException e) {
                reopen(open);
                throw e;
            }
        }
        held = true;
    }

    void resume() throws BlockException {
        checkStays();
        held = false;
        refused = -1;
        if (stuck != null) {
            Geometry known = device.lastGeometry();
            // old clients believe in contents, or in flushes, that are no more
            if (known != null && known.persistence() == Persistence.VOLATILE) anew = true;
            else if (known != null) device.contentsLost("device " + device.name() + ": " + stuck);
            stuck = null;
        }
        OpenVolume open = device.current();
        if (open != null) device.serve(open, "");
        reconcile();
        if (device.state() != State.ONLINE)
            throw new BlockException(Reason.IO, "device " + device.name() + " is not online: " + device.explanation());
    }

    /** Whether a size is another one, and can be had. */
    boolean canResize(long size) throws BlockException {
        OpenVolume open = device.current();
        if (open == null || device.state() != State.ONLINE)
            throw new BlockException(Reason.IO, "device " + device.name() + " is not online: " + device.explanation());
        Geometry old = open.geometry;
        if (size <= 0 || size % old.blockSize() != 0)
            throw new BlockException(
                    Reason.INVALID,
                    "size " + size + ": must be more than 0 and a multiple of the block size, " + old.blockSize());
        if (size == old.size()) return false;
        if (!old.can(Capability.RESIZE))
            throw new BlockException(Reason.UNSUPPORTED, open.store.describe() + " can't resize this volume");
        return true;
    }

    void resize(long size) throws BlockException {
        if (!canResize(size)) return;
        OpenVolume open = device.current();
        Geometry old = open.geometry;
        boolean shrink = size < old.size();
        try {
            if (shrink) {
                open.geometry = old.withSize(size);
                device.park("is being resized");
                drain(open, PARK_NANOS); // those inside were checked against the old size
                device.serve(open, "");
            }
            callInside(open, "resize", Long.MAX_VALUE, volume -> {
                volume.resize(size);
                volume.flush(); // the stored size must not be ahead of the volume after a host crash
            });
        } catch (BlockException e) {
            // where only its flush failed, the volume has its new size
            Geometry real = old.withSize(open.volume.geometry().size());
            if (real.size() == old.size()) open.geometry = old;
            else device.resized(open, real);
            reopen(open);
            throw e;
        }
        device.resizing(0);
        device.spec(device.spec().withSize(size));
        device.resized(open, old.withSize(size));
    }

    /** A store's way to make snapshots. */
    static SnapshotStore snapshots(Store store) throws BlockException {
        if (store.service() instanceof SnapshotStore able) return able;
        throw new BlockException(Reason.UNSUPPORTED, store.describe() + " makes no snapshots");
    }

    void snapshot(String name) throws BlockException {
        OpenVolume open = device.current();
        if (open == null || open.gate.closed())
            throw new BlockException(Reason.IO, "device " + device.name() + " is not online: " + device.explanation());
        DeviceSpec spec = device.spec();
        SnapshotStore store = snapshots(open.store);
        VolumeSpec volume = new VolumeSpec(spec.volume(), 0, 0, false, false, spec.options(), new HashMap<>());
        thread.call(
                open.store,
                "snapshot",
                Long.MAX_VALUE,
                () -> {
                    store.createSnapshot(volume, name);
                    return null;
                },
                late -> {});
    }

    /** Ends the device unless it is in use, or can't be flushed. */
    void remove(boolean force) throws BlockException {
        device.claimForRemoval(force);
        OpenVolume open = device.current();
        try {
            if (open != null) flush(open, force ? PARK_NANOS : Long.MAX_VALUE);
        } catch (BlockException e) {
            if (!force) {
                device.goOn();
                throw new BlockException(
                        e.reason(),
                        "device " + device.name() + " can't be flushed: " + e.getMessage()
                                + "; force removes it all the same");
            }
            LOG.log(
                    Level.WARNING,
                    "device " + device.name() + " is removed although it can't be flushed: " + e.getMessage());
        }
        end(Export.End.REMOVED, Reason.IO, "removed");
    }

    /** Ends the device: exports first, then the volume. */
    void end(Export.End end, Reason reason, String why) {
        device.ending(reason, why);
        exports.endAll(end);
        device.tellGone("device " + device.name() + ": " + why);
        OpenVolume open = device.current();
        if (open != null) {
            if (end == Export.End.STOPPING) closeSoon(open);
            device.shut();
            Departure left = letGo(open, false, END_NANOS);
            if (left == null || left.flushFailure != null)
                LOG.log(
                        Level.ERROR,
                        "device " + device.name() + " was not flushed: "
                                + (left == null
                                        ? "its volume did not answer in time"
                                        : left.flushFailure.getMessage()));
            device.vacate();
        }
        closeAll(inherited);
        inherited = new HashMap<>();
        device.workers.renew(true);
        device.removed(why);
        thread.end();
    }

    private void closeSoon(OpenVolume open) {
        try {
            thread.call(
                    open.store,
                    "end",
                    TimeUnit.SECONDS.toNanos(1),
                    () -> {
                        open.volume.closeSoon();
                        return null;
                    },
                    late -> {});
        } catch (BlockException e) {
            LOG.log(Level.WARNING, "device " + device.name() + ": closeSoon failed: " + e.getMessage());
        }
    }

    private static void close(BlockVolume volume) {
        try {
            volume.close();
        } catch (Throwable e) {
            LOG.log(Level.WARNING, "closing a volume failed: " + e);
        }
    }

    /** Closes what nobody has taken over. */
    private static void closeAll(Map<String, Object> state) {
        for (Object each : state.values())
            if (each instanceof AutoCloseable resource)
                try {
                    resource.close();
                } catch (Exception e) {
                    LOG.log(Level.WARNING, "closing what a volume left behind failed: " + e);
                }
    }
}
