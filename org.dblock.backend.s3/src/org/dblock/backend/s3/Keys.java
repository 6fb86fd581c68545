package org.dblock.backend.s3;

import java.util.List;
import java.util.UUID;

/**
 * The names of one volume's objects.
 *
 * <p>A clone's map also points to objects of the volumes that it descends from. So what the map calls an object is a
 * slot of the log and, in the bits from {@value #GENERATION} on, how many generations up that log is; 0: its own.
 */
final class Keys {
    /** The lowest bit of the generation in an object's number. */
    static final int GENERATION = 48;

    private final String prefix;
    private final UUID volume;
    private final List<UUID> ancestors;
    private final String base;

    /** @param prefix empty, or what ends in a slash */
    Keys(String prefix, UUID volume) {
        this(prefix, volume, List.of());
    }

    /** @param ancestors the volumes that it descends from, the parent first */
    Keys(String prefix, UUID volume, List<UUID> ancestors) {
        this.prefix = prefix;
        this.volume = volume;
        this.ancestors = ancestors;
        base = prefix + volume + "/";
    }

    static String names(String prefix) {
        return prefix + "names/";
    }

    /** The volumes that were deleted, and of which something may still be there. */
    static String graves(String prefix) {
        return prefix + "dead/";
    }

    /** Whether an object is in the volume's own log. */
    static boolean isOwn(long object) {
        return object >>> GENERATION == 0;
    }

    /** How many generations up there are logs. */
    int generations() {
        return ancestors.size();
    }

    /** The parent's keys. */
    Keys parent() {
        return new Keys(prefix, ancestors.get(0), ancestors.subList(1, ancestors.size()));
    }

    /** The keys of another volume, which is no clone or of which only its own objects matter. */
    Keys of(UUID other) {
        return new Keys(prefix, other);
    }

    /** Says that the volume is deleted. */
    String grave() {
        return graves(prefix) + volume;
    }

    String all() {
        return base;
    }

    String format() {
        return base + "format";
    }

    String logs() {
        return base + "log/";
    }

    String log(long object) {
        int generation = (int) (object >>> GENERATION);
        String slot = "log/" + hex(object & (1L << GENERATION) - 1);
        return generation == 0 ? base + slot : prefix + ancestors.get(generation - 1) + "/" + slot;
    }

    String roots() {
        return base + "ckpt/";
    }

    /** A checkpoint's root; the newest sorts first. */
    String root(long slot, long nonce) {
        return roots() + hex(~slot) + "-" + hex(nonce);
    }

    String parts() {
        return base + "part/";
    }

    String part(long slot, long nonce, int number) {
        return parts() + hex(slot) + "-" + hex(nonce) + "-" + number;
    }

    String snapshots() {
        return base + "snap/";
    }

    /** A snapshot's root. */
    String snapshot(long slot, String name) {
        return snapshots() + hex(slot) + "-" + name;
    }

    /** The snapshot's name in the key of its root. */
    static String snapshotName(String key) {
        return key.substring(key.lastIndexOf('/') + 18);
    }

    String deletedSnapshots() {
        return base + "snapdel/";
    }

    /** Says that a snapshot is deleted. */
    String deletedSnapshot(long slot) {
        return deletedSnapshots() + hex(slot);
    }

    /** Those that use snapshots. */
    String pins() {
        return base + "pin/";
    }

    /** Those that use a snapshot. */
    String pins(long slot) {
        return pins() + hex(slot) + "/";
    }

    String pin(long slot, String user) {
        return pins(slot) + user;
    }

    /** The slot in the key of a log object, a part, a snapshot. */
    static long slot(String key) {
        int at = key.lastIndexOf('/') + 1;
        return Long.parseUnsignedLong(key.substring(at, at + 16), 16);
    }

    /** The slot in the key of a root. */
    static long rootSlot(String key) {
        return ~slot(key);
    }

    private static String hex(long value) {
        return String.format("%016x", value);
    }
}
