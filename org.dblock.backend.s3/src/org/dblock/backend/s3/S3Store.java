package org.dblock.backend.s3;

import java.io.IOException;
import java.net.InetAddress;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Function;
import java.util.regex.Pattern;
import org.dblock.api.BlockException;
import org.dblock.api.BlockStore;
import org.dblock.api.BlockVolume;
import org.dblock.api.InspectableStore;
import org.dblock.api.Inspection;
import org.dblock.api.Reason;
import org.dblock.api.SnapshotInfo;
import org.dblock.api.SnapshotStore;
import org.dblock.api.VolumeInfo;
import org.dblock.api.VolumeSpec;
import org.osgi.framework.BundleContext;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;

/** Volumes in S3 buckets. */
@Component(service = BlockStore.class, property = BlockStore.BACKEND + "=s3")
public final class S3Store implements SnapshotStore, InspectableStore {
    private static final Rules RULES = new Rules();
    private static final int WINDOW = 8;
    private static final System.Logger LOG = System.getLogger(S3Store.class.getName());
    private static final Pattern SNAPSHOT = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}");

    /** The smallest block size. */
    private static final int SMALLEST = 512;

    private static final long SECOND = 1_000_000_000L;
    /** What a reader of a snapshot hands over: the key of its pin. */
    private static final String PIN = "pin";

    /** Tells this process from those before it, whatever bundle asks. */
    private static final long PROCESS = ProcessHandle.current()
            .info()
            .startInstant()
            .map(Instant::toEpochMilli)
            .orElse(0L);

    /** How often a store may fail to answer the probe, and by how much longer each pause is. */
    private static final int PROBES = 3;

    private static final long PROBE_PAUSE = SECOND / 2;

    private final Path folder;
    private final Path caches;
    private final Function<S3Options, ObjectStore> connect;
    private final Journals journals;
    private final Set<String> proven = new HashSet<>();
    /** The volumes that are open, or being opened: then null. */
    private final Map<String, S3Volume> open = new HashMap<>();

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
        String id(Format format) {
            return options.endpoint() + "/" + options.bucket() + "/" + format.volume();
        }

        void close() {
            scheduler.lock();
            bucket.end();
            scheduler.unlock();
            scheduler.join(0);
            store.close();
        }

        String nameKey() {
            return nameKey(name);
        }

        String nameKey(String volume) {
            return Keys.names(options.prefix()) + URLEncoder.encode(volume, StandardCharsets.UTF_8);
        }

        Keys keys(UUID volume) {
            return new Keys(options.prefix(), volume);
        }

        Snapshots snapshots(Format format) {
            return new Snapshots(bucket, format.keys(options.prefix()), RULES, settings.patienceNanos());
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
        range("asideDays", options.asideDays(), 0, 36500);
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
                (int) options.objectSize() / Header.BLOCK,
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
            if (session.options.eraseDamaged())
                throw new BlockException(Reason.INVALID, "option eraseDamaged: is for delete-volume only");
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
        String snapshot = session.options.snapshot();
        if (spec.readOnly() && !snapshot.isEmpty()) return attach(session, spec, Origin.of(session, snapshot));
        if (spec.readOnly()) return look(session, spec);
        prove(session);
        Format format = find(session);
        if (format == null && spec.create())
            format = snapshot.isEmpty() ? create(session, spec) : clone(session, spec, Origin.of(session, snapshot));
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
                format.keys(session.options.prefix()),
                session.scheduler,
                session.settings,
                forNow -> {
                    session.close();
                    return Map.of();
                });
    }

    private S3Volume take(Session session, VolumeSpec spec, Format format) throws IOException {
        String id = session.id(format);
        claim(id, "volume '" + spec.volume() + "'");
        Disk disk = null;
        DiskCache cache = null;
        try {
            Path journal = folder.resolve(format.volume() + ".journal");
            disk = journals.open(journal);
            Opening opening = new Opening(
                    spec.volume(),
                    format,
                    spec.size(),
                    session.bucket,
                    format.keys(session.options.prefix()),
                    disk,
                    session.scheduler,
                    session.settings,
                    RULES,
                    session.options.takeover());
            opening.run();
            FileDisk.expire(spec.volume(), journal, session.options.asideDays(), session.scheduler.millis());
            cache = diskCache(session.options, spec.volume(), format.volume());
            S3Volume volume = new S3Volume(
                    spec.volume(),
                    opening,
                    session.bucket,
                    format.keys(session.options.prefix()),
                    disk,
                    session.scheduler,
                    session.settings,
                    format.window(),
                    RULES,
                    spec.readOnly(),
                    cache,
                    () -> {
                        session.store.close();
                        release(id);
                    });
            synchronized (open) {
                if (open.containsKey(id)) open.put(id, volume);
            }
            return volume;
        } catch (IOException | RuntimeException | Error e) {
            if (cache != null) cache.close();
            if (disk != null) disk.close();
            release(id);
            throw e;
        }
    }

    /** The volume's cache on the local disk; null: it wants none. */
    private DiskCache diskCache(S3Options options, String name, UUID volume) {
        if (options.diskCacheSize() == 0) return null;
        Path folder = options.diskCacheFolder().isEmpty() ? caches : Path.of(options.diskCacheFolder());
        return new DiskCache(name, folder.resolve(volume + ".cache"), options.diskCacheSize());
    }

    private void claim(String id, String what) throws BlockException {
        synchronized (open) {
            if (open.containsKey(id))
                throw new BlockException(Reason.IN_USE, what + " is open in this gateway already");
            open.put(id, null);
        }
    }

    private void release(String id) {
        synchronized (open) {
            open.remove(id);
        }
    }

    /** Lets the store show, once, that it can keep gateways apart. */
    private void prove(Session session) throws IOException {
        String where = session.options.endpoint() + " " + session.options.bucket() + " " + session.options.prefix();
        synchronized (proven) {
            if (proven.contains(where)) return;
        }
        for (int attempt = 1; ; attempt++) {
            try {
                Probe.check(session.store, session.options.prefix());
                break;
            } catch (BlockException e) {
                throw e;
            } catch (IOException e) {
                if (attempt == PROBES)
                    throw new BlockException(Reason.IO, "the object store can't be used: " + e.getMessage(), e);
                // a moment's trouble; what is wrong for good should be said soon
                LockSupport.parkNanos(attempt * PROBE_PAUSE);
            }
        }
        synchronized (proven) {
            proven.add(where);
        }
    }

    /** The volume of the session's name; null: there is none. */
    private static Format find(Session session) throws IOException {
        return find(session, session.nameKey());
    }

    private static Format find(Session session, String nameKey) throws IOException {
        long patience = session.settings.patienceNanos();
        while (true) {
            UUID volume = named(session, nameKey);
            if (volume == null) return null;
            Keys keys = session.keys(volume);
            Format format = Format.find(session.bucket, keys, patience);
            if (format != null) return format;
            var left = session.bucket.list(keys.all(), "", 1, patience);
            if (!left.isEmpty() && !session.bucket.exists(keys.grave(), patience))
                throw new Corruption("volume '" + session.name + "' is damaged: object " + keys.format()
                        + " is missing, but there is " + left.get(0).key());
            // what is left of a volume that was deleted, or a name that was put late
            unname(session, nameKey, volume);
        }
    }

    /** The volume that a name stands for; null: none. */
    private static UUID named(Session session, String nameKey) throws IOException {
        try {
            ByteBuffer id = session.bucket.get(nameKey, 0, 64, session.settings.patienceNanos());
            return UUID.fromString(StandardCharsets.US_ASCII.decode(id).toString());
        } catch (ObjectStore.Missing e) {
            return null;
        } catch (IllegalArgumentException e) {
            throw new Corruption("object " + nameKey + " holds no UUID");
        }
    }

    /** Takes its name from a volume that is no more; by now it may be another's, who keeps it. */
    private static void unname(Session session, String nameKey, UUID volume) throws IOException {
        if (volume.equals(named(session, nameKey)))
            session.bucket.delete(List.of(nameKey), session.settings.patienceNanos());
    }

    private static Format create(Session session, VolumeSpec spec) throws IOException {
        if (spec.size() == 0)
            throw new BlockException(
                    Reason.INVALID, "volume '" + spec.volume() + "' doesn't exist, and to create it a size is needed");
        Format format = new Format(UUID.randomUUID(), spec.size(), session.settings.window());
        format.create(session.bucket, session.keys(format.volume()), session.settings.patienceNanos());
        return name(session, format);
    }

    /** Gives a new volume its name; returns the one that has it. */
    private static Format name(Session session, Format format) throws IOException {
        long patience = session.settings.patienceNanos();
        ByteBuffer id = ByteBuffer.wrap(format.volume().toString().getBytes(StandardCharsets.US_ASCII));
        while (!session.bucket.putIfAbsent(session.nameKey(), id, patience)) {
            // somebody else was faster, or the reply to a first try was lost
            Format named = find(session);
            if (named == null) continue; // one that is deleted, and has lost the name by now
            if (!named.volume().equals(format.volume()))
                session.bucket.delete(List.of(session.keys(format.volume()).format()), patience);
            return named;
        }
        return format;
    }

    // ---- snapshots

    /** A snapshot by its name, with the volume that it belongs to. */
    private record Origin(String name, Format volume, String snapshot) {
        /** @param text VOLUME@SNAPSHOT */
        static Origin of(Session session, String text) throws IOException {
            int at = text.lastIndexOf('@');
            if (at < 1 || at == text.length() - 1)
                throw new BlockException(
                        Reason.INVALID, "snapshot '" + text + "': must be VOLUME@SNAPSHOT, e.g. vault@monday");
            String volume = text.substring(0, at);
            return new Origin(text, existing(session, volume), text.substring(at + 1));
        }
    }

    private static Format existing(Session session, String volume) throws IOException {
        Format format = find(session, session.nameKey(volume));
        if (format == null)
            throw new BlockException(
                    Reason.NOT_FOUND,
                    "there is no volume '" + volume + "' in bucket " + session.options.bucket() + " under "
                            + session.options.prefix());
        return format;
    }

    private S3Volume openHere(Session session, Format format) {
        synchronized (open) {
            return open.get(session.id(format));
        }
    }

    private Snapshots.Entry find(Session session, Format format, String volume, String snapshot) throws IOException {
        S3Volume here = openHere(session, format);
        if (here != null) here.awaitSnapshot(snapshot);
        Snapshots snapshots = session.snapshots(format);
        Snapshots.Entry entry = snapshots.find(snapshot);
        if (entry != null) return entry;
        List<String> names =
                snapshots.list().stream().map(Snapshots.Entry::name).toList();
        throw new BlockException(
                Reason.NOT_FOUND,
                "volume '" + volume + "' has no snapshot '" + snapshot + "': there "
                        + (names.isEmpty() ? "is none" : "are " + String.join(", ", names))
                        + "; the owner of the volume writes a new one down within seconds");
    }

    /** Makes a volume that begins with a snapshot. */
    private Format clone(Session session, VolumeSpec spec, Origin origin) throws IOException {
        Format parent = origin.volume;
        String volume = origin.name.substring(0, origin.name.lastIndexOf('@'));
        Snapshots.Entry entry = find(session, parent, volume, origin.snapshot);
        Snapshots snapshots = session.snapshots(parent);
        long size = snapshots.facts(entry).size();
        if (spec.size() != 0 && spec.size() != size)
            throw new BlockException(
                    Reason.INVALID,
                    "size " + spec.size() + ": a clone begins with the size of its snapshot, " + size
                            + "; resize it afterwards");
        Format format = Cloning.format(UUID.randomUUID(), parent, entry, size, session.settings.window());
        Cloning.begin(
                session.bucket,
                session.options.prefix(),
                snapshots,
                entry,
                format,
                "volume '" + spec.volume() + "'",
                session.scheduler.millis(),
                session.settings.patienceNanos());
        Format named = name(session, format);
        if (!named.volume().equals(format.volume()))
            snapshots.unpin(entry.slot(), format.volume().toString());
        return named;
    }

    /** Opens a snapshot for reading. */
    private S3Reader attach(Session session, VolumeSpec spec, Origin origin) throws IOException {
        Format format = origin.volume;
        Keys keys = format.keys(session.options.prefix());
        long patience = session.settings.patienceNanos();
        String volume = origin.name.substring(0, origin.name.lastIndexOf('@'));
        Snapshots.Entry entry = find(session, format, volume, origin.snapshot);
        String id = session.id(format) + "@" + entry.slot() + " as " + session.name;
        claim(id, "snapshot '" + origin.name + "' as '" + session.name + "'");
        Snapshots snapshots = session.snapshots(format);
        String pin = Snapshots.reader(
                hostName() + " " + folder.toAbsolutePath() + " " + session.name,
                new UUID(PROCESS, session.scheduler.random()));
        try {
            snapshots.pin(entry, pin, "reader " + session.settings.host(), session.scheduler.millis());
            // what an earlier life of this gateway left, which ended without closing it
            snapshots.unpinEarlier(entry.slot(), pin);
            State state = new Checkpoints(session.bucket, keys, format.volume(), RULES, patience)
                    .load(keys.snapshot(entry.slot(), entry.name()), entry.slot());
            S3Reader reader = new S3Reader(
                    "snapshot '" + origin.name + "'",
                    state,
                    session.bucket,
                    keys,
                    session.scheduler,
                    session.settings,
                    forNow -> {
                        try {
                            if (!forNow) snapshots.unpin(entry.slot(), pin);
                        } finally {
                            release(id);
                            session.close();
                        }
                        return forNow ? Map.of(PIN, keys.pin(entry.slot(), pin)) : Map.of();
                    });
            if (spec.inherited().get(PIN) instanceof String left) {
                session.bucket.delete(List.of(left), patience);
                spec.inherited().remove(PIN);
            }
            return reader;
        } catch (IOException | RuntimeException | Error e) {
            release(id);
            try {
                snapshots.unpin(entry.slot(), pin);
            } catch (IOException left) {
                e.addSuppressed(left); // it goes when the snapshot is attached again, or by force
            }
            throw e;
        }
    }

    @Override
    public void createSnapshot(VolumeSpec spec, String snapshot) throws IOException {
        if (!SNAPSHOT.matcher(snapshot).matches())
            throw new BlockException(
                    Reason.INVALID,
                    "snapshot name '" + snapshot
                            + "': must be 1 to 64 letters, digits, dots, underscores or dashes and begin with a letter"
                            + " or digit");
        Session session = session(spec);
        S3Volume here;
        try {
            here = openHere(session, existing(session, spec.volume()));
        } finally {
            session.close();
        }
        if (here != null) {
            here.snapshot(snapshot);
            return;
        }
        Session own = session(spec);
        S3Volume volume;
        try {
            prove(own);
            volume = take(own, spec, existing(own, spec.volume()));
        } catch (IOException | RuntimeException | Error e) {
            own.close();
            throw e;
        }
        try (volume) {
            volume.snapshot(snapshot);
        }
    }

    @Override
    public List<SnapshotInfo> snapshots(VolumeSpec spec) throws IOException {
        Session session = session(spec);
        try {
            Snapshots snapshots = session.snapshots(existing(session, spec.volume()));
            List<SnapshotInfo> infos = new ArrayList<>();
            for (Snapshots.Entry entry : snapshots.list()) {
                Snapshots.Facts facts = snapshots.facts(entry);
                infos.add(new SnapshotInfo(entry.name(), facts.size(), facts.time(), snapshots.users(entry.slot())));
            }
            return infos;
        } finally {
            session.close();
        }
    }

    @Override
    public void deleteSnapshot(VolumeSpec spec, String snapshot, boolean force) throws IOException {
        Session session = session(spec);
        try {
            Format format = existing(session, spec.volume());
            Snapshots snapshots = session.snapshots(format);
            Snapshots.Entry entry = find(session, format, spec.volume(), snapshot);
            List<String> readers = snapshots.readers(entry.slot());
            if (!force && !readers.isEmpty())
                throw new BlockException(
                        Reason.IN_USE,
                        "snapshot '" + snapshot + "' is read by " + String.join(", ", readers)
                                + ": detach it there, or use force, and they get errors");
            snapshots.delete(entry.slot());
            if (force) snapshots.unpinReaders(entry.slot());
            S3Volume here = openHere(session, format);
            if (here != null) here.lookForDeletions();
        } finally {
            session.close();
        }
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
            Keys keys = format.keys(session.options.prefix());
            return new Inspector(session.bucket, keys, format, session.scheduler, session.settings, scrub).run();
        } finally {
            session.close();
        }
    }

    @Override
    public void delete(VolumeSpec spec) throws IOException {
        try {
            deleteSound(spec);
        } catch (Corruption e) {
            erase(spec, e);
        }
    }

    /** Deletes all that there is of a volume that can't be taken over for that. */
    private void erase(VolumeSpec spec, Corruption damage) throws IOException {
        Session session = session(spec);
        try {
            UUID volume = named(session, session.nameKey());
            if (volume == null) return;
            Keys keys = session.keys(volume);
            if (!session.options.eraseDamaged())
                throw new Corruption(damage.getMessage() + ": so it can't be deleted as others are; delete-volume with"
                        + " the option eraseDamaged=true erases all that is below " + keys.all());
            Erasure erasure = new Erasure(
                    spec.volume(),
                    volume,
                    session.options.prefix(),
                    session.bucket,
                    session.scheduler,
                    session.settings,
                    RULES);
            erasure.refuseIfUsed(session.options.takeover());
            String id = session.options.endpoint() + "/" + session.options.bucket() + "/" + volume;
            claim(id, "volume '" + spec.volume() + "'");
            try (Disk journal = journals.open(folder.resolve(volume + ".journal"))) {
                erasure.stopOwner();
                Deletion deletion = deletion(session);
                deletion.bury(volume);
                deletion.purge(volume);
                // last: as long as it has a name an erasure that was interrupted can be asked for again
                unname(session, session.nameKey(), volume);
                journal.delete();
            } finally {
                release(id);
            }
            LOG.log(System.Logger.Level.WARNING, "volume '" + spec.volume() + "' is erased: " + damage.getMessage());
        } finally {
            session.close();
        }
    }

    private void deleteSound(VolumeSpec spec) throws IOException {
        Session session = session(spec);
        Format format;
        try {
            prove(session);
            format = find(session);
            if (format == null) {
                deletion(session).purge(); // what an interrupted deletion has left
                session.close();
                return;
            }
            List<String> readers = session.snapshots(format).readers();
            if (!readers.isEmpty())
                throw new BlockException(
                        Reason.IN_USE,
                        "snapshots of volume '" + spec.volume() + "' are read by " + String.join(", ", readers)
                                + ": detach them, or delete them by force");
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
            Deletion deletion = deletion(last);
            deletion.bury(format.volume());
            unname(last, last.nameKey(), format.volume());
            if (deletion.purge() > 0)
                LOG.log(
                        System.Logger.Level.INFO,
                        "volume ''{0}'' is deleted; clones share its objects, which go with the last of them",
                        spec.volume());
        } finally {
            last.close();
        }
    }

    private static Deletion deletion(Session session) {
        return new Deletion(session.bucket, session.options.prefix(), RULES, session.settings.patienceNanos());
    }
}
