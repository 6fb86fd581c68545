package org.dblock.backend.s3;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;

/**
 * What this backend needs of an object store: strongly consistent reads and lists, and a put that fails where the key
 * exists.
 *
 * <p>Thread-safe and blocking. An {@link IOException} other than {@link Missing} says nothing about whether the
 * operation took effect, now or later. No call retries a put.
 */
interface ObjectStore extends Closeable {
    /** A stored object. */
    record Item(String key, long size) {}

    /** The object is not there; no other failure means that. */
    final class Missing extends IOException {
        private static final long serialVersionUID = 1;

        Missing(String key) {
            super("object " + key + " is missing");
        }
    }

    /** Creates an object of the buffer's remaining bytes, and moves nothing of it; false: the key exists. */
    boolean putIfAbsent(String key, ByteBuffer body) throws IOException;

    /** Reads from {@code offset} until the buffer is full or the object ends. */
    void get(String key, long offset, ByteBuffer into) throws IOException;

    /**
     * At most {@code most} objects whose keys begin with the prefix and come after {@code after}, in the keys' byte
     * order.
     */
    List<Item> list(String prefix, String after, int most) throws IOException;

    /** Deletes objects; one that is absent is no failure. */
    void delete(List<String> keys) throws IOException;

    @Override
    void close();
}
