package org.dblock.backend.s3;

import java.io.IOException;
import java.net.InetAddress;
import java.net.URLEncoder;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.function.Function;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.dblock.api.VolumeSpec;

/**
 * What one call of the store, and the volume that it opens, work with: the bucket, and the names of the volumes in it.
 */
record Session(
        S3Options options, String name, ObjectStore store, Scheduler scheduler, Bucket bucket, Settings settings) {
    private static final int WINDOW = 8;
    private static final long SECOND = 1_000_000_000L;

    /** Checks the options of a volume, and connects to its bucket. */
    static Session of(VolumeSpec spec, Function<S3Options, ObjectStore> connect) throws BlockException {
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

    static String hostName() {
        try {
            return InetAddress.getLocalHost().getHostName();
        } catch (UnknownHostException e) {
            return "a host without a name";
        }
    }

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

    Keys keys(UUID volume) {
        return new Keys(options.prefix(), volume);
    }

    Snapshots snapshots(Format format) {
        return new Snapshots(bucket, format.keys(options.prefix()), S3Store.RULES, settings.patienceNanos());
    }

    Deletion deletion() {
        return new Deletion(bucket, options.prefix(), S3Store.RULES, settings.patienceNanos());
    }

    // ---- names

    private String nameKey(String volume) {
        return Keys.names(options.prefix()) + URLEncoder.encode(volume, StandardCharsets.UTF_8);
    }

    /** The volume of the session's name; null: there is none. */
    Format find() throws IOException {
        return find(name);
    }

    private Format find(String wanted) throws IOException {
        while (true) {
            UUID volume = named(wanted);
            if (volume == null) return null;
            Keys keys = keys(volume);
            Format format = Format.find(bucket, keys, settings.patienceNanos());
            if (format != null) return format;
            var left = bucket.list(keys.all(), "", 1, settings.patienceNanos());
            if (!left.isEmpty() && !bucket.exists(keys.grave(), settings.patienceNanos()))
                throw new Corruption("volume '" + wanted + "' is damaged: object " + keys.format()
                        + " is missing, but there is " + left.get(0).key());
            // what is left of a volume that was deleted, or a name that was put late
            unname(wanted, volume);
        }
    }

    /** A volume that has to be there. */
    Format existing(String wanted) throws IOException {
        Format format = find(wanted);
        if (format == null) throw notFound(wanted);
        return format;
    }

    BlockException notFound() {
        return notFound(name);
    }

    private BlockException notFound(String wanted) {
        return new BlockException(
                Reason.NOT_FOUND,
                "there is no volume '" + wanted + "' in bucket " + options.bucket() + " under " + options.prefix());
    }

    /** The volume that the session's name stands for; null: none. */
    UUID named() throws IOException {
        return named(name);
    }

    private UUID named(String wanted) throws IOException {
        String key = nameKey(wanted);
        try {
            ByteBuffer id = bucket.get(key, 0, 64, settings.patienceNanos());
            return UUID.fromString(StandardCharsets.US_ASCII.decode(id).toString());
        } catch (ObjectStore.Missing e) {
            return null;
        } catch (IllegalArgumentException e) {
            throw new Corruption("object " + key + " holds no UUID");
        }
    }

    /** Gives a new volume the session's name; returns the one that has it. */
    Format giveName(Format format) throws IOException {
        ByteBuffer id = ByteBuffer.wrap(format.volume().toString().getBytes(StandardCharsets.US_ASCII));
        while (!bucket.putIfAbsent(nameKey(name), id, settings.patienceNanos())) {
            // somebody else was faster, or the reply to a first try was lost
            Format named = find();
            if (named == null) continue; // one that is deleted, and has lost the name by now
            if (!named.volume().equals(format.volume()))
                bucket.delete(List.of(keys(format.volume()).format()), settings.patienceNanos());
            return named;
        }
        return format;
    }

    /** Takes the session's name from a volume that is no more; by now it may be another's, who keeps it. */
    void unname(UUID volume) throws IOException {
        unname(name, volume);
    }

    private void unname(String wanted, UUID volume) throws IOException {
        if (volume.equals(named(wanted))) bucket.delete(List.of(nameKey(wanted)), settings.patienceNanos());
    }
}
