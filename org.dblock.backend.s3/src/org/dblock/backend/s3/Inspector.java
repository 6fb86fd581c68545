package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.dblock.api.Inspection;

/**
 * Reads a volume and its snapshots where they lie in the bucket and verifies them, without owning the volume: whoever
 * does goes on. What a damaged object means is told in ranges of the volume, and of each snapshot that shows it.
 *
 * <p>No more than one snapshot's map is in memory at a time: it is read once to learn what the snapshot needs, and
 * again only if there is damage.
 */
final class Inspector {
    private static final int BLOCK = Header.BLOCK;
    private static final int READERS = 8;
    private static final int PIECE = 256; // blocks: 1 MiB
    private static final int PAGE = 1000;
    /** How often an object is read that seems to be damaged: it may have been damaged on its way. */
    private static final int TRIES = 3;

    private final Bucket bucket;
    private final Keys keys;
    private final Format format;
    private final Scheduler scheduler;
    private final Settings settings;
    private final boolean scrub;
    private final Map<String, String> facts = new LinkedHashMap<>();
    private final List<Inspection.Damage> damage = new ArrayList<>();

    /** What is wrong with an object, and with which blocks of its payload; null: none that could be read. */
    private record Fault(String what, BitSet blocks) {}

    Inspector(Bucket bucket, Keys keys, Format format, Scheduler scheduler, Settings settings, boolean scrub) {
        this.bucket = bucket;
        this.keys = keys;
        this.format = format;
        this.scheduler = scheduler;
        this.settings = settings;
        this.scrub = scrub;
    }

    Inspection run() throws IOException {
        facts.put("id", format.volume().toString());
        State state = read();
        describe(state);
        roots(state);
        NavigableMap<Long, State.Stored> needed = new TreeMap<>();
        need(state, needed);
        List<Snapshot> snapshots = snapshots(state, needed);
        NavigableMap<Long, Long> log = log();
        Map<Long, Fault> faults = new TreeMap<>();
        sizes(needed, log, faults);
        if (scrub) scrub(needed, faults);
        if (!faults.isEmpty()) report(current(state, faults), snapshots, faults);
        leftovers(state, log);
        return new Inspection(facts, damage);
    }

    private static void need(State state, Map<Long, State.Stored> needed) {
        state.objects.forEach((object, stored) -> {
            if (stored.live > 0) needed.putIfAbsent(object, stored);
        });
    }

    /** Adds what the snapshots need that somebody can see or has cloned; returns those that can be read. */
    private List<Snapshot> snapshots(State state, Map<Long, State.Stored> needed) throws IOException {
        Snapshots known = new Snapshots(bucket, keys, new Rules(), settings.patienceNanos());
        NavigableMap<Long, Snapshot> all = new TreeMap<>(state.snapshots);
        // of a log that can't be read to its end, or made since it was read
        for (Snapshots.Entry each : known.list())
            all.putIfAbsent(each.slot(), new Snapshot(each.slot(), each.name(), 0, 0));
        for (long slot : known.deleted()) if (known.users(slot).isEmpty()) all.remove(slot);
        List<Snapshot> readable = new ArrayList<>();
        for (Snapshot each : all.values()) {
            try {
                need(shown(each), needed);
                readable.add(each);
            } catch (ObjectStore.Missing | Corruption e) {
                if (e instanceof ObjectStore.Missing && known.deleted().contains(each.slot)) continue; // since
                damage.add(new Inspection.Damage(
                        keys.snapshot(each.slot, each.name), "can't be read: " + e.getMessage(), each.name, -1, 0));
            }
        }
        if (!all.isEmpty())
            facts.put("snapshots", all.values().stream().map(each -> each.name).collect(Collectors.joining(", ")));
        return readable;
    }

    /** What a snapshot shows; one that its owner has not written down yet is what the log says. */
    private State shown(Snapshot snapshot) throws IOException {
        Checkpoints checkpoints = new Checkpoints(bucket, keys, format.volume(), new Rules(), settings.patienceNanos());
        try {
            return checkpoints.load(keys.snapshot(snapshot.slot, snapshot.name), snapshot.slot);
        } catch (ObjectStore.Missing e) {
            if (snapshot.image == null) throw e;
            return snapshot.image.shown(format.volume());
        }
    }

    private Fence fence() {
        Rules rules = new Rules();
        Checkpoints checkpoints = new Checkpoints(bucket, keys, format.volume(), rules, settings.patienceNanos());
        return new Fence(bucket, keys, format, checkpoints, scheduler, settings, rules);
    }

    /** The state at the end of the log, or as far as the log is sound. */
    private State read() throws IOException {
        try {
            return fence().read().state();
        } catch (Corruption e) {
            Fence.Partial partial = fence().readable();
            if (partial == null) {
                damage.add(new Inspection.Damage(
                        keys.format(),
                        "what it begins with can't be read, so it can't be opened: " + e.getMessage(),
                        "",
                        -1,
                        0));
                return new State(format.volume(), format.size(), new Rules());
            }
            State state = partial.state();
            String end = keys.log(state.slot + 1);
            String fault =
                    partial.fault() == null ? e.getMessage() : partial.fault().getMessage();
            damage.add(new Inspection.Damage(
                    end,
                    "the log can be read up to the slot before: " + fault + "; the volume can't be opened",
                    "",
                    -1,
                    0));
            cutOff(state);
            return state;
        }
    }

    /** What was written behind the end of what can be read. */
    private void cutOff(State state) throws IOException {
        String after = keys.log(state.slot + 1);
        for (ObjectStore.Item item : bucket.list(keys.logs(), after, PAGE, settings.patienceNanos())) {
            try {
                Header header = Fence.readHeader(bucket, item.key(), settings.patienceNanos());
                if (header.type != Header.Type.DATA) continue;
                for (int i = 0; i < header.extents; i++)
                    add(item.key(), "written after what is damaged", "", header.lba[i], header.blocks[i]);
            } catch (ObjectStore.Missing e) {
                // collected since
            } catch (Corruption e) {
                damage.add(new Inspection.Damage(item.key(), e.getMessage(), "", -1, 0));
            }
        }
    }

    private void describe(State state) {
        facts.put("size", state.size + " bytes");
        facts.put("owner", owner(state));
        facts.put("epoch", String.valueOf(state.epoch));
        facts.put(
                "log",
                "slot " + state.slot + ", " + state.objects.size() + " objects, " + state.applied
                        + " since the checkpoint");
        facts.put("live", state.liveBlocks * BLOCK + " bytes");
        facts.put("stored", state.storedBlocks * BLOCK + " bytes");
        if (state.deleted) facts.put("deleted", "by " + state.host);
    }

    private static String owner(State state) {
        if (state.epoch == 0) return "nobody yet";
        String who = state.host + " since " + Instant.ofEpochMilli(state.time);
        return state.released ? "nobody; the last was " + who + ", and released it" : who;
    }

    /** The two checkpoints that are kept, each with all of its pages. */
    private void roots(State state) throws IOException {
        List<ObjectStore.Item> roots = bucket.list(keys.roots(), "", 2, settings.patienceNanos());
        if (roots.isEmpty()) facts.put("checkpoint", "none yet");
        String title = "checkpoint";
        for (ObjectStore.Item root : roots) {
            try {
                Checkpoints checkpoints =
                        new Checkpoints(bucket, keys, format.volume(), new Rules(), settings.patienceNanos());
                State then = checkpoints.load(root.key());
                facts.put(
                        title, "slot " + then.slot + ", " + checkpoints.parts() + " parts, " + root.size() + " bytes");
            } catch (ObjectStore.Missing | Corruption e) {
                if (isGone(root.key())) continue;
                facts.put(title, "damaged");
                damage.add(new Inspection.Damage(root.key(), e.getMessage(), "", -1, 0));
            }
            title = "checkpoint before";
        }
    }

    /** Whether an object that was there is not any more: its owner goes on meanwhile. */
    private boolean isGone(String key) throws IOException {
        return bucket.list(key, "", 1, settings.patienceNanos()).isEmpty();
    }

    /** The log's objects by slot, with their sizes. */
    private NavigableMap<Long, Long> log() throws IOException {
        NavigableMap<Long, Long> sizes = new TreeMap<>();
        String after = "";
        while (true) {
            List<ObjectStore.Item> some = bucket.list(keys.logs(), after, PAGE, settings.patienceNanos());
            for (ObjectStore.Item item : some) sizes.put(Keys.slot(after = item.key()), item.size());
            if (some.size() < PAGE) return sizes;
        }
    }

    private static String bytes(long size, long expected) {
        return "has " + size + " bytes instead of " + expected;
    }

    /** Finds the objects that are missing or have another length than they should. */
    private void sizes(Map<Long, State.Stored> needed, NavigableMap<Long, Long> log, Map<Long, Fault> faults)
            throws IOException {
        for (Map.Entry<Long, State.Stored> entry : needed.entrySet()) {
            State.Stored stored = entry.getValue();
            Long size = log.get(entry.getKey());
            String key = keys.log(entry.getKey());
            if (!key.startsWith(keys.logs()))
                for (ObjectStore.Item item : bucket.list(key, "", 1, settings.patienceNanos())) size = item.size();
            long expected = (long) (stored.headerBlocks + stored.payloadBlocks) * BLOCK;
            if (size == null) faults.put(entry.getKey(), new Fault("is missing", all(stored)));
            else if (size != expected)
                faults.put(entry.getKey(), new Fault(bytes(size, expected), beyond(stored, size / BLOCK)));
        }
    }

    private static BitSet all(State.Stored stored) {
        return beyond(stored, 0);
    }

    /** The blocks of a payload that an object of so many blocks lacks; all, where the header is cut. */
    private static BitSet beyond(State.Stored stored, long blocks) {
        BitSet lacking = new BitSet();
        int first = (int) Math.max(0, Math.min(stored.payloadBlocks, blocks - stored.headerBlocks));
        lacking.set(blocks < stored.headerBlocks ? 0 : first, stored.payloadBlocks);
        return lacking;
    }

    /** Reads all objects once, several at a time. */
    private void scrub(Map<Long, State.Stored> needed, Map<Long, Fault> faults) throws IOException {
        List<Long> objects = new ArrayList<>(needed.keySet());
        objects.removeIf(faults::containsKey);
        long[] counts = new long[3]; // next, ended, bytes
        IOException[] failure = new IOException[1];
        for (int i = 0; i < READERS; i++)
            scheduler.run("scrub", () -> scrubSome(needed, objects, counts, faults, failure));
        scheduler.lock();
        while (counts[1] < READERS) scheduler.await(1_000_000_000L);
        scheduler.unlock();
        if (failure[0] != null) throw failure[0];
        facts.put("verified", objects.size() + " objects, " + counts[2] + " bytes");
    }

    private void scrubSome(
            Map<Long, State.Stored> needed,
            List<Long> objects,
            long[] counts,
            Map<Long, Fault> faults,
            IOException[] failure) {
        while (true) {
            scheduler.lock();
            int i = (int) counts[0]++;
            boolean over = i >= objects.size() || failure[0] != null;
            if (over) {
                counts[1]++;
                scheduler.signal();
            }
            scheduler.unlock();
            if (over) return;
            long object = objects.get(i);
            State.Stored stored = needed.get(object);
            Fault fault = null;
            IOException trouble = null;
            try {
                for (int tries = 0; tries < TRIES; tries++) {
                    fault = verify(keys.log(object), stored);
                    if (fault == null) break;
                }
            } catch (ObjectStore.Missing e) {
                fault = new Fault("is missing", all(stored));
            } catch (IOException e) {
                trouble = e;
            } catch (RuntimeException | Error e) {
                trouble = new IOException(e);
            }
            scheduler.lock();
            if (fault != null) faults.put(object, fault);
            if (trouble != null) failure[0] = trouble;
            counts[2] += (long) (stored.headerBlocks + stored.payloadBlocks) * BLOCK;
            scheduler.unlock();
        }
    }

    /** What is wrong with an object; null: nothing. */
    private Fault verify(String key, State.Stored stored) throws IOException {
        Header header;
        try {
            header = Fence.readHeader(bucket, key, settings.patienceNanos());
        } catch (Corruption e) {
            return new Fault("has a damaged header", all(stored));
        }
        if (header.crc != stored.crc) return new Fault("is another object than the map points to", all(stored));
        BitSet wrong = new BitSet();
        for (int first = 0; first < stored.payloadBlocks; first += PIECE) {
            int count = Math.min(PIECE, stored.payloadBlocks - first);
            long offset = (long) (stored.headerBlocks + first) * BLOCK;
            ByteBuffer data = bucket.get(key, offset, count * BLOCK, settings.patienceNanos());
            for (int i = 0; i < count; i++)
                if ((i + 1) * BLOCK > data.limit()
                        || Header.crcOf(data, i * BLOCK, BLOCK) != header.payloadCrc[first + i]) wrong.set(first + i);
        }
        return wrong.isEmpty() ? null : new Fault("has blocks that don't match their CRC", wrong);
    }

    /** The state anew if objects are missing: the owner may have collected them since. */
    private State current(State state, Map<Long, Fault> faults) throws IOException {
        if (faults.values().stream().noneMatch(fault -> fault.what.equals("is missing"))) return state;
        try {
            return fence().read().state();
        } catch (Corruption e) {
            return state;
        }
    }

    /** Tells which ranges of the volume, and of its snapshots, are in blocks that are damaged. */
    private void report(State state, List<Snapshot> snapshots, Map<Long, Fault> faults) throws IOException {
        report(state, "", faults);
        Snapshots known = new Snapshots(bucket, keys, new Rules(), settings.patienceNanos());
        for (long slot : known.deleted())
            if (known.users(slot).isEmpty()) snapshots.removeIf(each -> each.slot == slot); // since
        for (Snapshot each : snapshots) {
            try {
                report(shown(each), each.name, faults);
            } catch (ObjectStore.Missing e) {
                // deleted in this moment
            }
        }
    }

    private void report(State state, String snapshot, Map<Long, Fault> faults) {
        state.map.visit((lba, blocks, object, at) -> {
            Fault fault = faults.get(object);
            if (fault == null) return;
            for (int i = fault.blocks.nextSetBit(at); i >= 0 && i < at + blocks; ) {
                int end = Math.min(fault.blocks.nextClearBit(i), at + blocks);
                add(keys.log(object), fault.what, snapshot, lba + i - at, end - i);
                i = fault.blocks.nextSetBit(end);
            }
        });
    }

    /** Adds a range, to the one before it where it goes on. */
    private void add(String object, String what, String snapshot, long lba, long blocks) {
        if (!damage.isEmpty()) {
            Inspection.Damage last = damage.get(damage.size() - 1);
            boolean follows = last.offset() >= 0 && last.offset() + last.length() == lba * BLOCK;
            if (follows && last.equals(new Inspection.Damage(object, what, snapshot, last.offset(), last.length()))) {
                damage.set(
                        damage.size() - 1,
                        new Inspection.Damage(object, what, snapshot, last.offset(), last.length() + blocks * BLOCK));
                return;
            }
        }
        damage.add(new Inspection.Damage(object, what, snapshot, lba * BLOCK, blocks * BLOCK));
    }

    /** Counts what nothing needs and only a late put leaves. */
    private void leftovers(State state, NavigableMap<Long, Long> log) {
        long count = 0;
        long bytes = 0;
        for (Map.Entry<Long, Long> entry : log.headMap(state.slot, true).entrySet()) {
            // takeovers stay for ever, and all objects of one block may be some
            if (state.objects.containsKey(entry.getKey()) || entry.getValue() == BLOCK) continue;
            count++;
            bytes += entry.getValue();
        }
        if (count > 0) facts.put("left over", count + " objects, " + bytes + " bytes, of puts that were late");
    }
}
