package org.dblock.backend.ramdisk;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.dblock.api.BlockException;
import org.dblock.api.BlockStore;
import org.dblock.api.BlockVolume;
import org.dblock.api.Reason;
import org.dblock.api.Size;
import org.dblock.api.VolumeInfo;
import org.dblock.api.VolumeSpec;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Modified;
import org.osgi.service.metatype.annotations.AttributeDefinition;
import org.osgi.service.metatype.annotations.Designate;
import org.osgi.service.metatype.annotations.ObjectClassDefinition;

/**
 * Volumes in memory, outside the Java heap: sparse, as fast as memory, gone with the process. Contents belong to this
 * store: closing a volume keeps them, and an update of the bundle keeps those of every open volume.
 */
@Component(
        configurationPid = "org.dblock.backend.ramdisk",
        immediate = true, // or the contents would go when nobody holds the service
        property = BlockStore.BACKEND + "=ramdisk",
        service = BlockStore.class)
@Designate(ocd = RamBlockStore.Settings.class)
public final class RamBlockStore implements BlockStore {
    private static final System.Logger LOG = System.getLogger(RamBlockStore.class.getName());

    private static final int BLOCK_SIZE = 512;
    private static final long LARGEST = 1L << 50;

    private final Budget budget;
    private final Map<String, Ramdisk> disks = new HashMap<>();
    private final Map<Ramdisk, BlockVolume> open = new HashMap<>();

    /** What is set for all ramdisks together. */
    @ObjectClassDefinition(name = "Ramdisks", description = "All ramdisks together")
    public @interface Settings {
        /** The memory that all ramdisks together may take. */
        @AttributeDefinition(
                description = "the memory that all ramdisks together may take, like 8G; empty: half of the machine's",
                required = false)
        String limit() default "";
    }

    /** The options of a volume: there are none. */
    @ObjectClassDefinition(
            name = "ramdisk",
            factoryPid = BlockStore.OPTIONS + "ramdisk",
            description = "memory of this process: sparse, fast, empty after a restart")
    @interface Options {}

    /**
     * For Declarative Services.
     *
     * @throws IllegalArgumentException if the limit is no size
     */
    @Activate
    public RamBlockStore(Settings settings) {
        budget = new Budget(limit(settings));
        Posix.bind();
    }

    @Modified
    void modified(Settings settings) {
        budget.limit(limit(settings));
    }

    @Deactivate
    synchronized void deactivate() {
        for (Ramdisk disk : disks.values()) {
            LOG.log(
                    System.Logger.Level.INFO,
                    "ramdisk ''{0}'' is freed with its backend: no device has it open",
                    disk.name());
            free(disk);
        }
        disks.clear();
        Posix.unbind();
    }

    @Override
    public synchronized BlockVolume open(VolumeSpec spec) throws IOException {
        Ramdisk present = disks.get(spec.volume());
        if (open.containsKey(present))
            throw new BlockException(
                    Reason.IN_USE,
                    "ramdisk '" + spec.volume() + "' is open already, in this process: close that device first");
        Ramdisk inherited = Ramdisk.adopt(spec.inherited(), budget);
        Ramdisk disk = inherited != null ? inherited : present != null ? present : create(spec);
        RamVolume volume;
        try {
            checkFits(spec, disk);
            volume = new RamVolume(this, disk, spec.readOnly());
        } catch (BlockException | RuntimeException | Error e) { // a bundle whose classes don't load, too
            if (inherited != null) spec.inherited().putAll(inherited.handOver());
            throw e;
        }
        if (inherited != null && present != null) free(present); // left behind by a device that went on elsewhere
        disks.put(spec.volume(), disk);
        open.put(disk, volume);
        return volume;
    }

    @Override
    public synchronized List<VolumeInfo> list(VolumeSpec spec) {
        List<VolumeInfo> list = new ArrayList<>();
        disks.forEach((name, disk) -> list.add(new VolumeInfo(name, disk.size(), disk.allocated())));
        return list;
    }

    @Override
    public synchronized void delete(VolumeSpec spec) throws IOException {
        Ramdisk disk = disks.get(spec.volume());
        if (open.containsKey(disk))
            throw new BlockException(Reason.IN_USE, "ramdisk '" + spec.volume() + "' is open: remove its device first");
        if (disk != null) free(disks.remove(spec.volume()));
    }

    Budget budget() {
        return budget;
    }

    synchronized void closed(RamVolume volume, Ramdisk disk) {
        open.remove(disk, volume);
    }

    /** Forgets an open disk, whose contents go elsewhere; false if it isn't open here. */
    synchronized boolean release(Ramdisk disk) {
        return open.remove(disk) != null && disks.values().remove(disk);
    }

    static void checkSize(long size, int blockSize) throws BlockException {
        if (size <= 0 || size > LARGEST || size % blockSize != 0)
            throw new BlockException(
                    Reason.INVALID,
                    "size " + size + " of a ramdisk: must be a multiple of " + blockSize + " from " + blockSize + " to "
                            + Size.exact(LARGEST));
    }

    private Ramdisk create(VolumeSpec spec) throws IOException {
        if (!spec.create())
            throw new BlockException(
                    Reason.NOT_FOUND,
                    "no ramdisk '" + spec.volume() + "': create it, with a size; there are " + disks.keySet());
        int blockSize = spec.blockSize() == 0 ? BLOCK_SIZE : spec.blockSize();
        if (blockSize < 512 || blockSize > 4096 || Integer.bitCount(blockSize) != 1)
            throw new BlockException(Reason.INVALID, "block size " + blockSize + ": must be 512, 1024, 2048 or 4096");
        checkSize(spec.size(), blockSize);
        return Ramdisk.create(spec.volume(), spec.size(), blockSize, budget);
    }

    private static void checkFits(VolumeSpec spec, Ramdisk disk) throws BlockException {
        if (spec.size() != 0 && spec.size() != disk.size())
            throw new BlockException(
                    Reason.INVALID,
                    "ramdisk '" + spec.volume() + "' has " + disk.size() + " bytes, not " + spec.size()
                            + ": give no size, or resize it");
        if (spec.blockSize() != 0 && spec.blockSize() != disk.blockSize())
            throw new BlockException(
                    Reason.INVALID,
                    "ramdisk '" + spec.volume() + "' has blocks of " + disk.blockSize() + " bytes, not "
                            + spec.blockSize());
    }

    private static void free(Ramdisk disk) {
        try {
            disk.free();
        } catch (IOException e) {
            LOG.log(System.Logger.Level.WARNING, "ramdisk '" + disk.name() + "' could not be freed", e);
        }
    }

    private static long limit(Settings settings) {
        return settings.limit().isBlank() ? machineMemory() / 2 : Size.parse(settings.limit());
    }

    /** In bytes; of a control group that has less, its limit. */
    private static long machineMemory() {
        try (Stream<String> lines = Files.lines(Path.of("/proc/meminfo"))) {
            long total = lines.filter(line -> line.startsWith("MemTotal:"))
                    .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")) << 10)
                    .findFirst()
                    .orElseThrow();
            Path group = Path.of("/sys/fs/cgroup/memory.max"); // as a container sees its own
            String most = Files.exists(group) ? Files.readString(group).strip() : "max";
            return most.equals("max") ? total : Math.min(total, Long.parseLong(most));
        } catch (IOException e) {
            throw new UncheckedIOException(
                    "set 'limit' of org.dblock.backend.ramdisk: can't tell the memory's size", e);
        }
    }
}
