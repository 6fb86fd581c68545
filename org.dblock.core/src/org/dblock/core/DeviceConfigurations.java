package org.dblock.core;

import java.io.IOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.Dictionary;
import java.util.HashMap;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceSpec;
import org.dblock.api.device.Devices;
import org.osgi.framework.InvalidSyntaxException;
import org.osgi.service.cm.Configuration;
import org.osgi.service.cm.ConfigurationAdmin;

/**
 * The configurations of devices: makes, changes and removes devices as Config Admin says, and stores what commands
 * change.
 *
 * <p>Changes of configurations run one after the other on one thread that never waits for a backend.
 */
final class DeviceConfigurations {
    private static final Logger LOG = System.getLogger(DeviceConfigurations.class.getPackageName());

    /** The key of a device's identity in its configuration. */
    private static final String ID = "id";
    /** The key of the size that a device was about to get when its configuration was stored. */
    private static final String RESIZING = "resizing";
    /** The key by which FileInstall says which file a configuration comes from. */
    private static final String FILE = "felix.fileinstall.filename";

    /** Where the configuration of a device is. */
    private record Origin(String pid, String file) {}

    private final DeviceRegistry registry;
    private final ConfigurationAdmin admin;
    private final ThreadPoolExecutor reconciler = Threads.serial("dblock devices");
    private final Map<BlockDevice, Origin> origins = new ConcurrentHashMap<>();

    DeviceConfigurations(DeviceRegistry registry, ConfigurationAdmin admin) {
        this.registry = registry;
        this.admin = admin;
    }

    /** Takes no more changes. */
    void end() {
        reconciler.shutdown();
    }

    void updated(String pid) {
        later(() -> configure(pid));
    }

    void deleted(String pid) {
        later(() -> {
            BlockDevice device = configuredBy(pid);
            if (device == null) return;
            origins.remove(device);
            replace(device, pid);
        });
    }

    /** The file that configures a device; null: none does. */
    String file(BlockDevice device) {
        Origin origin = origins.get(device);
        return origin == null ? null : origin.file;
    }

    void forget(BlockDevice device) {
        origins.remove(device);
    }

    /** Deletes the configuration of a device that is removed, if it has one. */
    void delete(BlockDevice device) throws BlockException {
        Origin origin = origins.remove(device);
        if (origin == null) return;
        try {
            admin.getConfiguration(origin.pid, "?").delete();
        } catch (IOException | IllegalStateException e) {
            throw new BlockException(
                    Reason.IO,
                    "device " + device.name() + " is removed, but its configuration is not: " + e.getMessage(),
                    e);
        }
    }

    /** Stores a device's configuration. On its control thread. */
    void store(BlockDevice device) throws BlockException {
        try {
            Origin origin = origins.get(device);
            Configuration configuration = origin == null
                    ? admin.createFactoryConfiguration(Devices.PID, "?")
                    : admin.getConfiguration(origin.pid, "?");
            if (origin == null) origins.put(device, new Origin(configuration.getPid(), null));
            Dictionary<String, Object> table = device.spec().configuration();
            table.put(ID, device.id().toString());
            if (device.resizing() != 0) table.put(RESIZING, device.resizing());
            configuration.update(table);
        } catch (IOException | IllegalStateException e) {
            throw new BlockException(Reason.IO, "device " + device.name() + " can't be stored: " + e.getMessage(), e);
        }
    }

    /**
     * What is configured now; empty: nothing any more. Config Admin tells of changes later, and by then the properties
     * that it passes may be outdated: a device would come back for a moment, or get its former size.
     */
    private Map<String, Object> configured(String pid) {
        Map<String, Object> copy = new HashMap<>();
        try {
            Configuration[] found = admin.listConfigurations("(service.pid=" + pid + ")");
            if (found == null || found[0].getProperties() == null) return copy;
            Dictionary<String, Object> properties = found[0].getProperties();
            for (String key : Collections.list(properties.keys())) copy.put(key, properties.get(key));
        } catch (IOException | InvalidSyntaxException | IllegalStateException e) {
            LOG.log(Level.ERROR, "configuration " + pid + " can't be read: " + e.getMessage());
        }
        return copy;
    }

    private void later(Runnable change) {
        try {
            reconciler.execute(change);
        } catch (RejectedExecutionException e) {
            LOG.log(Level.DEBUG, "a configuration changed while the gateway stops");
        }
    }

    private BlockDevice configuredBy(String pid) {
        for (Map.Entry<BlockDevice, Origin> each : origins.entrySet())
            if (each.getValue().pid.equals(pid)) return each.getKey();
        return null;
    }

    private void configure(String pid) {
        Map<String, Object> properties = configured(pid);
        if (registry.stopped() || properties.isEmpty()) return;
        Origin origin = new Origin(pid, properties.get(FILE) instanceof String file ? file : null);
        try {
            BlockDevice present = configuredBy(pid);
            if (present == null) {
                DeviceSpec spec = DeviceSpec.of(properties);
                UUID id = idOf(spec, origin, properties);
                BlockDevice device = new BlockDevice(registry, spec, id);
                if (properties.get(RESIZING) instanceof Long size) device.resizing(size);
                origins.put(device, origin);
                present = registry.make(device);
                if (present == device) return;
                origins.remove(device);
                // the same device is here when it was configured anew while still in use
                if (!present.id().equals(id) || origins.putIfAbsent(present, origin) != null)
                    throw new BlockException(
                            Reason.EXISTS,
                            "there is a device '" + spec.name() + "' already, configured by "
                                    + source(origins.get(present)));
            }
            BlockDevice device = present;
            origins.put(device, origin);
            device.thread.submit(() -> apply(device, pid));
        } catch (BlockException e) {
            LOG.log(Level.ERROR, "configuration " + source(origin) + " makes no device: " + e.getMessage());
        }
    }

    private static String source(Origin origin) {
        return origin == null ? "nothing yet" : origin.file != null ? origin.file : origin.pid;
    }

    private static UUID idOf(DeviceSpec spec, Origin origin, Map<String, Object> properties) throws BlockException {
        Object given = properties.get(ID);
        // a file can't be written to, so its devices are known by what stays the same when it is read again
        if (given == null)
            return UUID.nameUUIDFromBytes(
                    ("dblock " + spec.name() + " " + source(origin)).getBytes(StandardCharsets.UTF_8));
        try {
            return UUID.fromString(given.toString());
        } catch (IllegalArgumentException e) {
            throw new BlockException(Reason.INVALID, "id '" + given + "' is no UUID: leave it out, and one is derived");
        }
    }

    /** Makes a device what is configured. On its control thread, as the commands that change its configuration. */
    private void apply(BlockDevice device, String pid) {
        Map<String, Object> properties = configured(pid);
        if (properties.isEmpty()) return; // deleted since, which is told next
        DeviceSpec old = device.spec();
        DeviceSpec spec;
        try {
            spec = DeviceSpec.of(properties);
        } catch (BlockException e) {
            LOG.log(Level.ERROR, "device " + device.name() + " stays as it is: " + e.getMessage());
            return;
        }
        boolean alike = new DeviceSpec(
                        spec.name(),
                        spec.backend(),
                        spec.volume(),
                        old.size(),
                        spec.blockSize(),
                        spec.readOnly(),
                        old.create(),
                        old.queueDepth(),
                        old.parkSeconds(),
                        old.exports(),
                        spec.options())
                .equals(old);
        if (!alike) {
            later(() -> replace(device, pid));
            return;
        }
        device.outdated(null);
        if (spec.equals(old)) return;
        long size = old.size();
        try {
            if (spec.size() != old.size() && spec.size() != 0) device.control.resize(spec.size());
            size = spec.size();
        } catch (BlockException e) {
            LOG.log(Level.ERROR, "device " + device.name() + " keeps its size: " + e.getMessage());
        }
        device.spec(spec.withSize(size));
        device.control.reconcile();
    }

    /**
     * Removes a device that is not what is configured, or not configured at all, and makes what is configured instead.
     * While it is in use it goes on as it is; its last client's leaving calls this again, or {@link #whenUnused}.
     */
    void replace(BlockDevice device, String pid) {
        DeviceRegistry.removal(device, false, () -> {})
                .whenComplete((done, failure) -> later(() -> {
                    if (failure == null) {
                        registry.forget(device);
                        configure(pid);
                    } else if (device.state() != Device.State.REMOVED) {
                        LOG.log(
                                Level.WARNING,
                                "the configuration of device " + device.name()
                                        + " is gone or changed, which takes effect when its last client leaves: "
                                        + failure.getMessage());
                        device.outdated(pid);
                        if (BlockException.reasonOf(failure) == Reason.IN_USE) whenUnused(device, pid);
                    }
                }));
    }

    /** Replaces a device when nobody uses it: a client need not leave for that, a kernel device stays when closed. */
    private void whenUnused(BlockDevice device, String pid) {
        if (!pid.equals(device.outdated())) return;
        if (device.clients().isEmpty()) replace(device, pid);
        else
            registry.clock.schedule(
                    () -> later(() -> whenUnused(device, pid)), DeviceRegistry.LOOK_NANOS, TimeUnit.NANOSECONDS);
    }
}
