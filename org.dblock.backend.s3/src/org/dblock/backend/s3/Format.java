package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.UUID;

/** The object that says that a volume exists, and what never changes of it: lines of text, for people to read too. */
record Format(UUID volume, long size, int window) {
    private static final int MOST = 4096;

    void create(Bucket bucket, Keys keys, long patience) throws IOException {
        bucket.putIfAbsent(keys.format(), ByteBuffer.wrap(text().getBytes(StandardCharsets.US_ASCII)), patience);
    }

    String text() {
        return "dblock-s3=" + Header.VERSION + "\nvolume=" + volume + "\nblock=" + Header.BLOCK + "\nsize=" + size
                + "\nwindow=" + window + "\n";
    }

    static Format read(Bucket bucket, Keys keys, long patience) throws IOException {
        return parse(StandardCharsets.US_ASCII
                .decode(bucket.get(keys.format(), 0, MOST, patience))
                .toString());
    }

    static Format parse(String text) throws Corruption {
        Map<String, String> values = new HashMap<>();
        for (String line : text.split("\n")) {
            int equals = line.indexOf('=');
            if (equals > 0) values.put(line.substring(0, equals), line.substring(equals + 1));
        }
        String version = values.get("dblock-s3");
        if (!String.valueOf(Header.VERSION).equals(version))
            throw new Corruption("the volume has format version " + version + ": this gateway knows " + Header.VERSION);
        try {
            return new Format(
                    UUID.fromString(values.get("volume")),
                    Long.parseLong(values.get("size")),
                    Integer.parseInt(values.get("window")));
        } catch (RuntimeException e) {
            throw new Corruption("the volume's format object is damaged: " + text);
        }
    }
}
