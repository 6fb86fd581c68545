package org.dblock.backend.s3;

import java.io.IOException;
import java.net.URLDecoder;
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
    static final Rules RULES = new Rules();
    private static final System.Logger LOG = System.getLogger(S3Store.class.getName());
    private static final Pattern SNAPSHOT = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}");

    /** The smallest block size. */
    private static final int SMALLEST = 512;

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

    private static final long PROBE_PAUSE = 500_000_000L;

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

    @Override
    public BlockVolume open(VolumeSpec spec) throws IOException {
        int blockSize = spec.blockSize() == 0 ? Header.BLOCK : spec.blockSize();
        if (blockSize < SMALLEST || blockSize > Header.BLOCK || Integer.bitCount(blockSize) != 1)
            throw new BlockException(
                    Reason.INVALID, "block size " + blockSize + ": must be 512, 1024, 2048 or " + Header.BLOCK);
        if (spec.size() % blockSize != 0 || spec.size() / Header.BLOCK > State.MOST_BLOCKS)
            throw new BlockException(
                    Reason.INVALID, "size " + spec.size() + ": must be a multiple of " + blockSize + ", at most 64T");
        Session session = Session.of(spec, connect);
        try {
            if (session.options().eraseDamaged())
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
        String snapshot = session.options().snapshot();
        if (spec.readOnly() && !snapshot.isEmpty()) return attach(session, spec, Origin.of(session, snapshot));
        if (spec.readOnly()) return look(session, spec);
        prove(session);
        Format format = session.find();
        if (format == null && spec.create())
            format = snapshot.isEmpty() ? create(session, spec) : clone(session, spec, Origin.of(session, snapshot));
        if (format == null) throw session.notFound();
        return take(session, spec, format);
    }

    /** Opens a volume for reading only: whoever owns it goes on. */
    private static S3Reader look(Session session, VolumeSpec spec) throws IOException {
        Format format = session.existing(spec.volume());
        return new S3Reader(
                spec,
                format,
                session.bucket(),
                format.keys(session.options().prefix()),
                session.scheduler(),
                session.settings(),
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
                    session.bucket(),
                    format.keys(session.options().prefix()),
                    disk,
                    session.scheduler(),
                    session.settings(),
                    RULES,
                    session.options().takeover());
            opening.run();
            FileDisk.expire(
                    spec.volume(),
                    journal,
                    session.options().asideDays(),
                    session.scheduler().millis());
            cache = diskCache(session.options(), spec.volume(), format.volume());
            S3Volume volume = new S3Volume(
                    spec.volume(),
                    opening,
                    session.bucket(),
                    format.keys(session.options().prefix()),
                    disk,
                    session.scheduler(),
                    session.settings(),
                    format.window(),
                    RULES,
                    spec.readOnly(),
                    cache,
                    () -> {
                        session.store().close();
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
        String where = session.options().endpoint() + " " + session.options().bucket() + " "
                + session.options().prefix();
        synchronized (proven) {
            if (proven.contains(where)) return;
        }
        for (int attempt = 1; ; attempt++) {
            try {
                Probe.check(session.store(), session.options().prefix());
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

    private static Format create(Session session, VolumeSpec spec) throws IOException {
        if (spec.size() == 0)
            throw new BlockException(
                    Reason.INVALID, "volume '" + spec.volume() + "' doesn't exist, and to create it a size is needed");
        Format format =
                new Format(UUID.randomUUID(), spec.size(), session.settings().window());
        format.create(
                session.bucket(),
                session.keys(format.volume()),
                session.settings().patienceNanos());
        return session.giveName(format);
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
            return new Origin(text, session.existing(volume), text.substring(at + 1));
        }
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
        Format format = Cloning.format(
                UUID.randomUUID(), parent, entry, size, session.settings().window());
        Cloning.begin(
                session.bucket(),
                session.options().prefix(),
                snapshots,
                entry,
                format,
                "volume '" + spec.volume() + "'",
                session.scheduler().millis(),
                session.settings().patienceNanos());
        Format named = session.giveName(format);
        if (!named.volume().equals(format.volume()))
            snapshots.unpin(entry.slot(), format.volume().toString());
        return named;
    }

    /** Opens a snapshot for reading. */
    private S3Reader attach(Session session, VolumeSpec spec, Origin origin) throws IOException {
        Format format = origin.volume;
        Keys keys = format.keys(session.options().prefix());
        long patience = session.settings().patienceNanos();
        String volume = origin.name.substring(0, origin.name.lastIndexOf('@'));
        Snapshots.Entry entry = find(session, format, volume, origin.snapshot);
        String id = session.id(format) + "@" + entry.slot() + " as " + session.name();
        claim(id, "snapshot '" + origin.name + "' as '" + session.name() + "'");
        Snapshots snapshots = session.snapshots(format);
        String pin = Snapshots.reader(
                Session.hostName() + " " + folder.toAbsolutePath() + " " + session.name(),
                new UUID(PROCESS, session.scheduler().random()));
        try {
            snapshots.pin(
                    entry,
                    pin,
                    "reader " + session.settings().host(),
                    session.scheduler().millis());
            // what an earlier life of this gateway left, which ended without closing it
            snapshots.unpinEarlier(entry.slot(), pin);
            State state = new Checkpoints(session.bucket(), keys, format.volume(), RULES, patience)
                    .load(keys.snapshot(entry.slot(), entry.name()), entry.slot());
            S3Reader reader = new S3Reader(
                    "snapshot '" + origin.name + "'",
                    state,
                    session.bucket(),
                    keys,
                    session.scheduler(),
                    session.settings(),
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
                session.bucket().delete(List.of(left), patience);
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
        Session session = Session.of(spec, connect);
        S3Volume here;
        try {
            here = openHere(session, session.existing(spec.volume()));
        } finally {
            session.close();
        }
        if (here != null) {
            here.snapshot(snapshot);
            return;
        }
        Session own = Session.of(spec, connect);
        S3Volume volume;
        try {
            prove(own);
            volume = take(own, spec, own.existing(spec.volume()));
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
        Session session = Session.of(spec, connect);
        try {
            Snapshots snapshots = session.snapshots(session.existing(spec.volume()));
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
        Session session = Session.of(spec, connect);
        try {
            Format format = session.existing(spec.volume());
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
        Session session = Session.of(spec, connect);
        try {
            List<VolumeInfo> volumes = new ArrayList<>();
            String prefix = Keys.names(session.options().prefix());
            String after = "";
            while (true) {
                var some = session.bucket()
                        .list(prefix, after, 1000, session.settings().patienceNanos());
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
        Session session = Session.of(spec, connect);
        try {
            Format format = session.existing(spec.volume());
            Keys keys = format.keys(session.options().prefix());
            return new Inspector(session.bucket(), keys, format, session.scheduler(), session.settings(), scrub).run();
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
        Session session = Session.of(spec, connect);
        try {
            UUID volume = session.named();
            if (volume == null) return;
            Keys keys = session.keys(volume);
            if (!session.options().eraseDamaged())
                throw new Corruption(damage.getMessage() + ": so it can't be deleted as others are; delete-volume with"
                        + " the option eraseDamaged=true erases all that is below " + keys.all());
            Erasure erasure = new Erasure(
                    spec.volume(),
                    volume,
                    session.options().prefix(),
                    session.bucket(),
                    session.scheduler(),
                    session.settings(),
                    RULES);
            erasure.refuseIfUsed(session.options().takeover());
            String id = session.options().endpoint() + "/" + session.options().bucket() + "/" + volume;
            claim(id, "volume '" + spec.volume() + "'");
            try (Disk journal = journals.open(folder.resolve(volume + ".journal"))) {
                erasure.stopOwner();
                Deletion deletion = session.deletion();
                deletion.bury(volume);
                deletion.purge(volume);
                // last: as long as it has a name an erasure that was interrupted can be asked for again
                session.unname(volume);
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
        Session session = Session.of(spec, connect);
        Format format;
        try {
            prove(session);
            format = session.find();
            if (format == null) {
                session.deletion().purge(); // what an interrupted deletion has left
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
        Session last = Session.of(spec, connect);
        try {
            Deletion deletion = last.deletion();
            deletion.bury(format.volume());
            last.unname(format.volume());
            if (deletion.purge() > 0)
                LOG.log(
                        System.Logger.Level.INFO,
                        "volume ''{0}'' is deleted; clones share its objects, which go with the last of them",
                        spec.volume());
        } finally {
            last.close();
        }
    }
}
