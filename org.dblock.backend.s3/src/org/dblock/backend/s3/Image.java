package org.dblock.backend.s3;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.UUID;

/**
 * A state as it was at one slot, while it is being written down: its pages don't change until it is released. Made and
 * released with the volume's lock.
 */
final class Image {
    /** A page of the map. */
    record Numbered(long number, ExtentPage page) {}

    final long slot;
    final ByteBuffer fixed;
    final ByteBuffer objects;
    final ByteBuffer snapshots;
    /** The slots of the snapshots that there are, and the parts that they need. */
    final Set<Long> snapshotSlots = new HashSet<>();

    final Set<String> snapshotParts = new HashSet<>();
    final List<Numbered> pages = new ArrayList<>();
    /** The objects that nothing points to. */
    final List<Long> dead = new ArrayList<>();

    /** An image for a checkpoint; it names the snapshots that are written. */
    static Image of(State state) {
        List<Snapshot> written = new ArrayList<>(state.snapshots.values());
        written.removeIf(each -> each.parts == null);
        return new Image(state, state.time, written);
    }

    /** An image for a snapshot that was made at a time. */
    static Image of(State state, long time) {
        return new Image(state, time, List.of());
    }

    private Image(State state, long time, List<Snapshot> known) {
        slot = state.slot;
        fixed = fixed(state, time);
        objects = ByteBuffer.allocate(4 + state.objects.size() * 32).order(ByteOrder.LITTLE_ENDIAN);
        objects.putInt(state.objects.size());
        state.objects.forEach((at, stored) -> {
            objects.putLong(at)
                    .putInt(stored.headerBlocks)
                    .putInt(stored.payloadBlocks)
                    .putInt(stored.crc)
                    .putInt(stored.live)
                    .putLong(stored.died);
            if (stored.live == 0 && !state.isShown(at, stored)) dead.add(at);
        });
        objects.flip();
        snapshots = snapshots(known);
        ExtentMap map = state.map;
        for (long n = map.next(0); n < map.limit(); n = map.next(n + 1)) {
            ExtentPage page = map.page(n);
            page.frozen++;
            pages.add(new Numbered(n, page));
        }
    }

    /** Its map and the objects that this points to, without the rest of the state. */
    State shown(UUID volume) {
        State state = new State(volume, 0, new Rules());
        for (Numbered each : pages) state.map.put(each.number, each.page);
        ByteBuffer in = objects.duplicate().order(ByteOrder.LITTLE_ENDIAN);
        for (int n = in.getInt(); n > 0; n--) {
            long object = in.getLong();
            state.add(object, new State.Stored(in.getInt(), in.getInt(), in.getInt(), in.getInt()));
            in.getLong();
        }
        return state;
    }

    void release() {
        for (Numbered each : pages) each.page.frozen--;
    }

    private static ByteBuffer fixed(State state, long time) {
        byte[] host = state.host.getBytes(StandardCharsets.UTF_8);
        ByteBuffer out = ByteBuffer.allocate(100 + host.length).order(ByteOrder.LITTLE_ENDIAN);
        out.putLong(Checkpoints.MAGIC).putInt(Checkpoints.VERSION).putInt(0);
        Uuids.put(out, state.volume);
        out.putLong(state.slot).putLong(state.size).putLong(state.epoch).putLong(state.nonce);
        out.putLong(state.lastRecord).putLong(time).putInt(state.crc).putInt(state.released ? 1 : 0);
        return out.putInt(host.length).put(host).flip();
    }

    private ByteBuffer snapshots(List<Snapshot> known) {
        int bytes = 4;
        for (Snapshot each : known) bytes += 32 + each.name.length() + each.parts.size() * 20;
        ByteBuffer out =
                ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN).putInt(known.size());
        for (Snapshot each : known) {
            out.putLong(each.slot).putLong(each.size).putLong(each.time);
            out.putInt(each.name.length()).put(each.name.getBytes(StandardCharsets.US_ASCII));
            out.putInt(each.parts.size());
            for (String part : each.parts) ExtentPage.Part.encode(part, out);
            snapshotSlots.add(each.slot);
            snapshotParts.addAll(each.parts);
        }
        return out.flip();
    }
}
