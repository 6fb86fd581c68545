package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * An object store on an unreliable network: slow, refusing, losing replies, and doing late what it was asked long ago.
 */
final class SimStore {
    private static final boolean TRACE = Boolean.getBoolean("trace");

    final TreeMap<String, byte[]> objects = new TreeMap<>();
    final World world;
    double trouble = 0.05;
    boolean down;
    int puts;
    /** What was stored long after it was asked for, or by who came after the end of its volume. */
    final Set<String> strays = new HashSet<>();
    /** What a late duplicate of a put has brought back after it was deleted. */
    final Set<String> risen = new HashSet<>();

    private final Set<String> gone = new HashSet<>();

    private boolean isLate;
    /** Is told each object of a log that is stored. */
    Consumer<Header> stored = header -> {};

    SimStore(World world) {
        this.world = world;
    }

    private boolean put(String key, byte[] body) {
        if (objects.putIfAbsent(key, body) != null) return false;
        if (TRACE) System.out.println(world.now / World.MS + " put " + key.substring(39) + " " + body.length);
        puts++;
        if (isLate || isOfTheDead(key)) strays.add(key);
        if (gone.contains(key)) risen.add(key);
        if (key.contains("/log/")) {
            try {
                Header header = Header.decode(ByteBuffer.wrap(body));
                if (TRACE)
                    System.out.println("  " + header.type + " epoch " + header.epoch + " by " + header.host
                            + " records " + header.firstRecord + ".." + header.lastRecord);
                stored.accept(header);
            } catch (Corruption e) {
                throw new AssertionError(e);
            }
        }
        return true;
    }

    /** Whether who puts this has slept through the deletion of the volume. */
    private boolean isOfTheDead(String key) {
        int end = key.indexOf('/', Simulation.PREFIX.length());
        if (end < 0
                || !key.contains("/log/")
                        && !key.contains("/ckpt/")
                        && !key.contains("/part/")
                        && !key.contains("/snap/")) return false;
        String volume = key.substring(0, end);
        return objects.containsKey(Simulation.PREFIX + "dead" + volume.substring(volume.lastIndexOf('/')))
                || !objects.containsKey(volume + "/format");
    }

    ObjectStore client(long stall) {
        return client(stall, "/log/");
    }

    /**
     * The way of one process to the store.
     *
     * @param stall how long the process stands still before its first put of a certain kind; 0: not at all
     * @param before what is in the keys of that kind
     */
    ObjectStore client(long stall, String before) {
        return new ObjectStore() {
            private long left = stall;

            @Override
            public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
                byte[] bytes = new byte[body.remaining()];
                body.duplicate().get(bytes);
                if (left > 0 && key.contains(before)) {
                    long time = left;
                    left = 0;
                    world.sleep(time);
                }
                if (world.chance(trouble)) late(() -> put(key, bytes)); // a duplicate
                return call(() -> put(key, bytes));
            }

            @Override
            public void get(String key, long offset, ByteBuffer into) throws IOException {
                byte[] body = call(() -> objects.get(key));
                if (body == null) throw new Missing(key);
                int from = (int) Math.min(offset, body.length);
                into.put(body, from, Math.min(into.remaining(), body.length - from));
            }

            @Override
            public List<Item> list(String prefix, String after, int most) throws IOException {
                return call(() -> {
                    List<Item> items = new ArrayList<>();
                    String from = after.compareTo(prefix) < 0 ? prefix : after;
                    for (var entry : objects.tailMap(from, !from.equals(after)).entrySet()) {
                        if (!entry.getKey().startsWith(prefix) || items.size() == most) break;
                        items.add(new Item(entry.getKey(), entry.getValue().length));
                    }
                    return items;
                });
            }

            @Override
            public void delete(List<String> keys) throws IOException {
                List<String> unwanted = List.copyOf(keys);
                call(() -> {
                    if (TRACE)
                        unwanted.forEach(
                                key -> System.out.println(world.now / World.MS + " delete " + key.substring(39)));
                    unwanted.forEach(objects::remove);
                    gone.addAll(unwanted);
                    return null;
                });
            }

            @Override
            public void close() {}
        };
    }

    private void late(Supplier<?> effect) {
        world.at(World.MS * (1 + world.random.nextInt(world.chance(0.5) ? 1000 : 600_000)), null, () -> {
            isLate = true;
            effect.get();
            isLate = false;
        });
    }

    /** One request: takes effect, and is answered, each at some time, or not. */
    private <T> T call(Supplier<T> effect) throws IOException {
        World.Process process = world.process();
        if (process.dead) throw new World.Killed();
        Runnable waker = world.waker();
        Object[] result = new Object[1];
        long there = World.MS * (1 + world.random.nextInt(20));
        long back = World.MS * (1 + world.random.nextInt(20));
        boolean[] failed = new boolean[1];
        if (down || world.chance(trouble)) {
            failed[0] = true;
            // the request or its reply is lost
            if (!down && world.chance(0.7)) late(effect);
            world.at(there + back + World.SECOND, process, waker);
        } else {
            world.at(there, null, () -> {
                result[0] = effect.get();
                world.at(back, process, waker);
            });
        }
        world.park();
        if (failed[0]) throw new IOException("the network lost it");
        @SuppressWarnings("unchecked")
        T answer = (T) result[0];
        return answer;
    }
}
