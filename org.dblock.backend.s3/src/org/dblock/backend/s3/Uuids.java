package org.dblock.backend.s3;

import java.nio.ByteBuffer;
import java.util.UUID;

/** UUIDs in little-endian records: always their textual byte order. */
final class Uuids {
    private Uuids() {}

    static void put(ByteBuffer out, UUID id) {
        out.putLong(Long.reverseBytes(id.getMostSignificantBits()))
                .putLong(Long.reverseBytes(id.getLeastSignificantBits()));
    }

    static UUID get(ByteBuffer in) {
        return new UUID(Long.reverseBytes(in.getLong()), Long.reverseBytes(in.getLong()));
    }
}
