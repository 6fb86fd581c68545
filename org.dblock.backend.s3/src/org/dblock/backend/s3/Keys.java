package org.dblock.backend.s3;

import java.util.UUID;

/** The names of one volume's objects. */
final class Keys {
    private final String base;

    /** @param prefix empty, or what ends in a slash */
    Keys(String prefix, UUID volume) {
        base = prefix + volume + "/";
    }

    static String names(String prefix) {
        return prefix + "names/";
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

    String log(long slot) {
        return logs() + hex(slot);
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

    /** The slot in the key of a log object or of a part. */
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
