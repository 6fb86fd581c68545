package org.dblock.backend.s3;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * All that can happen between a few gateways that want one volume of one block: every order of their requests, replies
 * that are lost, puts that land late, processes that stop for ever. Openings and checkpoints are the real code; of the
 * owner's log only what the format's document says is modelled here, with the same {@link Rules}.
 */
final class FenceModel {
    /** What one gateway may do: how many records it writes, how many checkpoints it makes. */
    record Role(int records, int checkpoints, boolean reader, boolean restartOfFirst) {
        static Role writer(int records, int checkpoints) {
            return new Role(records, checkpoints, false, false);
        }
    }

    private enum Mode {
        OPENING,
        OWNER,
        ENDED
    }

    /** A write: what it follows, and its number in the journal's order. */
    private record Written(int number, int parent) {}

    private enum Way {
        SENT,
        REFUSED,
        STORED
    }

    private record Put(String key, int object, int record, Way way) {
        Put with(Way other) {
            return new Put(key, object, record, other);
        }
    }

    /** One gateway. Immutable. */
    private record Gateway(
            Mode mode,
            int history,
            List<Integer> queue,
            List<Put> puts,
            List<Integer> again,
            long slot,
            int crc,
            long epoch,
            int base,
            int last,
            int stored,
            int newest,
            int acknowledged,
            int written,
            int checkpoints,
            Set<Integer> promised) {}

    /** All of the world. Immutable. */
    private record World(TreeMap<String, Integer> store, List<Put> late, int faults, List<Gateway> gateways) {}

    /** A promise that was broken, and how it came to that. */
    static final class Broken extends Exception {
        private static final long serialVersionUID = 1;

        Broken(String message) {
            super(message);
        }
    }

    private final List<Role> roles;
    private final int window;
    private final int faults;
    private final Rules rules;
    private final List<FenceProcess> processes = new ArrayList<>();
    private final List<ByteBuffer> objects = new ArrayList<>();
    private final Map<ByteBuffer, Integer> numbers = new HashMap<>();
    private final List<Written> records = new ArrayList<>();
    private final Map<List<Object>, Integer> recordNumbers = new HashMap<>();
    private final Map<Integer, Integer> recordOf = new HashMap<>();
    private final Map<Integer, State> roots = new HashMap<>();
    private final Set<World> seen = new HashSet<>();
    private final Deque<World> next = new ArrayDeque<>();
    private World from;

    FenceModel(List<Role> roles, int window, int faults, Rules rules) {
        this.roles = roles;
        this.window = window;
        this.faults = faults;
        this.rules = rules;
        for (int i = 0; i < roles.size(); i++)
            processes.add(new FenceProcess(i + 1, roles.get(i).reader, window, rules, objects));
        records.add(new Written(0, -1)); // the empty volume
        recordOf.put(0, 0);
    }

    /** Explores everything; returns how many different worlds there are. */
    int explore(int most) throws Broken {
        List<Gateway> gateways = new ArrayList<>();
        for (int i = 0; i < roles.size(); i++)
            gateways.add(new Gateway(
                    Mode.OPENING, 0, List.of(), List.of(), List.of(), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, Set.of()));
        World world = new World(new TreeMap<>(), List.of(), faults, gateways);
        // the first owns the volume already
        while (world.gateways.get(0).mode == Mode.OPENING)
            world = answered(world, 0, world.faults).get(0);
        reach(world);
        while (!next.isEmpty()) {
            from = next.poll();
            for (int i = 0; i < from.late.size(); i++) land(i);
            for (int i = 0; i < roles.size(); i++) step(i);
            if (seen.size() > most) throw new IllegalStateException("more than " + most + " worlds");
        }
        return seen.size();
    }

    private void reach(World world) {
        if (seen.add(world)) next.add(world);
    }

    /** A put that was given up long ago takes effect. */
    private void land(int i) {
        Put put = from.late.get(i);
        reach(new World(with(from.store, put), without(from.late, i), from.faults, from.gateways));
    }

    private static TreeMap<String, Integer> with(TreeMap<String, Integer> store, Put put) {
        if (store.containsKey(put.key)) return store;
        TreeMap<String, Integer> more = new TreeMap<>(store);
        more.put(put.key, put.object);
        return more;
    }

    private static <T> List<T> without(List<T> list, int i) {
        List<T> less = new ArrayList<>(list);
        less.remove(i);
        return less;
    }

    private static <T> List<T> plus(List<T> list, T one) {
        List<T> more = new ArrayList<>(list);
        more.add(one);
        return more;
    }

    private World with(int i, Gateway gateway) {
        return with(from, i, gateway);
    }

    private static World with(World world, int i, Gateway gateway) {
        List<Gateway> gateways = new ArrayList<>(world.gateways);
        gateways.set(i, gateway);
        return new World(world.store, world.late, world.faults, gateways);
    }

    private static List<Put> sorted(List<Put> puts) {
        List<Put> copy = new ArrayList<>(puts);
        copy.sort((a, b) -> a.key.equals(b.key) ? Integer.compare(a.object, b.object) : a.key.compareTo(b.key));
        return copy;
    }

    private void step(int i) throws Broken {
        Gateway g = from.gateways.get(i);
        Role role = roles.get(i);
        if (g.mode == Mode.ENDED) return;
        if (role.restartOfFirst && from.gateways.get(0).mode != Mode.ENDED) return;
        if (g.mode == Mode.OPENING || processes.get(i).after(g.history).request() != null)
            for (World world : answered(from, i, from.faults)) reach(world);
        if (g.mode != Mode.OWNER) return;
        if (i == 0 && roles.stream().anyMatch(Role::restartOfFirst)) {
            // its process is killed; what is under way may still arrive
            List<Put> late = new ArrayList<>(from.late);
            for (Put put : g.puts) if (put.way == Way.SENT) late.add(put);
            World world = with(i, ended(g));
            reach(new World(world.store, sorted(late), world.faults, world.gateways));
        }
        if (g.puts.size() < window) send(i, g, role);
        for (int p = 0; p < g.puts.size(); p++) put(i, g, p);
        FenceProcess.Outcome outcome = processes.get(i).after(g.history);
        if (g.checkpoints < role.checkpoints && outcome.request() == null && outcome.applied() > 0)
            reach(with(i, command(i, g, FenceProcess.Command.CHECKPOINT, g.checkpoints + 1)));
    }

    private static Gateway ended(Gateway g) {
        return new Gateway(
                Mode.ENDED,
                0,
                List.of(),
                List.of(),
                List.of(),
                g.slot,
                g.crc,
                g.epoch,
                g.base,
                g.last,
                g.stored,
                g.newest,
                g.acknowledged,
                g.written,
                g.checkpoints,
                g.promised);
    }

    private Gateway command(int i, Gateway g, Object command, int checkpoints) {
        return settled(
                i,
                new Gateway(
                        g.mode,
                        processes.get(i).plus(g.history, command),
                        g.queue,
                        g.puts,
                        g.again,
                        g.slot,
                        g.crc,
                        g.epoch,
                        g.base,
                        g.last,
                        g.stored,
                        g.newest,
                        g.acknowledged,
                        g.written,
                        checkpoints,
                        g.promised));
    }

    /** Lets the real state apply what waited while a checkpoint was written. */
    private Gateway settled(int i, Gateway g) {
        int history = g.history;
        List<Integer> queue = g.queue;
        while (!queue.isEmpty() && processes.get(i).after(history).request() == null) {
            history = processes.get(i).plus(history, new FenceProcess.Apply(queue.get(0)));
            queue = without(queue, 0);
        }
        return new Gateway(
                g.mode,
                history,
                queue,
                g.puts,
                g.again,
                g.slot,
                g.crc,
                g.epoch,
                g.base,
                g.last,
                g.stored,
                g.newest,
                g.acknowledged,
                g.written,
                g.checkpoints,
                g.promised);
    }

    /** A new record, or one of the journal that the log lacks, goes on its way. */
    private void send(int i, Gateway g, Role role) throws Broken {
        int record;
        List<Integer> again = g.again;
        int written = g.written;
        if (!again.isEmpty()) {
            record = again.get(0);
            again = without(again, 0);
        } else if (written < role.records) {
            Written last = records.get(g.last);
            List<Object> identity = List.of(i, g.epoch, g.last, written);
            Integer known = recordNumbers.get(identity);
            if (known == null) {
                recordNumbers.put(identity, known = records.size());
                records.add(new Written(last.number + 1, g.last));
            }
            record = known;
            written++;
        } else {
            return;
        }
        if (records.get(record).parent != g.last)
            throw new Broken("gateway " + i + " puts a record that doesn't follow the one before it in the log");
        Header header = new Header();
        header.type = Header.Type.DATA;
        header.volume = FenceProcess.VOLUME;
        header.slot = g.slot + 1;
        header.epoch = g.epoch;
        header.nonce = i + 1;
        header.previousCrc = g.crc;
        header.firstRecord = header.lastRecord = records.get(record).number;
        header.payloadCrc = new int[] {record};
        header.room(1);
        header.add(0, 1, 0);
        ByteBuffer body = ByteBuffer.allocate((int) header.objectBytes());
        header.encode(body);
        int object = number(body.rewind());
        recordOf.put(header.crc, record);
        Put put = new Put(FenceProcess.KEYS.log(header.slot), object, record, Way.SENT);
        reach(with(
                i,
                new Gateway(
                        g.mode,
                        g.history,
                        g.queue,
                        plus(g.puts, put),
                        again,
                        header.slot,
                        header.crc,
                        g.epoch,
                        g.base,
                        record,
                        g.stored,
                        g.newest,
                        g.acknowledged,
                        written,
                        g.checkpoints,
                        g.promised)));
    }

    private int number(ByteBuffer body) {
        Integer known = numbers.get(body);
        if (known == null) {
            numbers.put(body, known = objects.size());
            objects.add(body);
        }
        return known;
    }

    private Header header(int object) {
        try {
            return Header.decode(objects.get(object).duplicate());
        } catch (Corruption e) {
            throw new AssertionError(e);
        }
    }

    /** A put of the owner's log: arrives, is refused, is lost on its way there or back. */
    private void put(int i, Gateway g, int p) throws Broken {
        Put put = g.puts.get(p);
        switch (put.way) {
            case SENT -> {
                boolean absent = !from.store.containsKey(put.key);
                World there = new World(with(from.store, put), from.late, from.faults, from.gateways);
                stored(there, i, g, p, absent ? Way.STORED : Way.REFUSED);
                if (from.faults == 0) return;
                if (absent) reach(new World(there.store, from.late, from.faults - 1, from.gateways));
                reach(new World(from.store, sorted(plus(from.late, put)), from.faults - 1, from.gateways));
            }
            case REFUSED -> {
                Integer found = from.store.get(put.key);
                boolean own = found != null && rules.isOwn(header(put.object), header(found));
                if (own) stored(from, i, g, p, Way.STORED);
                else reach(with(i, ended(g)));
            }
            case STORED -> {
                // waits for those before it
            }
        }
    }

    private void stored(World world, int i, Gateway g, int p, Way way) throws Broken {
        List<Put> puts = new ArrayList<>(g.puts);
        puts.set(p, puts.get(p).with(way));
        List<Integer> queue = new ArrayList<>(g.queue);
        int stored = g.stored;
        int newest = way == Way.STORED ? later(g.newest, g.puts.get(p).record) : g.newest;
        for (int k = 0; k < puts.size(); ) {
            boolean applied = puts.get(k).way == Way.STORED && (k == 0 || rules.appliesEarly());
            if (!applied) {
                k++;
                continue;
            }
            stored = later(stored, puts.get(k).record);
            queue.add(puts.get(k).object);
            puts.remove(k);
        }
        long most = rules.stored(records.get(stored).number, records.get(newest).number);
        int acknowledged = most >= records.get(newest).number ? newest : stored;
        Gateway after = settled(
                i,
                new Gateway(
                        g.mode,
                        g.history,
                        queue,
                        puts,
                        g.again,
                        g.slot,
                        g.crc,
                        g.epoch,
                        g.base,
                        g.last,
                        stored,
                        newest,
                        acknowledged,
                        g.written,
                        g.checkpoints,
                        g.promised));
        for (Gateway other : world.gateways)
            if (other.epoch > g.epoch && !follows(other.base, acknowledged))
                throw new Broken("gateway " + i + " acknowledges a flush of record "
                        + records.get(acknowledged).number + ", which the owner of epoch " + other.epoch
                        + " hasn't found");
        reach(with(world, i, after));
    }

    private int later(int one, int other) {
        return records.get(one).number >= records.get(other).number ? one : other;
    }

    /** Whether a record is another one, or was written after it by those who knew it. */
    private boolean follows(int record, int ancestor) {
        while (record >= 0 && record != ancestor) record = records.get(record).parent;
        return record == ancestor;
    }

    /** What may be the answer to a gateway's request, and what becomes of the gateway then. */
    private List<World> answered(World world, int i, int left) throws Broken {
        Gateway g = world.gateways.get(i);
        if (g.history == 0) g = promised(world, g);
        FenceProcess.Request request = processes.get(i).after(g.history).request();
        List<World> worlds = new ArrayList<>();
        switch (request.kind()) {
            case 'P' -> {
                Put put = new Put(request.key(), number(request.body()), 0, Way.SENT);
                boolean absent = !world.store.containsKey(put.key);
                World there = new World(with(world.store, put), world.late, left, world.gateways);
                worlds.add(went(there, i, g, absent));
                if (left == 0) break;
                World failed = new World(there.store, world.late, left - 1, world.gateways);
                if (absent) worlds.add(went(failed, i, g, FenceProcess.Answer.FAILED));
                World late = new World(world.store, sorted(plus(world.late, put)), left - 1, world.gateways);
                worlds.add(went(late, i, g, FenceProcess.Answer.FAILED));
            }
            case 'G' -> {
                Integer object = world.store.get(request.key());
                Object answer = object == null ? FenceProcess.Answer.MISSING : new FenceProcess.Body(object);
                worlds.add(went(world, i, g, answer));
            }
            case 'L' -> {
                List<ObjectStore.Item> items = new ArrayList<>();
                for (var entry : world.store.tailMap(request.key()).entrySet()) {
                    if (!entry.getKey().startsWith(request.key()) || items.size() == request.number()) break;
                    if (entry.getKey().compareTo(request.after()) > 0)
                        items.add(new ObjectStore.Item(
                                entry.getKey(), objects.get(entry.getValue()).limit()));
                }
                worlds.add(went(world, i, g, List.copyOf(items)));
            }
            default -> {
                TreeMap<String, Integer> store = new TreeMap<>(world.store);
                request.keys().forEach(store::remove);
                World less = new World(store, world.late, left, world.gateways);
                complete(less);
                worlds.add(went(less, i, g, FenceProcess.Answer.DONE));
            }
        }
        return worlds;
    }

    /** Remembers what had been acknowledged before a reader began. */
    private Gateway promised(World world, Gateway g) {
        Set<Integer> promised = new HashSet<>();
        for (Gateway other : world.gateways) promised.add(other.acknowledged);
        return new Gateway(
                g.mode, g.history, g.queue, g.puts, g.again, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, Set.copyOf(promised));
    }

    private World went(World world, int i, Gateway g, Object answer) throws Broken {
        Gateway after = command(i, g, answer, g.checkpoints);
        if (g.mode == Mode.OPENING) {
            FenceProcess.Outcome outcome = processes.get(i).after(after.history);
            if (outcome.refusal() instanceof Corruption)
                throw new Broken("gateway " + i + " finds the volume damaged: "
                        + outcome.refusal().getMessage());
            if (outcome.refusal() != null) after = ended(after);
            else if (outcome.request() == null) after = opened(world, i, after, outcome);
        }
        return with(world, i, after);
    }

    private Gateway opened(World world, int i, Gateway g, FenceProcess.Outcome outcome) throws Broken {
        int base = recordOf.get(outcome.content());
        if (roles.get(i).reader) {
            for (int promised : g.promised)
                if (!follows(base, promised))
                    throw new Broken("reader " + i + " doesn't see record " + records.get(promised).number
                            + ", which was in the log when it began");
            return ended(g);
        }
        List<Integer> again = new ArrayList<>();
        if (roles.get(i).restartOfFirst && outcome.nonceBefore() == 1) {
            // the journal is ours: what the log lacks of it is put again
            for (int record = world.gateways.get(0).last; record > 0; record = records.get(record).parent)
                if (records.get(record).number > outcome.lastRecord()) again.add(record);
            Collections.reverse(again);
        }
        for (Gateway other : world.gateways) {
            if (other.epoch == 0) continue;
            if (other.epoch == outcome.epoch()) throw new Broken("two owners of epoch " + other.epoch);
            if (other.epoch < outcome.epoch() && !follows(base, other.acknowledged))
                throw new Broken("gateway " + i + " hasn't found record " + records.get(other.acknowledged).number
                        + ", whose flush was acknowledged");
            if (other.epoch < outcome.epoch() && !follows(base, other.base))
                throw new Broken("gateway " + i + " hasn't found what the owner before had found");
        }
        return new Gateway(
                Mode.OWNER,
                g.history,
                g.queue,
                g.puts,
                again,
                outcome.slot(),
                outcome.crc(),
                outcome.epoch(),
                base,
                base,
                base,
                base,
                base,
                g.written,
                g.checkpoints,
                g.promised);
    }

    /** After each deletion both kept checkpoints have all that they name. */
    private void complete(World world) throws Broken {
        int kept = 0;
        for (var root : world.store.tailMap(FenceProcess.KEYS.roots()).entrySet()) {
            if (!root.getKey().startsWith(FenceProcess.KEYS.roots()) || kept++ == 2) return;
            State state = roots.computeIfAbsent(root.getValue(), r -> load(world, root.getKey()));
            for (var object : state.objects.entrySet())
                if (object.getValue().live > 0 && !world.store.containsKey(FenceProcess.KEYS.log(object.getKey())))
                    throw new Broken("a kept checkpoint needs slot " + object.getKey() + ", which was deleted");
        }
    }

    private State load(World world, String root) {
        FaultyStore store = new FaultyStore(0);
        world.store.forEach(
                (key, object) -> store.objects.put(key, objects.get(object).array()));
        Threads scheduler = new Threads("model");
        try {
            return new Checkpoints(
                            new Bucket(store, scheduler, "model"), FenceProcess.KEYS, FenceProcess.VOLUME, rules, 1)
                    .load(root);
        } catch (java.io.IOException e) {
            throw new AssertionError("a checkpoint is not complete when it is written: " + e.getMessage(), e);
        } finally {
            scheduler.join(0);
        }
    }
}
