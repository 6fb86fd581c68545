package org.dblock.backend.file;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.dblock.api.BlockException;
import org.dblock.api.BlockStore;
import org.dblock.api.BlockVolume;
import org.dblock.api.Geometry;
import org.dblock.api.Reason;
import org.dblock.api.VolumeInfo;
import org.dblock.api.VolumeSpec;
import org.osgi.framework.BundleContext;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.metatype.annotations.AttributeDefinition;
import org.osgi.service.metatype.annotations.ObjectClassDefinition;

/**
 * Raw images and block devices of this host. A volume's name is a path; a relative one lies in this store's own folder,
 * {@code volumes/file} of the gateway's home.
 *
 * <p>A volume that is open for writing is locked (flock(2), and O_EXCL for block devices); readers share.
 */
@Component(property = BlockStore.BACKEND + "=file")
public final class FileBlockStore implements BlockStore {
    private static final int LARGEST_BLOCK = 4096;

    private final Path folder;

    /** The options of a volume. */
    @ObjectClassDefinition(
            name = "file",
            factoryPid = BlockStore.OPTIONS + "file",
            description = "an image file or a block device of this host; the volume is its path")
    public @interface Options {
        /** Whether a new image takes its whole size of the disk at once, and keeps it. */
        @AttributeDefinition(
                required = false,
                description = "take the whole size of the disk at once and never give any back")
        boolean preallocate() default false;

        /** Whether to bypass the page cache. */
        @AttributeDefinition(
                required = false,
                description = "bypass the host's page cache (O_DIRECT); blocks of 4096 bytes")
        boolean direct() default false;
    }

    /** For Declarative Services. */
    @Activate
    public FileBlockStore(BundleContext context) {
        this(Path.of(Optional.ofNullable(context.getProperty("dblock.home")).orElse("dblock"))
                .toAbsolutePath()
                .resolve("volumes/file"));
    }

    /** A store whose relative volumes lie in a folder. */
    FileBlockStore(Path folder) {
        this.folder = folder;
        Posix.bind();
    }

    @Deactivate
    void deactivate() {
        Posix.unbind();
    }

    @Override
    public BlockVolume open(VolumeSpec spec) throws IOException {
        Options options = spec.options(Options.class);
        Path path = path(spec);
        boolean device = Files.exists(path) && Host.isBlockDevice(path);
        boolean create = spec.create() && !spec.readOnly() && !device;
        boolean isNew = !Files.exists(path);
        checkPlace(spec, path, create);
        int flags = spec.readOnly() ? Posix.O_RDONLY : Posix.O_RDWR;
        if (create) flags |= Posix.O_CREAT;
        if (device && !spec.readOnly()) flags |= Posix.O_EXCL;
        Descriptor descriptor = Descriptor.open(path.toString(), flags);
        FileChannel channel = null;
        try {
            if (!device) lock(descriptor, path, !spec.readOnly());
            int blockSize = blockSize(spec, options, path, device);
            if (create && descriptor.size() == 0) create(spec, path, descriptor, blockSize);
            if (options.preallocate() && !device && !spec.readOnly()) preallocate(path, descriptor);
            Geometry geometry = Geometry.of(size(spec, path, descriptor, blockSize), blockSize)
                    .withIo(Math.max(blockSize, LARGEST_BLOCK), 0)
                    .withReadOnly(spec.readOnly());
            channel = channel(path, spec.readOnly(), options.direct());
            return new FileVolume(
                    path, descriptor, channel, geometry, device, options.direct(), options.preallocate() && !device);
        } catch (IOException | RuntimeException | Error e) { // a bundle whose classes don't load, too
            if (channel != null) channel.close();
            if (isNew && BlockException.reasonOf(e) != Reason.IN_USE) Files.deleteIfExists(path);
            descriptor.close();
            throw e;
        }
    }

    /** Lists the images in the store's own folder. */
    @Override
    public List<VolumeInfo> list(VolumeSpec spec) throws IOException {
        List<VolumeInfo> list = new ArrayList<>();
        if (!Files.isDirectory(folder)) return list;
        try (Stream<Path> files = Files.walk(folder)) {
            for (Path file : (Iterable<Path>) files.filter(Files::isRegularFile).sorted()::iterator)
                list.add(new VolumeInfo(folder.relativize(file).toString(), Files.size(file), allocated(file)));
        }
        return list;
    }

    @Override
    public void delete(VolumeSpec spec) throws IOException {
        Path path = path(spec);
        if (!Files.exists(path)) return;
        if (!Files.isRegularFile(path))
            throw new BlockException(Reason.UNSUPPORTED, path + " is no image file: only those can be deleted");
        try (Descriptor descriptor = Descriptor.open(path.toString(), Posix.O_RDWR)) {
            lock(descriptor, path, true);
            Files.deleteIfExists(path);
        }
    }

    private Path path(VolumeSpec spec) throws IOException {
        if (spec.volume().isBlank() || spec.volume().indexOf(0) >= 0)
            throw new BlockException(Reason.INVALID, "volume '" + spec.volume() + "': must be the path of a file");
        Path path = folder.resolve(spec.volume()).normalize();
        if (!Path.of(spec.volume()).isAbsolute() && !path.startsWith(folder))
            throw new BlockException(
                    Reason.INVALID,
                    "volume '" + spec.volume() + "' leads out of " + folder + ": write an absolute path");
        return Files.exists(path) ? path.toRealPath() : path;
    }

    private void checkPlace(VolumeSpec spec, Path path, boolean create) throws IOException {
        boolean exists = Files.exists(path);
        if (exists && !Files.isRegularFile(path) && !Host.isBlockDevice(path))
            throw new BlockException(Reason.INVALID, path + " is neither a file nor a block device");
        if (!exists && !create)
            throw new BlockException(Reason.NOT_FOUND, "there is no " + path + ": create the volume, with a size");
        if (!exists && spec.size() == 0)
            throw new BlockException(Reason.NOT_FOUND, "there is no " + path + ": give a size to create it");
        Path parent = path.getParent();
        if (path.startsWith(folder)) Files.createDirectories(parent);
        if (!Files.isDirectory(parent))
            throw new BlockException(Reason.NOT_FOUND, "there is no folder " + parent + " to create " + path + " in");
        Optional<String> own = Host.dblockDevice(exists ? path : parent);
        if (own.isPresent())
            throw new BlockException(
                    Reason.INVALID,
                    path + " lies on " + own.get() + ", a dblock device: writing it back would wait for itself;"
                            + " choose a place on another disk");
    }

    private static void lock(Descriptor descriptor, Path path, boolean exclusive) throws IOException {
        if (!descriptor.lock(exclusive))
            throw new BlockException(
                    Reason.IN_USE, path + " is open in " + Host.lockHolder(path) + ": close it there first");
        if (!descriptor.isAt(path)) throw new BlockException(Reason.IN_USE, path + " has been deleted just now");
    }

    private static int blockSize(VolumeSpec spec, Options options, Path path, boolean device) throws IOException {
        int least = device ? Host.blockSize(path) : 512;
        if (options.direct())
            least = (int) Math.max(least, Files.getFileStore(path).getBlockSize());
        if (least > LARGEST_BLOCK)
            throw new BlockException(
                    Reason.INVALID, path + " wants blocks of " + least + " bytes: the most is " + LARGEST_BLOCK);
        int size = spec.blockSize() == 0 ? least : spec.blockSize();
        if (size < least || size > LARGEST_BLOCK || Integer.bitCount(size) != 1)
            throw new BlockException(
                    Reason.INVALID,
                    "block size " + size + " for " + path + (options.direct() ? " with 'direct'" : "")
                            + ": must be a power of two from " + least + " to " + LARGEST_BLOCK);
        return size;
    }

    private static void create(VolumeSpec spec, Path path, Descriptor descriptor, int blockSize) throws IOException {
        if (spec.size() <= 0 || spec.size() % blockSize != 0)
            throw new BlockException(
                    Reason.INVALID, "size " + spec.size() + " for a new volume: must be a multiple of " + blockSize);
        descriptor.truncate(spec.size());
        // or a crash of the host could lose its size, or the name of what has been flushed
        try (FileChannel file = FileChannel.open(path, StandardOpenOption.WRITE);
                FileChannel parent = FileChannel.open(path.getParent())) {
            file.force(true);
            parent.force(true);
        }
    }

    private static void preallocate(Path path, Descriptor descriptor) throws IOException {
        if (!descriptor.allocate(0, 0, descriptor.size()))
            throw new BlockException(
                    Reason.UNSUPPORTED, "the file system of " + path + " can't preallocate: do without");
    }

    private static long size(VolumeSpec spec, Path path, Descriptor descriptor, int blockSize) throws IOException {
        long size = descriptor.size();
        if (spec.size() != 0 && spec.size() != size)
            throw new BlockException(
                    Reason.INVALID,
                    path + " has " + size + " bytes, not " + spec.size() + ": give no size, or resize it");
        if (size == 0 || size % blockSize != 0)
            throw new BlockException(
                    Reason.INVALID,
                    path + " has " + size + " bytes: must be a multiple of the block size, " + blockSize);
        return size;
    }

    private static FileChannel channel(Path path, boolean readOnly, boolean direct) throws IOException {
        Set<OpenOption> how = new HashSet<>(Set.of(StandardOpenOption.READ));
        if (!readOnly) how.add(StandardOpenOption.WRITE);
        if (!direct) return FileChannel.open(path, how);
        try {
            // a package of the JDK's that few frameworks export
            Class<?> more = ClassLoader.getPlatformClassLoader().loadClass("com.sun.nio.file.ExtendedOpenOption");
            how.add((OpenOption) more.getField("DIRECT").get(null));
            return FileChannel.open(path, how);
        } catch (ReflectiveOperationException e) {
            throw new BlockException(Reason.UNSUPPORTED, "this Java runtime can't open with 'direct': " + e, e);
        } catch (IOException e) {
            throw new BlockException(
                    Reason.UNSUPPORTED, "can't open " + path + " with 'direct', do without: " + e.getMessage(), e);
        }
    }

    private static long allocated(Path file) {
        long sum = 0;
        try (Descriptor descriptor = Descriptor.open(file.toString(), Posix.O_RDONLY)) {
            for (long at = 0; (at = descriptor.seek(at, Posix.SEEK_DATA)) >= 0; ) {
                long end = descriptor.seek(at, Posix.SEEK_HOLE);
                sum += end - at;
                at = end;
            }
            return sum;
        } catch (IOException e) {
            return -1;
        }
    }
}
