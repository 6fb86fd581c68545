package org.dblock.shell;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import org.dblock.api.BlockException;
import org.dblock.api.Capability;
import org.dblock.api.Geometry;
import org.dblock.api.Inspection;
import org.dblock.api.Persistence;
import org.dblock.api.Reason;
import org.dblock.api.SnapshotInfo;
import org.dblock.api.VolumeInfo;
import org.dblock.api.device.Backend;
import org.dblock.api.device.Client;
import org.dblock.api.device.Connection;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceSpec;
import org.dblock.api.device.DeviceStats;
import org.dblock.api.device.Devices;
import org.dblock.api.device.Export;

/** Devices without volumes: remembers what it was told, and shows it. */
final class FakeDevices implements Devices {
    final Map<String, FakeDevice> devices = new TreeMap<>();
    final List<String> calls = new ArrayList<>();
    Inspection inspection = new Inspection(Map.of(), List.of());
    final List<SnapshotInfo> snapshots = new ArrayList<>();
    final List<VolumeInfo> volumes = new ArrayList<>();
    final List<Backend> backends = new ArrayList<>(List.of(
            new Backend("ramdisk", "org.dblock.backend.ramdisk", "0.1.0", "Memory of the gateway", List.of()),
            new Backend(
                    "file",
                    "org.dblock.backend.file",
                    "0.1.0",
                    "A file or a block device",
                    List.of(
                            new Backend.Option("direct", "Boolean", false, "false", List.of(), "bypass the page cache"),
                            new Backend.Option(
                                    "allocate", "String", false, "sparse", List.of("sparse", "full"), "how it is made"),
                            new Backend.Option("chunk", "Long", false, "", List.of(), "bytes at a time"),
                            new Backend.Option("retries", "Integer", false, "", List.of(), "how often"),
                            new Backend.Option("key", "Password", false, "", List.of(), "a secret")))));

    /** With a device named demo. */
    static FakeDevices withDemo() throws BlockException {
        FakeDevices devices = new FakeDevices();
        devices.create(DeviceSpec.of("demo", "ramdisk", 1L << 30).withExports(List.of("nbd")));
        devices.calls.clear();
        return devices;
    }

    @Override
    public List<Device> list() {
        return List.copyOf(devices.values());
    }

    @Override
    public Optional<Device> find(String name) {
        return Optional.ofNullable(devices.get(name));
    }

    @Override
    public Device create(DeviceSpec spec) throws BlockException {
        spec.check();
        calls.add("create " + spec);
        if (devices.containsKey(spec.name()))
            throw new BlockException(Reason.EXISTS, "device '" + spec.name() + "' exists already");
        devices.put(spec.name(), new FakeDevice(spec));
        return devices.get(spec.name());
    }

    @Override
    public void remove(String name, boolean force) throws BlockException {
        calls.add("remove " + name + (force ? " by force" : ""));
        if (!devices.get(name).clients.isEmpty() && !force)
            throw new BlockException(Reason.IN_USE, "device '" + name + "' is in use: " + devices.get(name).clients);
        devices.remove(name).state = Device.State.REMOVED;
    }

    @Override
    public void resize(String name, long size) {
        calls.add("resize " + name + " " + size);
        devices.get(name).spec = devices.get(name).spec.withSize(size);
    }

    @Override
    public void export(String name, String export) {
        calls.add("export " + name + " " + export);
        FakeDevice device = devices.get(name);
        List<String> exports = new ArrayList<>(device.spec.exports());
        exports.add(export);
        device.spec = device.spec.withExports(exports);
    }

    @Override
    public void unexport(String name, String frontEnd, boolean force) {
        calls.add("unexport " + name + " " + frontEnd + (force ? " by force" : ""));
    }

    @Override
    public List<Backend> backends() {
        return backends;
    }

    @Override
    public List<String> frontEnds() {
        return List.of("kernel", "nbd");
    }

    @Override
    public List<VolumeInfo> volumes(String backend, Map<String, Object> options) {
        calls.add("volumes " + backend + " " + options);
        return volumes;
    }

    @Override
    public Inspection inspect(String backend, String volume, Map<String, Object> options, boolean scrub) {
        calls.add("inspect " + backend + " " + volume + " " + options + (scrub ? " scrub" : ""));
        return inspection;
    }

    @Override
    public void snapshot(String name, String snapshot) {
        calls.add("snapshot " + name + " " + snapshot);
    }

    @Override
    public List<SnapshotInfo> snapshots(String name) {
        calls.add("snapshots " + name);
        return snapshots;
    }

    @Override
    public void deleteSnapshot(String name, String snapshot, boolean force) {
        calls.add("deleteSnapshot " + name + " " + snapshot + (force ? " by force" : ""));
    }

    @Override
    public void deleteVolume(String backend, String volume, Map<String, Object> options) {
        calls.add("deleteVolume " + backend + " " + volume + " " + options);
    }

    /** A device that has done a few things. */
    static final class FakeDevice implements Device {
        DeviceSpec spec;
        State state = State.ONLINE;
        String explanation = "";
        boolean opened = true;
        final List<String> clients = new ArrayList<>();
        final FakeStats stats = new FakeStats();

        FakeDevice(DeviceSpec spec) {
            this.spec = spec;
        }

        @Override
        public String name() {
            return spec.name();
        }

        @Override
        public UUID id() {
            return new UUID(1, 2);
        }

        @Override
        public State state() {
            return state;
        }

        @Override
        public String explanation() {
            return explanation;
        }

        @Override
        public DeviceSpec spec() {
            return spec;
        }

        @Override
        public Geometry geometry() throws BlockException {
            if (!opened) throw new BlockException(Reason.NOT_FOUND, "nothing was opened yet");
            return new Geometry(
                    spec.size() == 0 ? 1 << 20 : spec.size(),
                    512,
                    4096,
                    0,
                    spec.readOnly(),
                    false,
                    Persistence.VOLATILE,
                    Set.of(Capability.DISCARD, Capability.FAST_ZEROES));
        }

        @Override
        public Map<String, String> details() {
            return Map.of("memory", "12K");
        }

        @Override
        public DeviceStats stats() {
            return stats;
        }

        @Override
        public List<Export> exports() {
            return spec.exports().stream().<Export>map(FakeExport::new).toList();
        }

        @Override
        public List<String> clients() {
            return clients;
        }

        @Override
        public Connection connect(Client client) {
            throw new UnsupportedOperationException();
        }

        @Override
        public void park() {
            state = State.PARKED;
            explanation = "parked by hand";
        }

        @Override
        public void resume() {
            state = State.ONLINE;
            explanation = "";
        }

        private final class FakeExport implements Export {
            private final String frontEnd;

            FakeExport(String export) {
                frontEnd = export.split(",")[0];
            }

            @Override
            public String frontEnd() {
                return frontEnd;
            }

            @Override
            public String address() {
                return frontEnd + "://" + spec.name();
            }

            @Override
            public void close(End end) {}
        }
    }

    /** Counters of the past. */
    static final class FakeStats implements DeviceStats {
        @Override
        public long count(Op op) {
            return op == Op.READ ? 1001 : op == Op.WRITE ? 20 : 0;
        }

        @Override
        public long bytes(Op op) {
            return op == Op.READ ? 4096000 : 0;
        }

        @Override
        public long errors(Op op) {
            return op == Op.WRITE ? 3 : 0;
        }

        @Override
        public long latency(Op op, double quantile) {
            return op == Op.READ ? quantile < 0.9 ? 850 : 12_345 : op == Op.WRITE ? 4_500_000 : 0;
        }

        @Override
        public long fua() {
            return 7;
        }

        @Override
        public int inFlight() {
            return 2;
        }

        @Override
        public long swaps() {
            return 1;
        }

        @Override
        public long lastSwapNanos() {
            return 12_000_000;
        }
    }
}
