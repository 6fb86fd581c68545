package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/**
 * The snapshots of a volume as everybody sees them in the bucket, whoever owns the volume: finds them, uses them, asks
 * for their deletion. Who uses one says so by a pin, and then looks whether the snapshot is being deleted; the owner,
 * who deletes, does it the other way round. So one of them notices.
 */
final class Snapshots {
    /** What the pins of those begin with who only read. */
    private static final String READER = "reader-";

    private final Bucket bucket;
    private final Keys keys;
    private final Rules rules;
    private final long patience;

    /** A snapshot that is written down. */
    record Entry(long slot, String name) {}

    /** What its root says of it. */
    record Facts(long size, long time) {}

    Snapshots(Bucket bucket, Keys keys, Rules rules, long patience) {
        this.bucket = bucket;
        this.keys = keys;
        this.rules = rules;
        this.patience = patience;
    }

    /** Those that are written down and not deleted, the oldest first. */
    List<Entry> list() throws IOException {
        List<Entry> entries = new ArrayList<>();
        List<ObjectStore.Item> roots = bucket.listAll(keys.snapshots(), patience);
        if (roots.isEmpty()) return entries;
        Set<Long> deleted = deleted();
        for (ObjectStore.Item root : roots) {
            long slot = Keys.slot(root.key());
            if (!deleted.contains(slot)) entries.add(new Entry(slot, Keys.snapshotName(root.key())));
        }
        return entries;
    }

    /** The one of a name; null: there is none. */
    Entry find(String name) throws IOException {
        Entry found = null;
        for (Entry each : list()) if (each.name.equals(name)) found = each;
        return found;
    }

    Facts facts(Entry entry) throws IOException {
        ByteBuffer in = bucket.get(keys.snapshot(entry.slot, entry.name), 0, 80, patience)
                .order(ByteOrder.LITTLE_ENDIAN);
        if (in.limit() < 80 || in.getLong(0) != Checkpoints.MAGIC)
            throw new Corruption("snapshot '" + entry.name + "' has a damaged root");
        return new Facts(in.getLong(40), in.getLong(72));
    }

    /** The slots of the snapshots that are deleted, or to be. */
    Set<Long> deleted() throws IOException {
        Set<Long> slots = new HashSet<>();
        for (ObjectStore.Item item : bucket.listAll(keys.deletedSnapshots(), patience))
            slots.add(Keys.slot(item.key()));
        return slots;
    }

    /** Deletes a snapshot: nobody can begin to use it any more, and its owner will forget it when nobody does. */
    void delete(long slot) throws IOException {
        bucket.putIfAbsent(keys.deletedSnapshot(slot), ByteBuffer.allocate(0), patience);
    }

    /**
     * The name of a reader's pin.
     *
     * @param identity who it is, the same after a crash
     * @param now what is new each time; its first half is the same in one process
     */
    static String reader(String identity, UUID now) {
        return READER + UUID.nameUUIDFromBytes(identity.getBytes(StandardCharsets.UTF_8)) + "-" + now;
    }

    /** Says that somebody uses a snapshot; throws if it is deleted. */
    void pin(Entry entry, String user, String who, long now) throws IOException {
        boolean gone = !rules.pinsBeforeLooking() && isGone(entry.slot);
        ByteBuffer text =
                ByteBuffer.wrap((who + " since " + Instant.ofEpochMilli(now)).getBytes(StandardCharsets.UTF_8));
        bucket.putIfAbsent(keys.pin(entry.slot, user), text, patience);
        if (rules.pinsBeforeLooking()) gone = isGone(entry.slot);
        if (!gone) return;
        unpin(entry.slot, user);
        throw new BlockException(Reason.NOT_FOUND, "snapshot '" + entry.name + "' is being deleted");
    }

    /**
     * Whether a snapshot is deleted, or its volume; of one that is gone altogether the format went before the grave.
     */
    private boolean isGone(long slot) throws IOException {
        return bucket.exists(keys.deletedSnapshot(slot), patience)
                || bucket.exists(keys.grave(), patience)
                || !bucket.exists(keys.format(), patience);
    }

    void unpin(long slot, String user) throws IOException {
        bucket.delete(List.of(keys.pin(slot, user)), patience);
    }

    /** Takes away all pins of readers. */
    void unpinReaders(long slot) throws IOException {
        bucket.delete(readersBut(slot, READER, ""), patience);
    }

    /**
     * Takes away what earlier lives of a reader have left; not what others in the same process have: a gateway whose
     * backend is updated opens a snapshot a second time, and may stay with the first.
     */
    void unpinEarlier(long slot, String pin) throws IOException {
        int identity = READER.length() + 36;
        bucket.delete(readersBut(slot, pin.substring(0, identity), pin.substring(0, identity + 19)), patience);
    }

    private List<String> readersBut(long slot, String begin, String kept) throws IOException {
        List<String> pins = new ArrayList<>();
        for (ObjectStore.Item item : bucket.listAll(keys.pins(slot) + begin, patience))
            if (kept.isEmpty() || !user(item.key()).startsWith(kept)) pins.add(item.key());
        return pins;
    }

    /** Who uses a snapshot, as a person reads it. */
    List<String> users(long slot) throws IOException {
        return who(keys.pins(slot), "");
    }

    /** Who reads a snapshot. */
    List<String> readers(long slot) throws IOException {
        return who(keys.pins(slot) + READER, READER);
    }

    /** Which clones need any of the volume's snapshots. */
    List<String> clones() throws IOException {
        if (!isUsed()) return List.of(); // takes away the pins of those that never came to be
        List<String> users = who(keys.pins(), "");
        users.removeAll(readers());
        return users;
    }

    /** Who reads any of the volume's snapshots. */
    List<String> readers() throws IOException {
        return who(keys.pins(), READER);
    }

    private List<String> who(String pins, String begin) throws IOException {
        List<String> users = new ArrayList<>();
        for (ObjectStore.Item item : bucket.listAll(pins, patience)) {
            if (!user(item.key()).startsWith(begin)) continue;
            try {
                ByteBuffer who = bucket.get(item.key(), 0, 512, patience);
                users.add(StandardCharsets.UTF_8.decode(who).toString());
            } catch (ObjectStore.Missing e) {
                // it has just let go
            }
        }
        return users;
    }

    /** Whether anybody uses a snapshot. */
    boolean isUsed(long slot) throws IOException {
        return isUsed(keys.pins(slot));
    }

    /** Whether anybody uses any of the volume's snapshots. */
    boolean isUsed() throws IOException {
        return isUsed(keys.pins());
    }

    private boolean isUsed(String pins) throws IOException {
        boolean used = false;
        for (ObjectStore.Item item : bucket.listAll(pins, patience)) {
            String user = user(item.key());
            if (user.startsWith(READER) || !neverCame(UUID.fromString(user))) used = true;
            else bucket.delete(List.of(item.key()), patience);
        }
        return used && rules.heedsPins();
    }

    private static String user(String pin) {
        return pin.substring(pin.lastIndexOf('/') + 1);
    }

    /** Whether a clone was not made after its pin was; sees to it that it never will be. */
    private boolean neverCame(UUID clone) throws IOException {
        Keys of = keys.of(clone);
        if (Format.find(bucket, of, patience) != null) return false;
        bucket.putIfAbsent(of.format(), ByteBuffer.wrap(Format.VOID.getBytes(StandardCharsets.US_ASCII)), patience);
        return Format.find(bucket, of, patience) == null;
    }
}
