package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.dblock.api.BlockException;
import org.dblock.api.BlockVolume;
import org.dblock.api.Reason;

/**
 * One run of gateways on several hosts that fight for one volume, crash, pause, and lose their disks; in every other
 * seed also snapshots, clones and deletions, see {@link SimulatedVisitors}.
 */
final class Simulation {
    static final int BLOCKS = 24;
    static final int BLOCK = Header.BLOCK;
    static final int WINDOW = 2;
    static final String PREFIX = "p/";
    private static final Logger LOG = Logger.getLogger("org.dblock.backend.s3");

    static {
        LOG.setLevel(Level.OFF); // gateways are taken over all the time here
    }

    final World world;
    final SimStore store;
    final Rules rules;
    final List<Volume> volumes = new ArrayList<>();
    boolean calm;
    private final List<Gateway> gateways = new ArrayList<>();
    private final boolean remoteDurable;
    private final SimulatedVisitors visitors;
    private long ids;
    private IOException refusal;

    /** A volume that gateways fight for. */
    final class Volume {
        final Format format;
        final Keys keys;
        final History history;
        final List<History.Host> hosts = new ArrayList<>();
        /** By name. */
        final Map<String, Taken> snapshots = new TreeMap<>();
        /** Whether somebody deletes it, or has. */
        boolean doomed;

        int finished;

        Volume(Format format, long[] begin) {
            this.format = format;
            keys = format.keys(PREFIX);
            history = new History(begin);
            for (int i = 0; i < 3; i++) hosts.add(new History.Host("host" + i, new SimDisk(world)));
        }

        History.Host anyHost() {
            return hosts.get(world.random.nextInt(hosts.size()));
        }
    }

    /** A snapshot that somebody asked for. */
    static final class Taken {
        final long[] content;
        /** Whether its maker was told that it is there. */
        boolean made;

        boolean doomed;

        Taken(long[] content) {
            this.content = content;
        }
    }

    private final class Gateway {
        final Volume target;
        final History.Host host;
        final World.Process process = world.new Process();
        boolean over;
        S3Volume volume;

        Gateway(Volume target, History.Host host) {
            this.target = target;
            this.host = host;
        }
    }

    Simulation(long seed, Rules rules) {
        world = new World(seed);
        this.rules = rules;
        store = new SimStore(world);
        store.trouble = world.random.nextInt(3) * 0.04;
        remoteDurable = world.random.nextBoolean();
        store.stored = header -> {
            if (header.type != Header.Type.TAKEOVER) return;
            for (Volume volume : volumes)
                if (volume.format.volume().equals(header.volume)) volume.history.taken(header);
        };
        Format format = new Format(new UUID(1, 2), (long) BLOCKS * BLOCK, WINDOW);
        volumes.add(new Volume(format, new long[BLOCKS]));
        store.objects.put(volumes.get(0).keys.format(), format.text().getBytes());
        visitors = seed % 2 == 0 ? new SimulatedVisitors(this) : null;
    }

    private int operations() {
        int operations = 0;
        for (Volume volume : volumes) operations += volume.history.operations;
        return operations;
    }

    /** Runs it; returns how many operations were acknowledged. */
    int run() {
        try {
            long end = World.SECOND * (10 + world.random.nextInt(50));
            act(end);
            world.run(end);
            if (world.failure == null) finish();
            if (world.failure != null) throw new AssertionError(world.failure.toString(), world.failure);
            return operations();
        } finally {
            world.end();
        }
    }

    /** Something happens, and again after a while. */
    private void act(long end) {
        long next = World.MS * (1 + world.random.nextInt(world.chance(0.3) ? 300 : 8_000));
        if (world.now + next > end) return;
        world.at(next, null, () -> {
            event();
            act(end);
        });
    }

    private void event() {
        gateways.removeIf(gateway -> gateway.over || gateway.process.dead);
        int dice = world.random.nextInt(100);
        Gateway any = gateways.isEmpty() ? null : gateways.get(world.random.nextInt(gateways.size()));
        if (visitors != null && world.chance(0.4)) visitors.event();
        if (dice < 40 || any == null) {
            Volume target = anyVolume();
            Gateway gateway = start(target, target.anyHost(), world.chance(0.7));
            // a taker that stands still between two steps while the owner goes on
            if (world.chance(0.3))
                world.at(
                        World.MS * (1 + world.random.nextInt(600)),
                        null,
                        () -> gateway.process.pause(World.SECOND * (1 + world.random.nextInt(40))));
        } else if (dice < 55) {
            any.process.kill();
            if (world.chance(0.5)) start(any.target, any.host, world.chance(0.2));
        } else if (dice < 65) {
            crash(any.host, false);
        } else if (dice < 68) {
            crash(any.host, true);
        } else if (dice < 92) {
            any.process.pause(World.MS * (1 + world.random.nextInt(world.chance(0.5) ? 2_000 : 40_000)));
        } else {
            store.down = true;
            world.at(World.SECOND * (1 + world.random.nextInt(30)), null, () -> store.down = false);
        }
    }

    private void crash(History.Host any, boolean wipe) {
        for (Gateway gateway : gateways) if (gateway.host.name.equals(any.name)) gateway.process.kill();
        for (Volume volume : volumes) {
            for (History.Host host : volume.hosts) {
                if (!host.name.equals(any.name)) continue;
                host.disk.crash();
                host.crashes++;
                if (!wipe) continue;
                host.disk.wipe();
                host.wipes++;
            }
        }
    }

    /** One that nobody deletes. */
    Volume anyVolume() {
        List<Volume> some = volumes.stream().filter(v -> !v.doomed).toList();
        return some.get(world.random.nextInt(some.size()));
    }

    private Gateway start(Volume target, History.Host host, boolean takeover) {
        Gateway gateway = new Gateway(target, host);
        gateways.add(gateway);
        gateway.process.start(() -> {
            try {
                serve(gateway, takeover);
            } finally {
                gateway.over = true;
                world.at(0, null, gateway.process::kill);
            }
        });
        return gateway;
    }

    /** At the end all live gateways find out who is the owner; then the volume is opened once more on a new host. */
    private void finish() {
        store.down = false;
        store.trouble = 0;
        calm = true;
        // longer than the longest pause, and long enough to look for a takeover
        world.run(world.now + 120 * World.SECOND);
        if (world.failure != null) return;
        for (Volume volume : volumes) {
            long owners = gateways.stream()
                    .filter(g -> g.target == volume && !g.over && !g.process.dead && g.volume != null)
                    .filter(g -> g.volume.details().get("store").equals(Bucket.HEALTHY))
                    .count();
            if (owners > 1) throw new AssertionError(owners + " gateways believe that they own the volume");
        }
        for (Gateway gateway : gateways) gateway.process.kill();
        for (Volume volume : volumes) if (!volume.doomed) reopen(volume);
        if (visitors != null && world.failure == null) visitors.finish();
    }

    private void reopen(Volume volume) {
        int before = volume.finished;
        for (int i = 0; i < 5 && world.failure == null && volume.finished == before; i++) {
            // again where a takeover that was late got in between
            start(volume, volume.anyHost(), true);
            world.run(world.now + 600 * World.SECOND);
        }
        if (world.failure == null && volume.finished == before)
            throw new AssertionError("volume " + volume.format + " can't be opened at the end: " + refusal);
        for (Gateway gateway : gateways) gateway.process.kill();
    }

    private static final Settings SETTINGS = new Settings(
            "",
            4,
            WINDOW,
            2 * World.SECOND,
            0,
            3,
            5 * World.SECOND,
            World.SECOND,
            10 * World.SECOND,
            60 * World.SECOND,
            20 * World.SECOND,
            Journal.RING + 160 * 1024,
            64 << 10,
            false,
            75,
            1 << 20);

    static Settings settings(String host, boolean remoteDurable) {
        Settings s = SETTINGS;
        return new Settings(
                host,
                s.objectBlocks(),
                s.window(),
                s.sealNanos(),
                s.maxLagMillis(),
                s.checkpointObjects(),
                s.idleNanos(),
                s.tickNanos(),
                s.lookNanos(),
                s.patienceNanos(),
                s.closeNanos(),
                s.journalBytes(),
                s.cacheBytes(),
                remoteDurable,
                s.collectBelow(),
                s.collectBytesPerSecond());
    }

    /** Opens a volume; {@code session} gets what it promises. */
    S3Volume open(Volume target, History.Host host, boolean takeover, History.Session[] session) throws IOException {
        Disk disk = host.disk.open();
        try {
            Scheduler scheduler = world.scheduler();
            // a taker that has read everything, and takes over much later
            long stall = !calm && world.chance(0.15) ? World.SECOND * (1 + world.random.nextInt(40)) : 0;
            Bucket bucket = new Bucket(store.client(stall), scheduler, "sim");
            Settings settings = settings(host.name, remoteDurable);
            Keys keys = target.keys;
            Opening opening =
                    new Opening("sim", target.format, 0, bucket, keys, disk, scheduler, settings, rules, takeover);
            opening.run();
            // nothing is promised to who opened it while it was being deleted
            if (session != null && !target.doomed) session[0] = target.history.opened(host, opening.state().epoch);
            return new S3Volume(
                    "sim", opening, bucket, keys, disk, scheduler, settings, WINDOW, rules, false, null, () -> {});
        } catch (IOException e) {
            disk.close();
            throw e;
        }
    }

    private void serve(Gateway gateway, boolean takeover) {
        History.Session[] opened = new History.Session[1];
        try {
            gateway.volume = open(gateway.target, gateway.host, takeover, opened);
        } catch (Corruption e) {
            if (gateway.target.doomed) return; // and half gone
            throw new AssertionError("refused as corrupt: " + e.getMessage(), e);
        } catch (IOException e) {
            refusal = e; // held by another, or the store doesn't answer
            return;
        }
        History.Session session = opened[0];
        if (session == null) return;
        try {
            long[] found = readAll(gateway.volume);
            gateway.target.history.found(session, found, takeover);
            gateway.target.finished++;
            while (!calm || world.chance(0.95)) {
                if (visitors != null && world.chance(0.04)) snapshot(gateway, session);
                operate(gateway.volume, session);
                // an owner that does nothing must find out too
                if (calm && world.chance(0.5)) world.sleep(1000 * World.SECOND);
            }
            // at the end nobody follows who would write down the last snapshots
            if (calm || world.chance(0.5)) gateway.volume.close();
            else gateway.volume.handOver();
        } catch (BlockException e) {
            if (gateway.target.doomed) return;
            if (e instanceof Corruption || e.reason() != Reason.FENCED && e.reason() != Reason.IO)
                throw new AssertionError(session + ": " + e, e);
            session.fenced = e.reason() == Reason.FENCED;
            if (session.fenced && session.base != null) afterFence(gateway.volume, session);
        } catch (IOException e) {
            if (!gateway.target.doomed) throw new AssertionError(session + ": " + e, e);
        }
    }

    private void snapshot(Gateway gateway, History.Session session) throws IOException {
        Taken taken = new Taken(session.now());
        int operation = session.count();
        String name = "s" + ++ids;
        gateway.target.snapshots.put(name, taken);
        // not at the end, where nobody follows who would write it down
        if (world.chance(0.2) && !calm)
            world.at(World.MS * (1 + world.random.nextInt(1000)), null, gateway.process::kill);
        gateway.volume.snapshot(name);
        taken.made = true;
        // it waits until all before it is in the bucket
        session.done(operation);
        session.remote(operation);
    }

    /** Whatever else is asked of a fenced gateway fails too. */
    private void afterFence(S3Volume volume, History.Session session) {
        for (int i = 0; i < 3; i++) {
            try {
                operate(volume, session);
                if (i > 0) continue;
            } catch (IOException e) {
                continue;
            }
        }
        try {
            volume.close();
        } catch (IOException e) {
            throw new AssertionError("a fenced volume can't be closed", e);
        }
    }

    private void operate(S3Volume volume, History.Session session) throws IOException {
        int lba = world.random.nextInt(BLOCKS);
        int count = 1 + world.random.nextInt(Math.min(3, BLOCKS - lba));
        int dice = world.random.nextInt(100);
        if (dice < 60) {
            long id = ++ids;
            boolean fua = world.chance(0.05);
            int operation = session.begin(lba, count, id);
            volume.write(content(id, count), (long) lba * BLOCK, fua);
            session.done(operation);
            if (fua) flushed(session, operation);
        } else if (dice < 65) {
            int operation = session.begin(lba, count, 0);
            volume.discard((long) lba * BLOCK, (long) count * BLOCK);
            session.done(operation);
        } else if (dice < 75) {
            int operation = session.count();
            volume.flush();
            flushed(session, operation);
        } else if (dice < 90) {
            long[] expected = session.now();
            long[] read = read(volume, lba, count);
            if (!Arrays.equals(read, Arrays.copyOfRange(expected, lba, lba + count)))
                throw new AssertionError(session + " read " + Arrays.toString(read) + " at " + lba + " instead of "
                        + Arrays.toString(Arrays.copyOfRange(expected, lba, lba + count)));
        } else {
            world.sleep(World.MS * (1 + world.random.nextInt(world.chance(0.1) ? 30_000 : 1000)));
        }
        world.sleep(World.MS * (1 + world.random.nextInt(200)));
    }

    private void flushed(History.Session session, int operation) {
        if (remoteDurable) session.remote(operation);
        else session.synced(operation);
    }

    static ByteBuffer content(long id, int count) {
        ByteBuffer data = ByteBuffer.allocate(count * BLOCK);
        while (data.hasRemaining()) data.putLong(id);
        return data.flip();
    }

    static long[] readAll(S3Volume volume) throws IOException {
        return read(volume, 0, BLOCKS);
    }

    static long[] read(BlockVolume volume, int lba, int count) throws IOException {
        ByteBuffer data = ByteBuffer.allocate(count * BLOCK);
        volume.read(data, (long) lba * BLOCK);
        data.flip();
        long[] ids = new long[count];
        for (int i = 0; i < count; i++) {
            ids[i] = data.getLong(i * BLOCK);
            for (int at = 0; at < BLOCK; at += 8)
                if (data.getLong(i * BLOCK + at) != ids[i]) throw new AssertionError("block " + (lba + i) + " is torn");
        }
        return ids;
    }
}
