package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.stream.Collectors;

/**
 * The object that says that a volume exists, and what never changes of it: lines of text, for people to read too.
 *
 * @param base the slot of the parent's snapshot from which a clone begins; 0: it begins empty
 * @param snapshot that snapshot's name
 * @param ancestors the volumes that a clone descends from, the parent first
 */
record Format(UUID volume, long size, int window, long base, String snapshot, List<UUID> ancestors) {
    /** How many generations a clone may be away from a volume that is none. */
    static final int MOST_ANCESTORS = 64;

    /** What stands in the place of a format that must never come to be. */
    static final String VOID = "void\n";

    /** The version of those that are no clones, and of those that are. */
    private static final int VERSION = 1;

    private static final int CLONE = 2;
    private static final int MOST = 8192;

    Format(UUID volume, long size, int window) {
        this(volume, size, window, 0, "", List.of());
    }

    /** Returns whether it is there; false: somebody else has put something in its place. */
    boolean create(Bucket bucket, Keys keys, long patience) throws IOException {
        ByteBuffer body = ByteBuffer.wrap(text().getBytes(StandardCharsets.US_ASCII));
        return bucket.putIfAbsent(keys.format(), body, patience)
                || text(bucket, keys, patience).equals(text());
    }

    Keys keys(String prefix) {
        return new Keys(prefix, volume, ancestors);
    }

    boolean isClone() {
        return base != 0;
    }

    String text() {
        String text = "dblock-s3=" + (isClone() ? CLONE : VERSION) + "\nvolume=" + volume + "\nblock=" + Header.BLOCK
                + "\nsize=" + size + "\nwindow=" + window + "\n";
        if (!isClone()) return text;
        return text + "base=" + base + "\nsnapshot=" + snapshot + "\nancestors="
                + ancestors.stream().map(UUID::toString).collect(Collectors.joining(",")) + "\n";
    }

    static Format read(Bucket bucket, Keys keys, long patience) throws IOException {
        return parse(text(bucket, keys, patience));
    }

    private static String text(Bucket bucket, Keys keys, long patience) throws IOException {
        return StandardCharsets.US_ASCII
                .decode(bucket.get(keys.format(), 0, MOST, patience))
                .toString();
    }

    /** The same; null: there is none, or something that keeps one from coming to be. */
    static Format find(Bucket bucket, Keys keys, long patience) throws IOException {
        try {
            String text = text(bucket, keys, patience);
            return text.equals(VOID) ? null : parse(text);
        } catch (ObjectStore.Missing e) {
            return null;
        }
    }

    /**
     * Whether a volume is deleted; ask after its log was read, or taken. For while a volume is deleted, and after it,
     * what is left of its log may look like that of a new one; and its grave goes last.
     */
    static boolean isGone(Bucket bucket, Keys keys, long patience) throws IOException {
        return bucket.exists(keys.grave(), patience) || find(bucket, keys, patience) == null;
    }

    static Format parse(String text) throws Corruption {
        Map<String, String> values = new HashMap<>();
        for (String line : text.split("\n")) {
            int equals = line.indexOf('=');
            if (equals > 0) values.put(line.substring(0, equals), line.substring(equals + 1));
        }
        String version = values.get("dblock-s3");
        if (!String.valueOf(VERSION).equals(version) && !String.valueOf(CLONE).equals(version))
            throw new Corruption(
                    "the volume has format version " + version + ": this gateway knows " + VERSION + " and " + CLONE);
        try {
            UUID volume = UUID.fromString(values.get("volume"));
            long size = Long.parseLong(values.get("size"));
            int window = Integer.parseInt(values.get("window"));
            if (version.equals(String.valueOf(VERSION))) return new Format(volume, size, window);
            List<UUID> ancestors = Arrays.stream(values.get("ancestors").split(","))
                    .map(UUID::fromString)
                    .toList();
            return new Format(
                    volume, size, window, Long.parseLong(values.get("base")), values.get("snapshot"), ancestors);
        } catch (RuntimeException e) {
            throw new Corruption("the volume's format object is damaged: " + text);
        }
    }
}
