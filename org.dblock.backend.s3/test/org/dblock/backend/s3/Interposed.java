package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;

/** An object store in front of another one: tests override what is to go wrong. */
class Interposed implements ObjectStore {
    final ObjectStore store;

    Interposed(ObjectStore store) {
        this.store = store;
    }

    @Override
    public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
        return store.putIfAbsent(key, body);
    }

    @Override
    public void get(String key, long offset, ByteBuffer into) throws IOException {
        store.get(key, offset, into);
    }

    @Override
    public List<Item> list(String prefix, String after, int most) throws IOException {
        return store.list(prefix, after, most);
    }

    @Override
    public void delete(List<String> keys) throws IOException {
        store.delete(keys);
    }

    @Override
    public void close() {}

    /** What kind of log object is being put; null: none. */
    static Header.Type type(String key, ByteBuffer body) {
        if (!key.contains("/log/")) return null;
        try {
            return Header.decode(body.duplicate()).type;
        } catch (Corruption e) {
            throw new AssertionError(e);
        }
    }
}
