package org.dblock.core;

import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Dictionary;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.dblock.api.BlockException;
import org.dblock.api.BlockStore;
import org.dblock.api.InspectableStore;
import org.dblock.api.Inspection;
import org.dblock.api.Persistence;
import org.dblock.api.Reason;
import org.dblock.api.SnapshotInfo;
import org.dblock.api.VolumeInfo;
import org.dblock.api.VolumeSpec;
import org.dblock.api.device.Backend;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceListener;
import org.dblock.api.device.DeviceSpec;
import org.dblock.api.device.Devices;
import org.dblock.api.device.Export;
import org.dblock.api.device.FrontEnd;
import org.dblock.core.DeviceExports.NamedFrontEnd;
import org.osgi.framework.Constants;
import org.osgi.framework.ServiceReference;
import org.osgi.service.cm.ConfigurationAdmin;
import org.osgi.service.cm.ManagedServiceFactory;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.annotations.ReferenceCardinality;
import org.osgi.service.component.annotations.ReferencePolicy;

/**
 * The devices of this gateway: reconciles what is configured, and which stores and front ends are there, with what
 * exists.
 *
 * <p>A {@link ManagedServiceFactory} and no component per device, since only it is told a deleted configuration, which
 * removes a device, from a bundle that stops, which doesn't. Each device does its own work on its own thread.
 */
@Component(
        immediate = true,
        service = {Devices.class, ManagedServiceFactory.class},
        property = Constants.SERVICE_PID + "=" + Devices.PID)
public final class DeviceRegistry implements Devices, ManagedServiceFactory {
    private static final Logger LOG = System.getLogger(DeviceRegistry.class.getPackageName());

    /** How long all devices together may take to end. */
    private static final long STOP_NANOS = TimeUnit.SECONDS.toNanos(10);
    /** How long a device that is being created waits for its backend and its front ends. */
    private static final long CREATE_NANOS = TimeUnit.MINUTES.toNanos(2);
    /** How often it is looked whether what is waited for has come. */
    static final long LOOK_NANOS = TimeUnit.SECONDS.toNanos(1);

    /** What a device that writes has for itself. */
    private record Claim(String backend, String volume, Map<String, Object> options) {}

    /** Tests don't wait that long. */
    volatile long createNanos = CREATE_NANOS;

    final ScheduledThreadPoolExecutor clock = Threads.clock("dblock clock");

    private final DeviceConfigurations configurations;
    private final ThreadPoolExecutor notifier = Threads.serial("dblock listeners");
    private final Map<String, BlockDevice> devices = new ConcurrentSkipListMap<>();

    private final Map<Claim, BlockDevice> claims = new ConcurrentHashMap<>();
    private final List<Store> stores = new CopyOnWriteArrayList<>();
    private final List<NamedFrontEnd> frontEnds = new CopyOnWriteArrayList<>();
    private final List<DeviceListener> listeners = new CopyOnWriteArrayList<>();
    private volatile OptionTypes optionTypes;
    private volatile boolean stopped;

    @Activate
    public DeviceRegistry(@Reference ConfigurationAdmin configurations) {
        this.configurations = new DeviceConfigurations(this, configurations);
    }

    /** Ends everything within seconds; what hangs is abandoned. */
    @Deactivate
    void deactivate() {
        stopped = true;
        configurations.end();
        Map<BlockDevice, CompletableFuture<Void>> ends = new LinkedHashMap<>();
        for (BlockDevice each : devices.values()) {
            each.ending(Reason.SHUTTING_DOWN, "the gateway stops");
            each.thread.giveUp(null, "the gateway stops");
            ends.put(
                    each,
                    each.thread.submit(
                            () -> each.control.end(Export.End.STOPPING, Reason.SHUTTING_DOWN, "the gateway stops")));
        }
        awaitAll(ends, null, STOP_NANOS);
        devices.clear();
        notifier.shutdown();
        clock.shutdown();
    }

    // ---- stores and front ends come and go

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void bindStore(ServiceReference<BlockStore> reference, BlockStore service) {
        Object name = reference.getProperty(BlockStore.BACKEND);
        if (!(name instanceof String backend) || backend.isEmpty()) {
            LOG.log(
                    Level.ERROR,
                    "a BlockStore of bundle " + reference.getBundle() + " has no service property " + BlockStore.BACKEND
                            + " with the name of its backend: ignored");
            return;
        }
        int ranking = reference.getProperty(Constants.SERVICE_RANKING) instanceof Integer number ? number : 0;
        long serviceId = (Long) reference.getProperty(Constants.SERVICE_ID);
        storeArrived(new Store(
                backend, service, reference.getBundle(), reference.getBundle().getVersion(), ranking, serviceId));
    }

    void unbindStore(ServiceReference<BlockStore> reference, BlockStore service) {
        for (Store each : stores) if (each.service() == service) storeLeft(each);
    }

    void storeArrived(Store store) {
        stores.add(store);
        reconcile(store.backend());
    }

    /** Returns when no device uses the store any more. */
    void storeLeft(Store store) {
        stores.remove(store);
        long deadline = System.nanoTime() + VolumeControl.DRAIN_NANOS;
        Map<BlockDevice, CompletableFuture<Void>> leaving = new LinkedHashMap<>();
        for (BlockDevice each : devices.values())
            if (each.spec().backend().equals(store.backend()))
                leaving.put(each, each.thread.submit(() -> each.control.storeLeft(store, deadline)));
        awaitAll(leaving, store, VolumeControl.DRAIN_NANOS);
        reconcile(store.backend());
    }

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void bindFrontEnd(FrontEnd service, Map<String, Object> properties) {
        if (properties.get(FrontEnd.NAME) instanceof String name) frontEndArrived(name, service);
        else LOG.log(Level.ERROR, service + " has no service property " + FrontEnd.NAME + " with its name: ignored");
    }

    void unbindFrontEnd(FrontEnd service) {
        for (NamedFrontEnd each : frontEnds) if (each.service() == service) frontEndLeft(each);
    }

    void frontEndArrived(String name, FrontEnd service) {
        frontEnds.add(new NamedFrontEnd(name, service));
        reconcile(null);
    }

    private void frontEndLeft(NamedFrontEnd frontEnd) {
        frontEnds.remove(frontEnd);
        Map<BlockDevice, CompletableFuture<Void>> leaving = new LinkedHashMap<>();
        for (BlockDevice each : devices.values())
            leaving.put(each, each.thread.submit(() -> each.control.exports.frontEndLeft(frontEnd)));
        awaitAll(leaving, frontEnd.service(), VolumeControl.DRAIN_NANOS);
    }

    /** Waits for what devices do, and in the end makes them stop waiting for someone who doesn't answer. */
    private static void awaitAll(Map<BlockDevice, CompletableFuture<Void>> tasks, Object callee, long nanos) {
        long deadline = System.nanoTime() + nanos;
        tasks.forEach((device, done) -> {
            if (ControlThread.await(done, Math.max(0, deadline - System.nanoTime()))) return;
            device.thread.giveUp(callee, "whoever was called did not answer, and is going away");
            ControlThread.await(done, TimeUnit.MILLISECONDS.toNanos(500));
        });
    }

    private void reconcile(String backend) {
        for (BlockDevice each : devices.values())
            if (backend == null || each.spec().backend().equals(backend)) each.thread.submit(each.control::reconcile);
    }

    @Reference(
            cardinality = ReferenceCardinality.OPTIONAL,
            policy = ReferencePolicy.DYNAMIC,
            policyOption = org.osgi.service.component.annotations.ReferencePolicyOption.GREEDY)
    void bindOptionTypes(OptionTypes types) {
        optionTypes = types;
    }

    void unbindOptionTypes(OptionTypes types) {
        if (optionTypes == types) optionTypes = null;
    }

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void bindListener(DeviceListener listener) {
        listeners.add(listener);
    }

    void unbindListener(DeviceListener listener) {
        listeners.remove(listener);
    }

    // ---- what devices ask

    /** The best store of a backend; null: there is none. */
    Store best(String backend) {
        Store best = null;
        for (Store each : stores)
            if (each.backend().equals(backend) && (best == null || each.betterThan(best))) best = each;
        return best;
    }

    /** Whether the gateway is about to end. */
    boolean stopped() {
        return stopped;
    }

    boolean has(Store store) {
        return stores.contains(store);
    }

    /** The front end of a name; null: there is none. */
    NamedFrontEnd frontEnd(String name) {
        for (NamedFrontEnd each : frontEnds) if (each.name().equals(name)) return each;
        return null;
    }

    static String namesOf(Collection<String> names) {
        return names.isEmpty() ? "none" : String.join(", ", names);
    }

    /** Checks options against the backend's definition, if there is one. */
    void checkOptions(Store store, Map<String, Object> options) throws BlockException {
        OptionTypes types = optionTypes;
        if (types != null) types.check(store, options);
    }

    /** Claims a device's volume for writing, which only one device may do. */
    void claim(BlockDevice device) throws BlockException {
        DeviceSpec spec = device.spec();
        if (spec.readOnly()) return;
        BlockDevice holder = claims.putIfAbsent(claim(spec), device);
        if (holder != null && holder != device)
            throw new BlockException(
                    Reason.IN_USE,
                    "volume '" + spec.volume() + "' of backend " + spec.backend() + " belongs to device "
                            + holder.name() + ": use another volume, or make this device read-only");
    }

    private static Claim claim(DeviceSpec spec) {
        return new Claim(spec.backend(), spec.volume(), spec.options());
    }

    /** Tells the listeners, later and in order. */
    void changed(Device device, Device.State state) {
        try {
            notifier.execute(() -> {
                for (DeviceListener each : listeners) {
                    try {
                        each.changed(device, state);
                    } catch (RuntimeException e) {
                        LOG.log(Level.WARNING, "a device listener failed: " + e);
                    }
                }
            });
        } catch (RejectedExecutionException e) {
            LOG.log(Level.DEBUG, "no listener hears that " + device + " changed: the gateway stops");
        }
    }

    // ---- configurations

    DeviceConfigurations configurations() {
        return configurations;
    }

    @Override
    public String getName() {
        return "dblock devices";
    }

    @Override
    public void updated(String pid, Dictionary<String, ?> properties) {
        configurations.updated(pid);
    }

    @Override
    public void deleted(String pid) {
        configurations.deleted(pid);
    }

    /** Makes a device that is configured, unless its name is taken; that one then. */
    BlockDevice make(BlockDevice device) {
        BlockDevice present = devices.putIfAbsent(device.name(), device);
        if (present != null) return present;
        if (stopped) { // after the end of all devices, perhaps: nobody would close its volume
            forget(device);
            return device;
        }
        changed(device, Device.State.STARTING);
        device.thread.submit(device.control::reconcile);
        return device;
    }

    /** Removes a device; afterwards something is done on its thread. */
    static CompletableFuture<Void> removal(BlockDevice device, boolean force, ControlThread.Task afterwards) {
        // an open that hangs is not waited for
        if (device.current() == null) device.thread.giveUp(null, "device " + device.name() + " is being removed");
        return device.thread.submit(() -> {
            device.control.remove(force);
            afterwards.run();
        });
    }

    /** Its name, its volume and its configuration are no longer its own. */
    void forget(BlockDevice device) {
        devices.remove(device.name(), device);
        configurations.forget(device);
        claims.values().removeIf(holder -> holder == device);
    }

    // ---- commands

    @Override
    public List<Device> list() {
        return List.copyOf(devices.values());
    }

    @Override
    public Optional<Device> find(String name) {
        return Optional.ofNullable(devices.get(name));
    }

    private BlockDevice get(String name) throws BlockException {
        BlockDevice device = devices.get(name);
        if (device == null)
            throw new BlockException(
                    Reason.NOT_FOUND, "no device '" + name + "': there are " + namesOf(devices.keySet()));
        return device;
    }

    /** The device of a name, if its configuration is ours to change. */
    private BlockDevice owned(String name) throws BlockException {
        BlockDevice device = get(name);
        String file = configurations.file(device);
        if (file != null)
            throw new BlockException(
                    Reason.UNSUPPORTED,
                    "device " + name + " is configured by " + file + ": change or delete that file");
        return device;
    }

    private Store backend(String name) throws BlockException {
        Store store = best(name);
        if (store == null)
            throw new BlockException(
                    Reason.NOT_FOUND,
                    "no backend '" + name + "': there are "
                            + namesOf(stores.stream()
                                    .map(Store::backend)
                                    .distinct()
                                    .sorted()
                                    .toList()));
        return store;
    }

    @Override
    public Device create(DeviceSpec spec) throws BlockException {
        spec.check();
        backend(spec.backend());
        BlockDevice device = new BlockDevice(this, spec, UUID.randomUUID());
        if (devices.putIfAbsent(spec.name(), device) != null)
            throw new BlockException(
                    Reason.EXISTS,
                    "there is a device '" + spec.name() + "' already: choose another name, or remove it");
        changed(device, Device.State.STARTING);
        try {
            if (stopped) throw new BlockException(Reason.SHUTTING_DOWN, "the gateway stops");
            CompletableFuture<Void> made = device.thread.submit(() -> {
                device.control.start();
                // its volume is there from now on: if it is not at the next start, it is lost, and not to be created
                if (device.geometry().persistence() == Persistence.DURABLE) device.spec(existing(device.spec()));
                configurations.store(device);
            });
            String late = "no answer in " + TimeUnit.NANOSECONDS.toSeconds(createNanos) + " s from backend "
                    + spec.backend() + ", or whoever is to serve device " + spec.name()
                    + ": it is not created; see whether what they need answers, then try again";
            await(made, createNanos, device, late);
        } catch (BlockException e) {
            // waited for, lest the next attempt finds the volume in use
            CompletableFuture<Void> ended = device.thread.submit(() -> {
                device.control.end(Export.End.REMOVED, Reason.IO, "was not created");
                configurations.delete(device); // where only this thread was interrupted, it was created after all
            });
            ControlThread.await(ended, STOP_NANOS);
            forget(device);
            throw e;
        }
        return device;
    }

    private static DeviceSpec existing(DeviceSpec spec) {
        return new DeviceSpec(
                spec.name(),
                spec.backend(),
                spec.volume(),
                spec.size(),
                spec.blockSize(),
                spec.readOnly(),
                false,
                spec.queueDepth(),
                spec.parkSeconds(),
                spec.exports(),
                spec.options());
    }

    /** Waits for a device's task, and after a while makes it give up whatever could last for ever. */
    private static void await(CompletableFuture<Void> task, long nanos, BlockDevice device, String why)
            throws BlockException {
        for (long wait = nanos;
                !ControlThread.await(task, wait) && !Thread.currentThread().isInterrupted();
                wait = LOOK_NANOS) device.thread.giveUp(null, why);
        ControlThread.await(task);
    }

    @Override
    public void remove(String name, boolean force) throws BlockException {
        BlockDevice device = owned(name);
        // all of it on the device's thread: it is done although this one is interrupted
        CompletableFuture<Void> removed = removal(device, force, () -> {
            try {
                configurations.delete(device);
            } finally {
                forget(device);
            }
        });
        // what hangs before it is not waited for either: a change, or the removal without force
        if (force) await(removed, LOOK_NANOS, device, "device " + name + " is being removed by force");
        else ControlThread.await(removed);
    }

    @Override
    public void resize(String name, long size) throws BlockException {
        BlockDevice device = owned(name);
        ControlThread.await(device.thread.submit(() -> {
            device.control.checkStays();
            if (!device.control.canResize(size)) return;
            // first what is about to be: after a kill, the volume may have either size
            device.resizing(size);
            configurations.store(device);
            device.control.resize(size);
            configurations.store(device);
        }));
    }

    @Override
    public void export(String name, String export) throws BlockException {
        BlockDevice device = owned(name);
        ControlThread.await(device.thread.submit(() -> {
            device.control.checkStays();
            device.geometry(); // there is something to serve
            device.control.exports.begin(export);
            List<String> all = new ArrayList<>(device.spec().exports());
            all.removeIf(each -> DeviceExports.frontEndOf(each).equals(DeviceExports.frontEndOf(export)));
            all.add(export);
            device.spec(device.spec().withExports(all));
            configurations.store(device);
        }));
    }

    @Override
    public void unexport(String name, String frontEnd, boolean force) throws BlockException {
        BlockDevice device = owned(name);
        ControlThread.await(device.thread.submit(() -> {
            device.control.checkStays();
            List<String> left = new ArrayList<>(device.spec().exports());
            if (!left.removeIf(each -> DeviceExports.frontEndOf(each).equals(frontEnd)))
                throw new BlockException(
                        Reason.NOT_FOUND,
                        "device " + name + " is not served through '" + frontEnd + "': it is through "
                                + namesOf(device.spec().exports()));
            List<String> clients = device.clients().stream()
                    .filter(each -> each.startsWith(frontEnd + " "))
                    .toList();
            if (!force && !clients.isEmpty())
                throw new BlockException(
                        Reason.IN_USE,
                        "device " + name + " is in use by " + String.join(", ", clients)
                                + ": disconnect them first, or use force");
            device.control.exports.end(frontEnd, Export.End.REMOVED);
            device.spec(device.spec().withExports(left));
            configurations.store(device);
        }));
    }

    @Override
    public List<Backend> backends() {
        OptionTypes types = optionTypes;
        return stores.stream()
                .map(Store::backend)
                .distinct()
                .sorted()
                .map(this::best)
                .filter(Objects::nonNull)
                .map(store -> types != null
                        ? types.describe(store)
                        : new Backend(
                                store.backend(),
                                store.bundle().getSymbolicName(),
                                store.version().toString(),
                                "",
                                List.of()))
                .toList();
    }

    @Override
    public List<String> frontEnds() {
        return frontEnds.stream().map(NamedFrontEnd::name).distinct().sorted().toList();
    }

    @Override
    public List<VolumeInfo> volumes(String backend, Map<String, Object> options) throws BlockException {
        return ask(backend, "", options, (store, spec) -> store.service().list(spec));
    }

    @Override
    public void snapshot(String name, String snapshot) throws BlockException {
        BlockDevice device = get(name);
        ControlThread.await(device.thread.submit(() -> device.control.snapshot(snapshot)));
    }

    @Override
    public List<SnapshotInfo> snapshots(String name) throws BlockException {
        DeviceSpec spec = get(name).spec();
        return ask(
                spec.backend(),
                spec.volume(),
                spec.options(),
                (store, volume) -> VolumeControl.snapshots(store).snapshots(volume));
    }

    @Override
    public void deleteSnapshot(String name, String snapshot, boolean force) throws BlockException {
        DeviceSpec spec = get(name).spec();
        ask(spec.backend(), spec.volume(), spec.options(), (store, volume) -> {
            VolumeControl.snapshots(store).deleteSnapshot(volume, snapshot, force);
            return null;
        });
    }

    @Override
    public Inspection inspect(String backend, String volume, Map<String, Object> options, boolean scrub)
            throws BlockException {
        return ask(backend, volume, options, (store, spec) -> {
            if (store.service() instanceof InspectableStore able) return able.inspect(spec, scrub);
            throw new BlockException(Reason.UNSUPPORTED, "backend " + backend + " can't inspect its volumes");
        });
    }

    @Override
    public void deleteVolume(String backend, String volume, Map<String, Object> options) throws BlockException {
        for (BlockDevice each : devices.values()) {
            DeviceSpec spec = each.spec();
            if (spec.backend().equals(backend) && spec.volume().equals(volume) && alike(spec.options(), options))
                throw new BlockException(
                        Reason.IN_USE,
                        "volume '" + volume + "' belongs to device " + each.name() + ": remove that first");
        }
        ask(backend, volume, options, (store, spec) -> {
            store.service().delete(spec);
            return null;
        });
    }

    /**
     * Whether two sets of options may lead to the same place, as far as one can tell without knowing what they mean.
     */
    private static boolean alike(Map<String, Object> one, Map<String, Object> other) {
        for (Map.Entry<String, Object> each : one.entrySet()) {
            Object value = other.get(each.getKey());
            if (value != null && !value.toString().equals(each.getValue().toString())) return false;
        }
        return true;
    }

    /** What a store is asked about a volume. */
    private interface Question<T> {
        T ask(Store store, VolumeSpec volume) throws Exception;
    }

    private <T> T ask(String backend, String volume, Map<String, Object> options, Question<T> question)
            throws BlockException {
        Store store = backend(backend);
        checkOptions(store, options);
        try {
            return question.ask(store, new VolumeSpec(volume, 0, 0, false, false, options, new HashMap<>()));
        } catch (Exception e) {
            throw BlockDevice.asBlockException(e);
        }
    }
}
