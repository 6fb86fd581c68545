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
import java.util.function.Function;
import java.util.function.Predicate;

/**
 * Writes and reads checkpoints, and deletes what no kept one needs. Two are kept: the newest, from which everybody
 * begins, and the one before. Used by one thread at a time.
 */
final class Checkpoints {
    /** Less than this is never much. */
    private static final long MUCH = 32 << 20;

    static final int VERSION = 2;
    static final long MAGIC = 0x31544f4f4b4c4244L; // "DBLKOOT1"
    private static final int PART_BYTES = 4 << 20;

    private final Bucket bucket;
    private final Keys keys;
    private final UUID volume;
    private final Rules rules;
    private final long patience;

    /** What is known of a kept checkpoint: its parts, the objects that it doesn't need, its snapshots. */
    private record Kept(long slot, Set<String> parts, List<Long> dead, Set<Long> snapshots) {}

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

    /**
     * Whether enough was written since the last checkpoint to be worth one: so many objects, or, as objects that are
     * dead stay until then, so many that died that they hold an eighth of what is live. Call with the volume's lock.
     */
    static boolean due(State state, int objects, boolean idle) {
        boolean much = state.diedBlocks * Header.BLOCK >= Math.max(MUCH, state.liveBlocks * Header.BLOCK / 8);
        if (state.applied < objects && !much) return idle && state.applied > 0;
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

    /** What a volume begins with whose log has no checkpoint yet. */
    State first(Format format) throws IOException {
        newest = null;
        older = null;
        if (!format.isClone()) return new State(volume, format.size(), rules);
        Keys parent = keys.parent();
        Checkpoints base = new Checkpoints(bucket, parent, format.ancestors().get(0), rules, patience);
        return base.load(parent.snapshot(format.base(), format.snapshot()), format.base())
                .inherited(volume);
    }

    /** Reads the checkpoint of a root. */
    State load(String rootKey) throws IOException {
        return load(rootKey, Keys.rootSlot(rootKey));
    }

    /** Reads the checkpoint, or the snapshot, of a root that belongs to a slot. */
    State load(String rootKey, long slot) throws IOException {
        State state = new State(volume, 0, rules);
        ByteBuffer in = wholeRoot(rootKey);
        ExtentPage.Part[] parts = begin(state, in, "checkpoint " + rootKey, slot);
        pages(state, in, parts);
        for (int n = in.getInt(); n > 0; n--) {
            long object = in.getLong();
            State.Stored stored = new State.Stored(in.getInt(), in.getInt(), in.getInt(), in.getInt());
            stored.died = in.getLong();
            if (object >>> Keys.GENERATION > keys.generations())
                throw new Corruption("checkpoint " + rootKey + " points to an ancestor that the volume doesn't have");
            state.add(object, stored);
        }
        Set<String> needed = names(parts);
        snapshots(state, in);
        if (rules.keepsPartsOfSnapshots()) for (Snapshot each : state.snapshots.values()) needed.addAll(each.parts);
        List<Long> dead = new ArrayList<>();
        state.objects.forEach((object, stored) -> {
            if (stored.live == 0 && !state.isShown(object, stored)) dead.add(object);
        });
        newest = new Kept(state.slot, needed, dead, new HashSet<>(state.snapshots.keySet()));
        older = null;
        return state;
    }

    private static Set<String> names(ExtentPage.Part[] parts) {
        Set<String> names = new HashSet<>();
        for (ExtentPage.Part part : parts) names.add(part.key);
        return names;
    }

    /** Reads a root up to its list of parts, which it returns. */
    private ExtentPage.Part[] begin(State state, ByteBuffer in, String what, long slot) throws IOException {
        if (in.remaining() < 108 || in.getLong() != MAGIC) throw new Corruption(what + " has no magic number");
        int version = in.getInt();
        if (version != VERSION)
            throw new Corruption(what + " has format version " + version + ": this gateway knows " + VERSION);
        if (in.getInt(in.limit() - 4) != Header.crcOf(in, 0, in.limit() - 4))
            throw new Corruption(what + " doesn't match its CRC");
        in.limit(in.limit() - 4);
        in.getInt();
        if (!Uuids.get(in).equals(volume)) throw new Corruption(what + " is of another volume");
        state.slot = in.getLong();
        if (state.slot != slot) throw new Corruption(what + " is of slot " + state.slot);
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
        return parts;
    }

    private void snapshots(State state, ByteBuffer in) {
        for (int n = in.getInt(); n > 0; n--) {
            long slot = in.getLong();
            long size = in.getLong();
            long time = in.getLong();
            byte[] name = new byte[in.getInt()];
            in.get(name);
            Snapshot snapshot = new Snapshot(slot, new String(name, StandardCharsets.US_ASCII), size, time);
            snapshot.parts = new HashSet<>();
            for (int parts = in.getInt(); parts > 0; parts--)
                snapshot.parts.add(keys.part(in.getLong(), in.getLong(), in.getInt()));
            state.snapshots.put(slot, snapshot);
        }
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

    /** A page as it is being written: where it is already, or null. */
    private record Frozen(long number, ExtentPage page, ExtentPage.Part part) {}

    /** Writes a checkpoint of the present state, then deletes what is not needed any more. */
    void write(State state, long nonce, Scheduler scheduler) throws IOException {
        Image image;
        scheduler.lock();
        try {
            // a checkpoint that has a snapshot behind it says where that is
            if (state.unwritten() != null && rules.writesSnapshotsFirst()) return;
            // a root doesn't say that the volume is deleted, and must not hide the record that does
            if (state.deleted) return;
            image = Image.of(state);
            state.applied = 0;
            state.appliedBytes = 0;
            state.diedBlocks = 0;
        } finally {
            scheduler.unlock();
        }
        Set<String> needed = new HashSet<>();
        if (rules.keepsPartsOfSnapshots()) needed.addAll(image.snapshotParts);
        try {
            write(image, keys.root(image.slot, nonce), nonce, needed, scheduler);
        } finally {
            scheduler.lock();
            image.release();
            scheduler.unlock();
        }
        older = newest;
        newest = new Kept(image.slot, needed, image.dead, image.snapshotSlots);
        sweep(state, scheduler);
    }

    /** Writes a snapshot's root. */
    void write(Snapshot snapshot, Scheduler scheduler) throws IOException {
        Image image = snapshot.image;
        String key = keys.snapshot(snapshot.slot, snapshot.name);
        Set<String> needed = new HashSet<>();
        // its own nonce: a checkpoint of the same slot must not meet its parts
        if (!write(image, key, scheduler.random(), needed, scheduler)) {
            // a former owner was faster, or the reply was lost: whoever came first counts
            needed = names(begin(new State(volume, 0, rules), wholeRoot(key), "snapshot " + key, snapshot.slot));
        }
        scheduler.lock();
        snapshot.parts = needed;
        if (snapshot.image != null) image.release();
        snapshot.image = null;
        scheduler.signal();
        scheduler.unlock();
    }

    /** Writes parts and root of an image; returns whether the root is the one written now. */
    private boolean write(Image image, String rootKey, long nonce, Set<String> needed, Scheduler scheduler)
            throws IOException {
        List<Frozen> pages = new ArrayList<>();
        scheduler.lock();
        Set<ExtentPage.Part> sparse = sparse(image);
        for (Image.Numbered each : image.pages)
            pages.add(new Frozen(
                    each.number(), each.page(), sparse.contains(each.page().part) ? null : each.page().part));
        scheduler.unlock();
        Map<ExtentPage, ExtentPage.Part> fresh = new HashMap<>();
        Map<ExtentPage, int[]> places = new HashMap<>();
        parts(pages, image.slot, nonce, fresh, places);
        for (Frozen frozen : pages) needed.add((frozen.part == null ? fresh.get(frozen.page) : frozen.part).key);
        if (!root(pages, rootKey, image, fresh, places)) return false;
        scheduler.lock();
        fresh.forEach((page, part) -> {
            page.part = part; // it did not change since
            page.offset = places.get(page)[0];
            page.crc = places.get(page)[1];
        });
        scheduler.unlock();
        return true;
    }

    /** The parts of which less than half is still in use: their pages are written anew. */
    private static Set<ExtentPage.Part> sparse(Image image) {
        Map<ExtentPage.Part, Integer> used = new HashMap<>();
        for (Image.Numbered each : image.pages) {
            ExtentPage page = each.page();
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

    private boolean root(
            List<Frozen> pages,
            String key,
            Image image,
            Map<ExtentPage, ExtentPage.Part> fresh,
            Map<ExtentPage, int[]> places)
            throws IOException {
        Map<ExtentPage.Part, Integer> numbers = new HashMap<>();
        List<ExtentPage.Part> parts = new ArrayList<>();
        for (Frozen frozen : pages) {
            ExtentPage.Part part = frozen.part == null ? fresh.get(frozen.page) : frozen.part;
            if (numbers.putIfAbsent(part, parts.size()) == null) parts.add(part);
        }
        int bytes = image.fixed.remaining() + image.objects.remaining() + image.snapshots.remaining();
        ByteBuffer out = ByteBuffer.allocate(bytes + 4 + parts.size() * 24 + 4 + pages.size() * 24 + 4)
                .order(ByteOrder.LITTLE_ENDIAN);
        out.put(image.fixed.duplicate()).putInt(parts.size());
        for (ExtentPage.Part part : parts) {
            ExtentPage.Part.encode(part.key, out);
            out.putInt(part.size);
        }
        out.putInt(pages.size());
        for (Frozen frozen : pages) {
            boolean old = frozen.part != null;
            out.putLong(frozen.number).putInt(numbers.get(old ? frozen.part : fresh.get(frozen.page)));
            out.putInt(old ? frozen.page.offset : places.get(frozen.page)[0]).putInt(frozen.page.count());
            out.putInt(old ? frozen.page.crc : places.get(frozen.page)[1]);
        }
        out.put(image.objects.duplicate()).put(image.snapshots.duplicate());
        out.putInt(Header.crcOf(out, 0, out.position()));
        return bucket.putIfAbsent(key, out.flip(), Bucket.EVER);
    }

    /** Deletes what neither kept checkpoint needs. */
    private void sweep(State state, Scheduler scheduler) throws IOException {
        Kept from = rules.forgetsOlderRoot() ? newest : older;
        if (from == null) return;
        List<String> gone = new ArrayList<>();
        for (long dead : from.dead) if (Keys.isOwn(dead)) gone.add(keys.log(dead));
        bucket.delete(gone, Bucket.EVER);
        scheduler.lock();
        state.forget(from.dead);
        scheduler.unlock();
        if (from != newest) newest.dead.removeAll(new HashSet<>(from.dead));
        gone.clear();
        for (ObjectStore.Item root : bucket.list(keys.roots(), "", 1000, Bucket.EVER))
            if (Keys.rootSlot(root.key()) < from.slot) gone.add(root.key());
        obsolete(keys.parts(), from, kept -> kept.parts::contains, gone);
        obsolete(keys.snapshots(), from, kept -> key -> kept.snapshots.contains(Keys.slot(key)), gone);
        bucket.delete(gone, Bucket.EVER);
    }

    /** Adds the keys below a prefix, not after a checkpoint, that no kept one needs. */
    private void obsolete(String prefix, Kept from, Function<Kept, Predicate<String>> needs, List<String> gone)
            throws IOException {
        for (ObjectStore.Item item : bucket.listAll(prefix, Bucket.EVER)) {
            String key = item.key();
            boolean needed = needs.apply(newest).test(key)
                    || older != null && needs.apply(older).test(key);
            if (!needed && Keys.slot(key) <= from.slot) gone.add(key);
        }
    }
}
