package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.atomic.AtomicInteger;

/** An object store in memory that fails at times, before or after it did what it was asked. */
final class FaultyStore implements ObjectStore {
    final ConcurrentSkipListMap<String, byte[]> objects = new ConcurrentSkipListMap<>();
    volatile boolean down;
    /** What it says when it fails. */
    volatile String refusal = "503";
    /** How long it takes to answer, in milliseconds. */
    volatile long delay;
    /** How often what is read comes damaged, or too short. */
    volatile double damage;
    /** Whether put-if-absent overwrites. */
    volatile boolean careless;
    /** Deletions of keys with this in them fail. */
    volatile String failingDeletes;

    /** How many reads of payloads, headers and checkpoints there were. */
    final AtomicInteger gets = new AtomicInteger();

    /** How many puts were under way at most. */
    final AtomicInteger mostPuts = new AtomicInteger();

    /** How many reads were under way at most. */
    final AtomicInteger mostGets = new AtomicInteger();

    private final AtomicInteger puts = new AtomicInteger();
    private final AtomicInteger getting = new AtomicInteger();
    private final double trouble;
    private final Random random = new Random(1);

    FaultyStore(double trouble) {
        this.trouble = trouble;
    }

    /** How many bytes are stored. */
    long bytes() {
        return objects.values().stream().mapToLong(body -> body.length).sum();
    }

    private boolean dice(double chance) {
        synchronized (random) {
            return random.nextDouble() < chance;
        }
    }

    private void maybeFail(String when, String key) throws IOException {
        try {
            for (long left = delay; left > 0 && delay > 0; left -= 10) Thread.sleep(10);
        } catch (InterruptedException e) {
            throw new IOException(e);
        }
        // the probe asks a store that works
        if (down || dice(trouble) && !key.contains("probe/")) throw new IOException(refusal + " " + when);
    }

    @Override
    public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
        mostPuts.accumulateAndGet(puts.incrementAndGet(), Math::max);
        try {
            return put(key, body);
        } finally {
            puts.decrementAndGet();
        }
    }

    private boolean put(String key, ByteBuffer body) throws IOException {
        maybeFail("before", key);
        byte[] bytes = new byte[body.remaining()];
        body.get(bytes);
        boolean created = objects.putIfAbsent(key, bytes) == null;
        if (careless) objects.put(key, bytes);
        maybeFail("after", key);
        return created || careless;
    }

    @Override
    public void get(String key, long offset, ByteBuffer into) throws IOException {
        gets.incrementAndGet();
        mostGets.accumulateAndGet(getting.incrementAndGet(), Math::max);
        try {
            read(key, offset, into);
        } finally {
            getting.decrementAndGet();
        }
    }

    private void read(String key, long offset, ByteBuffer into) throws IOException {
        maybeFail("before", key);
        byte[] body = objects.get(key);
        if (body == null) throw new Missing(key);
        int from = (int) Math.min(offset, body.length);
        int length = Math.min(into.remaining(), body.length - from);
        if (length > 0 && dice(damage)) {
            if (dice(0.5)) length--;
            body = body.clone();
            body[from + length / 2] ^= 4;
        }
        into.put(body, from, length);
        maybeFail("after", key); // as a body that is cut short does
    }

    @Override
    public List<Item> list(String prefix, String after, int most) throws IOException {
        maybeFail("before", prefix);
        List<Item> items = new ArrayList<>();
        String from = after.compareTo(prefix) < 0 ? prefix : after;
        for (var entry : objects.tailMap(from, !from.equals(after)).entrySet()) {
            if (!entry.getKey().startsWith(prefix) || items.size() == most) break;
            items.add(new Item(entry.getKey(), entry.getValue().length));
        }
        return items;
    }

    @Override
    public void delete(List<String> keys) throws IOException {
        if (keys.isEmpty()) return;
        maybeFail("before", keys.get(0));
        String failing = failingDeletes;
        if (failing != null && keys.stream().anyMatch(key -> key.contains(failing))) throw new IOException("503");
        keys.forEach(objects::remove);
        maybeFail("after", keys.get(0));
    }

    @Override
    public void close() {}
}
