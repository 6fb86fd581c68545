package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;

/**
 * Writes and reads checkpoints, and deletes what no kept one needs. Two are kept: the newest, from which everybody
 * begins, and the one before. Used by one thread at a time.
 */
final class Checkpoints {
    private static final long MAGIC = 0x31544f4f4b4c4244L; // "DBLKOOT1"
    private static final int PART_BYTES = 4 << 20;

    private final Bucket bucket;
    private final Keys keys;
    private final UUID volume;
    private final Rules rules;
    private final long patience;

    /** What is known of a kept checkpoint: its parts, and the objects that it doesn't need. */
    private record Kept(long slot, Set<String> parts, List<Long> dead) {}

    private Kept newest;
    private Kept older;

    Checkpoints(Bucket bucket, Keys keys, UUID volume, Rules rules, long patience) {
        this.bucket = bucket;
        this.keys = keys;
        this.volume = volume;
        this.rules = rules;
        this.patience = patience;
    }

    /** The key of the newest root; empty: there is none. */
    String newest() throws IOException {
        List<ObjectStore.Item> first = bucket.list(keys.roots(), "", 1, patience);
        return first.isEmpty() ? "" : first.get(0).key();
    }

    /** Whether enough was written since the last checkpoint to be worth one; call with the volume's lock. */
    static boolean due(State state, int objects, boolean idle) {
        if (state.applied < objects) return idle && state.applied > 0;
        if (idle || state.applied >= 16 * objects) return true;
        long dirty = 0;
        for (long n = state.map.next(0); n < state.map.limit(); n = state.map.next(n + 1)) {
            ExtentPage page = state.map.page(n);
            if (page.part == null) dirty += page.stored();
        }
        return state.appliedBytes >= 20 * dirty;
    }

    /** In how many parts the pages of the last checkpoint are that was read or written. */
    int parts() {
        return newest.parts.size();
    }

    /** What a volume of some bytes is before its first checkpoint. */
    State none(long size) {
        newest = null;
        older = null;
        return new State(volume, size, rules);
    }

    /** Reads the checkpoint of a root. */
    State load(String rootKey) throws IOException {
        ByteBuffer in = wholeRoot(rootKey);
        String what = "checkpoint " + rootKey;
        if (in.remaining() < 108 || in.getLong() != MAGIC) throw new Corruption(what + " has no magic number");
        int version = in.getInt();
        if (version != Header.VERSION) throw new Corruption(what + " has format version " + version);
        if (in.getInt(in.limit() - 4) != Header.crcOf(in, 0, in.limit() - 4))
            throw new Corruption(what + " doesn't match its CRC");
        in.limit(in.limit() - 4);
        in.getInt();
        if (!Uuids.get(in).equals(volume)) throw new Corruption(what + " is of another volume");
        State state = new State(volume, 0, rules);
        state.slot = in.getLong();
        if (state.slot != Keys.rootSlot(rootKey)) throw new Corruption(what + " is of slot " + state.slot);
        state.size = in.getLong();
        state.epoch = in.getLong();
        state.nonce = in.getLong();
        state.lastRecord = in.getLong();
        state.time = in.getLong();
        state.crc = in.getInt();
        state.released = in.getInt() == 1;
        byte[] host = new byte[in.getInt()];
        in.get(host);
        state.host = new String(host, StandardCharsets.UTF_8);
        ExtentPage.Part[] parts = new ExtentPage.Part[in.getInt()];
        for (int i = 0; i < parts.length; i++)
            parts[i] = new ExtentPage.Part(keys.part(in.getLong(), in.getLong(), in.getInt()), in.getInt());
        pages(state, in, parts);
        List<Long> dead = new ArrayList<>();
        for (int n = in.getInt(); n > 0; n--) {
            long slot = in.getLong();
            State.Stored stored = new State.Stored(in.getInt(), in.getInt(), in.getInt(), in.getInt());
            state.add(slot, stored);
            state.liveBlocks += stored.live;
            if (stored.live == 0) dead.add(slot);
        }
        Set<String> names = new HashSet<>();
        for (ExtentPage.Part part : parts) names.add(part.key);
        newest = new Kept(state.slot, names, dead);
        older = null;
        return state;
    }

    private ByteBuffer wholeRoot(String key) throws IOException {
        long size = -1;
        for (ObjectStore.Item item : bucket.list(key, "", 1, patience)) size = item.size();
        if (size < 0) throw new ObjectStore.Missing(key);
        return bucket.get(key, 0, Math.toIntExact(size), patience).order(ByteOrder.LITTLE_ENDIAN);
    }

    /** Where a root says that a page is. */
    private record Place(long number, int offset, int bytes, int crc) {}

    /** Reads the pages, part by part, so that one of them is in memory at a time. */
    private void pages(State state, ByteBuffer in, ExtentPage.Part[] parts) throws IOException {
        List<List<Place>> places = new ArrayList<>();
        for (int i = 0; i < parts.length; i++) places.add(new ArrayList<>());
        for (int count = in.getInt(); count > 0; count--) {
            long number = in.getLong();
            places.get(in.getInt()).add(new Place(number, in.getInt(), in.getInt() * ExtentPage.STORED, in.getInt()));
        }
        for (int i = 0; i < parts.length; i++) {
            ExtentPage.Part part = parts[i];
            ByteBuffer body = bucket.get(part.key, 0, part.size, patience);
            for (Place place : places.get(i)) {
                int end = place.offset + place.bytes;
                if (end > body.limit() || Header.crcOf(body, place.offset, place.bytes) != place.crc)
                    throw new Corruption("part " + part.key + " of a checkpoint is damaged at " + place.offset);
                ExtentPage page =
                        ExtentPage.decode(body.slice(place.offset, place.bytes).order(ByteOrder.LITTLE_ENDIAN));
                page.part = part;
                page.offset = place.offset;
                page.crc = place.crc;
                state.map.put(place.number, page);
            }
        }
    }

    /** A page as a checkpoint has it. */
    private record Frozen(long number, ExtentPage page, ExtentPage.Part part) {}

    /** Writes a checkpoint of the present state, then deletes what is not needed any more. */
    void write(State state, long nonce, Scheduler scheduler) throws IOException {
        List<Frozen> pages = new ArrayList<>();
        scheduler.lock();
        long slot = state.slot;
        state.applied = 0;
        state.appliedBytes = 0;
        ByteBuffer fixed = fixed(state);
        ByteBuffer objects = ByteBuffer.allocate(4 + state.objects.size() * 24).order(ByteOrder.LITTLE_ENDIAN);
        List<Long> dead = new ArrayList<>();
        objects.putInt(state.objects.size());
        state.objects.forEach((at, stored) -> {
            objects.putLong(at)
                    .putInt(stored.headerBlocks)
                    .putInt(stored.payloadBlocks)
                    .putInt(stored.crc)
                    .putInt(stored.live);
            if (stored.live == 0) dead.add(at);
        });
        Set<ExtentPage.Part> sparse = sparse(state.map);
        for (long n = state.map.next(0); n < state.map.limit(); n = state.map.next(n + 1)) {
            ExtentPage page = state.map.page(n);
            page.frozen = true;
            pages.add(new Frozen(n, page, sparse.contains(page.part) ? null : page.part));
        }
        scheduler.unlock();
        Map<ExtentPage, ExtentPage.Part> fresh = new HashMap<>();
        Map<ExtentPage, int[]> places = new HashMap<>();
        boolean stored = false;
        try {
            parts(pages, slot, nonce, fresh, places);
            root(pages, slot, nonce, fixed, objects.flip(), fresh, places);
            stored = true;
        } finally {
            scheduler.lock();
            for (Frozen frozen : pages) {
                ExtentPage page = frozen.page;
                page.frozen = false;
                ExtentPage.Part part = fresh.get(page);
                // a part whose put failed must not be named by a later root
                if (!stored || part == null || state.map.page(frozen.number) != page) continue;
                page.part = part;
                page.offset = places.get(page)[0];
                page.crc = places.get(page)[1];
            }
            scheduler.unlock();
        }
        Set<String> names = new HashSet<>();
        for (Frozen frozen : pages) names.add((frozen.part == null ? fresh.get(frozen.page) : frozen.part).key);
        older = newest;
        newest = new Kept(slot, names, dead);
        sweep(state, scheduler);
    }

    private ByteBuffer fixed(State state) {
        byte[] host = state.host.getBytes(StandardCharsets.UTF_8);
        ByteBuffer out = ByteBuffer.allocate(100 + host.length).order(ByteOrder.LITTLE_ENDIAN);
        out.putLong(MAGIC).putInt(Header.VERSION).putInt(0);
        Uuids.put(out, volume);
        out.putLong(state.slot).putLong(state.size).putLong(state.epoch).putLong(state.nonce);
        out.putLong(state.lastRecord).putLong(state.time).putInt(state.crc).putInt(state.released ? 1 : 0);
        return out.putInt(host.length).put(host).flip();
    }

    /** The parts of which less than half is still in use: their pages are written anew. */
    private static Set<ExtentPage.Part> sparse(ExtentMap map) {
        Map<ExtentPage.Part, Integer> used = new HashMap<>();
        for (long n = map.next(0); n < map.limit(); n = map.next(n + 1)) {
            ExtentPage page = map.page(n);
            if (page.part != null) used.merge(page.part, page.stored(), Integer::sum);
        }
        Set<ExtentPage.Part> sparse = new HashSet<>();
        used.forEach((part, bytes) -> {
            if (bytes < part.size / 2) sparse.add(part);
        });
        return sparse;
    }

    private void parts(
            List<Frozen> pages,
            long slot,
            long nonce,
            Map<ExtentPage, ExtentPage.Part> fresh,
            Map<ExtentPage, int[]> places)
            throws IOException {
        int number = 0;
        for (int i = 0; i < pages.size(); ) {
            int first = i;
            int bytes = 0;
            while (i < pages.size() && bytes < PART_BYTES) {
                Frozen frozen = pages.get(i++);
                if (frozen.part == null) bytes += frozen.page.stored();
            }
            if (bytes == 0) continue;
            ByteBuffer body = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
            ExtentPage.Part part = new ExtentPage.Part(keys.part(slot, nonce, number++), bytes);
            for (Frozen frozen : pages.subList(first, i)) {
                if (frozen.part != null) continue;
                int start = body.position();
                frozen.page.encode(body);
                fresh.put(frozen.page, part);
                places.put(frozen.page, new int[] {start, Header.crcOf(body, start, body.position() - start)});
            }
            bucket.putIfAbsent(part.key, body.flip(), Bucket.EVER);
        }
    }

    private void root(
            List<Frozen> pages,
            long slot,
            long nonce,
            ByteBuffer fixed,
            ByteBuffer objects,
            Map<ExtentPage, ExtentPage.Part> fresh,
            Map<ExtentPage, int[]> places)
            throws IOException {
        Map<ExtentPage.Part, Integer> numbers = new HashMap<>();
        List<ExtentPage.Part> parts = new ArrayList<>();
        for (Frozen frozen : pages) {
            ExtentPage.Part part = frozen.part == null ? fresh.get(frozen.page) : frozen.part;
            if (numbers.putIfAbsent(part, parts.size()) == null) parts.add(part);
        }
        ByteBuffer out = ByteBuffer.allocate(
                        fixed.remaining() + 4 + parts.size() * 24 + 4 + pages.size() * 24 + objects.remaining() + 4)
                .order(ByteOrder.LITTLE_ENDIAN);
        out.put(fixed).putInt(parts.size());
        for (ExtentPage.Part part : parts) {
            String name = part.key.substring(part.key.lastIndexOf('/') + 1);
            String[] fields = name.split("-");
            out.putLong(Long.parseUnsignedLong(fields[0], 16)).putLong(Long.parseUnsignedLong(fields[1], 16));
            out.putInt(Integer.parseInt(fields[2])).putInt(part.size);
        }
        out.putInt(pages.size());
        for (Frozen frozen : pages) {
            boolean old = frozen.part != null;
            out.putLong(frozen.number).putInt(numbers.get(old ? frozen.part : fresh.get(frozen.page)));
            out.putInt(old ? frozen.page.offset : places.get(frozen.page)[0]).putInt(frozen.page.count());
            out.putInt(old ? frozen.page.crc : places.get(frozen.page)[1]);
        }
        out.put(objects);
        out.putInt(Header.crcOf(out, 0, out.position()));
        bucket.putIfAbsent(keys.root(slot, nonce), out.flip(), Bucket.EVER);
    }

    /** Deletes what neither kept checkpoint needs. */
    private void sweep(State state, Scheduler scheduler) throws IOException {
        Kept from = rules.forgetsOlderRoot() ? newest : older;
        if (from == null) return;
        List<String> gone = new ArrayList<>();
        for (long dead : from.dead) gone.add(keys.log(dead));
        bucket.delete(gone, Bucket.EVER);
        scheduler.lock();
        state.forget(from.dead);
        scheduler.unlock();
        if (from != newest) newest.dead.removeAll(new HashSet<>(from.dead));
        gone.clear();
        for (ObjectStore.Item root : bucket.list(keys.roots(), "", 1000, Bucket.EVER))
            if (Keys.rootSlot(root.key()) < from.slot) gone.add(root.key());
        String after = "";
        while (true) {
            List<ObjectStore.Item> some = bucket.list(keys.parts(), after, 1000, Bucket.EVER);
            for (ObjectStore.Item part : some) {
                after = part.key();
                boolean needed = newest.parts.contains(after) || older != null && older.parts.contains(after);
                if (!needed && Keys.slot(after) <= from.slot) gone.add(after);
            }
            if (some.size() < 1000) break;
        }
        bucket.delete(gone, Bucket.EVER);
    }
}
