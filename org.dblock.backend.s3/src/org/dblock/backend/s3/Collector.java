package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Gives back the space of objects of which little is live: copies what is live to a new object of the log. One thread.
 */
final class Collector {
    private static final System.Logger LOG = System.getLogger(Collector.class.getName());
    private static final int VICTIMS = 32;

    private final State state;
    private final Log log;
    private final ReadCache cache;
    private final Scheduler scheduler;
    private final Settings settings;
    private final Set<Long> unreadable = new HashSet<>();
    private final Deque<Copy> copies = new ArrayDeque<>();
    private long notBefore;

    /** An object that is on its way into the log, and whose data it holds. */
    private record Copy(Header header, List<Long> victims) {}

    /** A stretch of live blocks of a victim. */
    private record Live(long lba, int blocks, long slot, int at) {}

    Collector(State state, Log log, ReadCache cache, Scheduler scheduler, Settings settings) {
        this.state = state;
        this.log = log;
        this.cache = cache;
        this.scheduler = scheduler;
        this.settings = settings;
        notBefore = scheduler.nanos();
    }

    /**
     * Collects what fills one object, if it is worth it and the rate allows it; whether it did. It gives way to what is
     * written, but where far more is stored than was asked for, it takes up to half of the window of puts.
     */
    boolean step() throws IOException {
        List<Long> victims = new ArrayList<>();
        int blocks;
        scheduler.lock();
        try {
            while (!copies.isEmpty() && isApplied(copies.peek().header)) copies.poll();
            long live = state.liveBlocks * 100;
            long wanted = (state.storedBlocks - state.deadBlocks) * settings.collectBelow();
            if (live >= wanted || scheduler.nanos() < notBefore) return false;
            boolean behind = live < wanted / 10 * 9;
            if (behind ? copies.size() >= Math.max(1, log.window() / 2) : !copies.isEmpty() || !log.hasRoom())
                return false;
            blocks = choose(victims);
            if (victims.isEmpty()) {
                // snapshots hold it all, or it is on its way; each look goes through all objects
                notBefore = scheduler.nanos() + (copies.isEmpty() ? 1_000_000_000L : settings.tickNanos());
                return false;
            }
        } finally {
            scheduler.unlock();
        }
        return copy(victims, blocks);
    }

    private boolean isApplied(Header header) {
        return header.slot != 0 && header.slot <= state.slot;
    }

    /**
     * The objects that cost the least for what they give, old ones preferred, (1 - u) * age / (1 + u), and how much is
     * live.
     */
    private int choose(List<Long> victims) {
        record Candidate(long slot, int live, double benefit) {}
        List<Candidate> candidates = new ArrayList<>();
        long allLive = 0;
        long allHeld = 0;
        Set<Long> busy = new HashSet<>();
        for (Copy copy : copies) busy.addAll(copy.victims);
        for (Map.Entry<Long, State.Stored> entry : state.objects.entrySet()) {
            State.Stored stored = entry.getValue();
            // what a snapshot shows would stay all the same, and an ancestor's is not ours
            if (!Keys.isOwn(entry.getKey()) || state.isShown(entry.getKey(), stored)) continue;
            allLive += stored.live;
            if (busy.contains(entry.getKey())) {
                allHeld += stored.live; // soon in another object
                continue;
            }
            if (stored.live > 0) allHeld += stored.payloadBlocks;
            if (stored.live == 0 || stored.live == stored.payloadBlocks || unreadable.contains(entry.getKey()))
                continue;
            double used = (double) stored.live / stored.payloadBlocks;
            double age = state.slot - entry.getKey() + 1.0;
            candidates.add(new Candidate(entry.getKey(), stored.live, (1 - used) * age / (1 + used)));
        }
        // what is dead goes with the next checkpoints, without being copied
        if (allLive * 100 >= allHeld * settings.collectBelow()) return 0;
        candidates.sort((a, b) -> Double.compare(b.benefit, a.benefit));
        int blocks = 0;
        for (Candidate candidate : candidates) {
            if (victims.size() == VICTIMS || !victims.isEmpty() && blocks + candidate.live > settings.objectBlocks())
                break;
            victims.add(candidate.slot);
            blocks += candidate.live;
        }
        return blocks;
    }

    private boolean copy(List<Long> victims, int most) throws IOException {
        List<Live> live = new ArrayList<>();
        Header header = new Header();
        header.type = Header.Type.COLLECTED;
        ByteBuffer all = ByteBuffer.allocate(most * Header.BLOCK); // live blocks only become fewer
        for (long slot : victims) {
            scheduler.lock();
            State.Stored stored = state.objects.get(slot);
            scheduler.unlock();
            if (stored == null) continue;
            List<Live> here;
            ByteBuffer payload;
            try {
                Header victim = cache.header(slot, stored);
                here = liveOf(slot, victim);
                if (here.isEmpty()) continue;
                payload = cache.payload(slot, stored, victim.payloadCrc, 0, stored.payloadBlocks);
            } catch (ObjectStore.Missing | Corruption e) {
                // left as it is, so that a later look finds what can be saved; the others go on
                LOG.log(System.Logger.Level.ERROR, "the space of slot " + slot + " can't be collected: " + e);
                unreadable.add(slot);
                continue;
            }
            for (Live piece : here) all.put(payload.slice(piece.at * Header.BLOCK, piece.blocks * Header.BLOCK));
            live.addAll(here);
            long bytes = (long) stored.payloadBlocks * Header.BLOCK;
            notBefore =
                    Math.max(notBefore, scheduler.nanos()) + 1_000_000_000L * bytes / settings.collectBytesPerSecond();
        }
        if (live.isEmpty()) return false;
        header.room(live.size());
        all.flip();
        header.payloadCrc = new int[all.remaining() / Header.BLOCK];
        int at = 0;
        for (int i = 0; i < live.size(); i++) {
            Live piece = live.get(i);
            header.sourceSlot[i] = piece.slot;
            header.sourceAt[i] = piece.at;
            header.add(piece.lba, piece.blocks, at);
            at += piece.blocks;
        }
        scheduler.lock();
        try {
            log.append(header, all);
            copies.add(new Copy(header, victims));
        } finally {
            scheduler.unlock();
        }
        return true;
    }

    /** What the map still has of a victim; its header says where to look. */
    private List<Live> liveOf(long slot, Header victim) {
        List<Live> live = new ArrayList<>();
        scheduler.lock();
        for (int i = 0; i < victim.extents; i++) {
            state.map.visit(victim.lba[i], victim.blocks[i], (lba, blocks, object, at) -> {
                if (object == slot) live.add(new Live(lba, blocks, object, at));
            });
        }
        scheduler.unlock();
        return live;
    }
}
