package org.dblock.backend.s3;

import java.io.IOException;
import java.net.InetAddress;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.function.Function;
import org.dblock.api.BlockException;
import org.dblock.api.BlockStore;
import org.dblock.api.BlockVolume;
import org.dblock.api.InspectableStore;
import org.dblock.api.Inspection;
import org.dblock.api.Reason;
import org.dblock.api.VolumeInfo;
import org.dblock.api.VolumeSpec;
import org.osgi.framework.BundleContext;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;

/** Volumes in S3 buckets. */
@Component(service = BlockStore.class, property = BlockStore.BACKEND + "=s3")
public final class S3Store implements InspectableStore {
    private static final int WINDOW = 8;
    /** The smallest block size. */
    private static final int SMALLEST = 512;

    private static final long SECOND = 1_000_000_000L;

    private final Path folder;
    private final Path caches;
    private final Function<S3Options, ObjectStore> connect;
    private final Journals journals;
    private final Set<String> proven = new HashSet<>();
    private final Set<String> open = new HashSet<>();

    /** For Declarative Services. */
    @Activate
    public S3Store(BundleContext context) {
        this(
                home(context).resolve("volumes/s3"),
                home(context).resolve("cache/s3"),
                AwsObjectStore::new,
                FileDisk::new);
    }

    S3Store(Path folder, Function<S3Options, ObjectStore> connect) {
        this(folder, connect, FileDisk::new);
    }

    S3Store(Path folder, Function<S3Options, ObjectStore> connect, Journals journals) {
        this(folder, folder.resolve("cache"), connect, journals);
    }

    private S3Store(Path folder, Path caches, Function<S3Options, ObjectStore> connect, Journals journals) {
        this.folder = folder;
        this.caches = caches;
        this.connect = connect;
        this.journals = journals;
    }

    /** Opens journals. */
    interface Journals {
        Disk open(Path journal) throws IOException;
    }

    private static Path home(BundleContext context) {
        String home = context.getProperty("dblock.home");
        return Path.of(home == null ? "dblock" : home);
    }

    /** What one call, and the volume that it opens, work with. */
    private record Session(
            S3Options options, String name, ObjectStore store, Scheduler scheduler, Bucket bucket, Settings settings) {
        void close() {
            scheduler.lock();
            bucket.end();
            scheduler.unlock();
            scheduler.join(0);
            store.close();
        }

        String nameKey() {
            return Keys.names(options.prefix()) + URLEncoder.encode(name, StandardCharsets.UTF_8);
        }

        Keys keys(UUID volume) {
            return new Keys(options.prefix(), volume);
        }
    }

    private Session session(VolumeSpec spec) throws BlockException {
        if (!spec.options().containsKey("bucket"))
            throw new BlockException(Reason.INVALID, "option bucket is missing: name the bucket that holds the volume");
        S3Options options = spec.options(S3Options.class);
        check(options);
        ObjectStore store = connect.apply(options);
        Scheduler scheduler = new Threads(spec.volume());
        return new Session(
                options,
                spec.volume(),
                store,
                scheduler,
                new Bucket(store, scheduler, spec.volume()),
                settings(options));
    }

    private static void check(S3Options options) throws BlockException {
        if (options.bucket().isEmpty()) throw new BlockException(Reason.INVALID, "option bucket is empty");
        if (!options.prefix().isEmpty() && !options.prefix().endsWith("/"))
            throw new BlockException(
                    Reason.INVALID, "prefix '" + options.prefix() + "': must be empty or end in a slash");
        if (!Set.of("local-durable", "remote-durable").contains(options.flush()))
            throw new BlockException(
                    Reason.INVALID, "flush '" + options.flush() + "': must be local-durable or remote-durable");
        range("journalSize", options.journalSize(), 1 << 20, 1L << 40);
        range("cacheSize", options.cacheSize(), 0, 1L << 40);
        range("diskCacheSize", options.diskCacheSize(), 0, 1L << 40);
        range("objectSize", options.objectSize(), 64 << 10, 64 << 20);
        range("maxLagSeconds", options.maxLagSeconds(), 0, 86400);
        range("timeoutSeconds", options.timeoutSeconds(), 1, 86400);
        range("collectBelow", options.collectBelow(), 0, 95);
        range("collectRate", options.collectRate(), 4096, 1L << 40);
    }

    private static void range(String name, long value, long least, long most) throws BlockException {
        if (value < least || value > most)
            throw new BlockException(Reason.INVALID, name + " " + value + ": must be " + least + " to " + most);
    }

    private static Settings settings(S3Options options) {
        return new Settings(
                hostName() + ", process " + ProcessHandle.current().pid(),
                options.objectSize() / Header.BLOCK,
                WINDOW,
                // half of the time is for the put
                options.maxLagSeconds() == 0 ? 2 * SECOND : Math.min(2 * SECOND, options.maxLagSeconds() * SECOND / 2),
                options.maxLagSeconds() * 1000L,
                256,
                60 * SECOND,
                SECOND / 5,
                10 * SECOND,
                options.timeoutSeconds() * SECOND,
                30 * SECOND,
                Journal.RING + options.journalSize() / Header.BLOCK * Header.BLOCK,
                options.cacheSize(),
                options.flush().equals("remote-durable"),
                options.collectBelow(),
                options.collectRate());
    }

    private static String hostName() {
        try {
            return InetAddress.getLocalHost().getHostName();
        } catch (UnknownHostException e) {
            return "a host without a name";
        }
    }

    @Override
    public BlockVolume open(VolumeSpec spec) throws IOException {
        int blockSize = spec.blockSize() == 0 ? Header.BLOCK : spec.blockSize();
        if (blockSize < SMALLEST || blockSize > Header.BLOCK || Integer.bitCount(blockSize) != 1)
            throw new BlockException(
                    Reason.INVALID, "block size " + blockSize + ": must be 512, 1024, 2048 or " + Header.BLOCK);
        if (spec.size() % blockSize != 0 || spec.size() / Header.BLOCK > State.MOST_BLOCKS)
            throw new BlockException(
                    Reason.INVALID, "size " + spec.size() + ": must be a multiple of " + blockSize + ", at most 64T");
        Session session = session(spec);
        try {
            WholeBlocks volume = open(session, spec);
            // the volume itself knows nothing of small blocks, nor does the store: they are this opening's
            if (volume.size() % blockSize != 0) blockSize = SMALLEST;
            return blockSize == Header.BLOCK ? volume : new SmallBlocks(volume, blockSize);
        } catch (IOException | RuntimeException | Error e) {
            session.close();
            throw e;
        }
    }

    private WholeBlocks open(Session session, VolumeSpec spec) throws IOException {
        if (spec.readOnly()) return look(session, spec);
        prove(session);
        Format format = find(session);
        if (format == null && spec.create()) format = create(session, spec);
        if (format == null) throw notFound(session);
        return take(session, spec, format);
    }

    private static BlockException notFound(Session session) {
        return new BlockException(
                Reason.NOT_FOUND,
                "there is no volume '" + session.name + "' in bucket " + session.options.bucket() + " under "
                        + session.options.prefix());
    }

    /** Opens a volume for reading only: whoever owns it goes on. */
    private static S3Reader look(Session session, VolumeSpec spec) throws IOException {
        Format format = find(session);
        if (format == null) throw notFound(session);
        return new S3Reader(
                spec,
                format,
                session.bucket,
                session.keys(format.volume()),
                session.scheduler,
                session.settings,
                () -> session.close());
    }

    private S3Volume take(Session session, VolumeSpec spec, Format format) throws IOException {
        String id = session.options.endpoint() + "/" + session.options.bucket() + "/" + format.volume();
        synchronized (open) {
            if (!open.add(id))
                throw new BlockException(
                        Reason.IN_USE, "volume '" + spec.volume() + "' is open in this gateway already");
        }
        Disk disk = null;
        DiskCache cache = null;
        try {
            disk = journals.open(folder.resolve(format.volume() + ".journal"));
            Opening opening = new Opening(
                    spec.volume(),
                    format,
                    spec.size(),
                    session.bucket,
                    session.keys(format.volume()),
                    disk,
                    session.scheduler,
                    session.settings,
                    new Rules(),
                    session.options.takeover());
            opening.run();
            cache = diskCache(session.options, spec.volume(), format.volume());
            return new S3Volume(
                    spec.volume(),
                    opening,
                    session.bucket,
                    session.keys(format.volume()),
                    disk,
                    session.scheduler,
                    session.settings,
                    format.window(),
                    new Rules(),
                    spec.readOnly(),
                    cache,
                    () -> {
                        session.store.close();
                        synchronized (open) {
                            open.remove(id);
                        }
                    });
        } catch (IOException | RuntimeException | Error e) {
            if (cache != null) cache.close();
            if (disk != null) disk.close();
            synchronized (open) {
                open.remove(id);
            }
            throw e;
        }
    }

    /** The volume's cache on the local disk; null: it wants none. */
    private DiskCache diskCache(S3Options options, String name, UUID volume) {
        if (options.diskCacheSize() == 0) return null;
        Path folder = options.diskCacheFolder().isEmpty() ? caches : Path.of(options.diskCacheFolder());
        return new DiskCache(name, folder.resolve(volume + ".cache"), options.diskCacheSize());
    }

    /** Lets the store show, once, that it can keep gateways apart. */
    private void prove(Session session) throws IOException {
        String where = session.options.endpoint() + " " + session.options.bucket() + " " + session.options.prefix();
        synchronized (proven) {
            if (proven.contains(where)) return;
        }
        try {
            Probe.check(session.store, session.options.prefix());
        } catch (BlockException e) {
            throw e;
        } catch (IOException e) {
            throw new BlockException(Reason.IO, "the object store can't be used: " + e.getMessage(), e);
        }
        synchronized (proven) {
            proven.add(where);
        }
    }

    /** The volume of the session's name; null: there is none. */
    private static Format find(Session session) throws IOException {
        long patience = session.settings.patienceNanos();
        try {
            ByteBuffer id = session.bucket.get(session.nameKey(), 0, 64, patience);
            UUID volume = UUID.fromString(StandardCharsets.US_ASCII.decode(id).toString());
            try {
                return Format.read(session.bucket, session.keys(volume), patience);
            } catch (ObjectStore.Missing e) {
                var left = session.bucket.list(session.keys(volume).all(), "", 1, patience);
                if (!left.isEmpty())
                    throw new Corruption("volume '" + session.name + "' is damaged: " + e.getMessage()
                            + ", but there is " + left.get(0).key());
                // a name that was put late, after the volume had been deleted
                session.bucket.delete(List.of(session.nameKey()), patience);
                return null;
            }
        } catch (ObjectStore.Missing e) {
            return null;
        } catch (IllegalArgumentException e) {
            throw new Corruption("object " + session.nameKey() + " holds no UUID");
        }
    }

    private static Format create(Session session, VolumeSpec spec) throws IOException {
        if (spec.size() == 0)
            throw new BlockException(
                    Reason.INVALID, "volume '" + spec.volume() + "' doesn't exist, and to create it a size is needed");
        long patience = session.settings.patienceNanos();
        Format format = new Format(UUID.randomUUID(), spec.size(), session.settings.window());
        format.create(session.bucket, session.keys(format.volume()), patience);
        ByteBuffer id = ByteBuffer.wrap(format.volume().toString().getBytes(StandardCharsets.US_ASCII));
        if (session.bucket.putIfAbsent(session.nameKey(), id, patience)) return format;
        // somebody else was faster, or the reply to a first try was lost
        Format named = find(session);
        if (named == null || !named.volume().equals(format.volume()))
            session.bucket.delete(List.of(session.keys(format.volume()).format()), patience);
        return named;
    }

    @Override
    public List<VolumeInfo> list(VolumeSpec spec) throws IOException {
        Session session = session(spec);
        try {
            List<VolumeInfo> volumes = new ArrayList<>();
            String prefix = Keys.names(session.options.prefix());
            String after = "";
            while (true) {
                var some = session.bucket.list(prefix, after, 1000, session.settings.patienceNanos());
                for (ObjectStore.Item item : some) {
                    after = item.key();
                    String name = URLDecoder.decode(after.substring(prefix.length()), StandardCharsets.UTF_8);
                    volumes.add(new VolumeInfo(name, 0, -1));
                }
                if (some.size() < 1000) return volumes;
            }
        } finally {
            session.close();
        }
    }

    @Override
    public Inspection inspect(VolumeSpec spec, boolean scrub) throws IOException {
        Session session = session(spec);
        try {
            Format format = find(session);
            if (format == null) throw notFound(session);
            Keys keys = session.keys(format.volume());
            return new Inspector(session.bucket, keys, format, session.scheduler, session.settings, scrub).run();
        } finally {
            session.close();
        }
    }

    @Override
    public void delete(VolumeSpec spec) throws IOException {
        Session session = session(spec);
        Format format;
        try {
            prove(session);
            format = find(session);
            if (format == null) {
                session.close();
                return;
            }
            S3Volume volume = null;
            try {
                volume = take(session, spec.withSize(0), format);
            } catch (BlockException e) {
                if (e.reason() != Reason.NOT_FOUND) throw e; // a deletion that did not end: go on with it
            }
            if (volume != null) volume.closeDeleted();
        } catch (IOException | RuntimeException | Error e) {
            session.close();
            throw e;
        }
        session.close();
        Session last = session(spec);
        try {
            erase(last, format);
        } finally {
            last.close();
        }
    }

    /** Deletes the name, the data, then what stops an owner that is late, and at the very end the format. */
    private static void erase(Session session, Format format) throws IOException {
        long patience = session.settings.patienceNanos();
        Keys keys = session.keys(format.volume());
        session.bucket.delete(List.of(session.nameKey()), patience);
        List<String> late = new ArrayList<>();
        String after = "";
        while (true) {
            List<String> data = new ArrayList<>();
            var some = session.bucket.list(keys.all(), after, 1000, patience);
            for (ObjectStore.Item item : some) {
                after = item.key();
                boolean mayStop = after.startsWith(keys.logs()) && item.size() == Header.BLOCK;
                if (mayStop) late.add(after);
                else if (!after.equals(keys.format())) data.add(after);
            }
            session.bucket.delete(data, patience);
            if (some.size() < 1000) break;
        }
        session.bucket.delete(late, patience);
        session.bucket.delete(List.of(keys.format()), patience);
    }
}
