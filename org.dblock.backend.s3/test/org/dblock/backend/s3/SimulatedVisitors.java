package org.dblock.backend.s3;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/**
 * What goes on around a simulated volume's gateways: snapshots are read, cloned and deleted, volumes are deleted, by
 * processes that own nothing and crash and pause as gateways do. What a snapshot shows is known since it was made.
 */
final class SimulatedVisitors {
    private static final long PATIENCE = 60 * World.SECOND;

    private final Simulation simulation;
    private final World world;
    /** Clones that somebody began to make, come to be or not. */
    private final List<Format> begun = new ArrayList<>();

    private int reads;
    private int clones;

    /** What a process does with the store; a failing store is no failure of it. */
    private interface Visit {
        void run(Bucket bucket, Scheduler scheduler) throws IOException;
    }

    SimulatedVisitors(Simulation simulation) {
        this.simulation = simulation;
        world = simulation.world;
    }

    private World.Process visit(Visit visit) {
        World.Process process = world.new Process();
        process.start(() -> {
            Scheduler scheduler = world.scheduler();
            // one that has looked, and acts much later
            long stall = world.chance(0.3) ? World.SECOND * (1 + world.random.nextInt(40)) : 0;
            Bucket bucket = new Bucket(simulation.store.client(stall, "/pin/"), scheduler, "visitor");
            try {
                visit.run(bucket, scheduler);
            } catch (IOException e) {
                // it tried
            }
        });
        return process;
    }

    /** Something happens. */
    void event() {
        int dice = world.random.nextInt(100);
        Simulation.Volume volume = simulation.anyVolume();
        World.Process process;
        if (dice < 40) {
            process = visit((bucket, scheduler) -> read(volume, bucket, scheduler));
        } else if (dice < 65) {
            process = visit((bucket, scheduler) -> makeClone(volume, bucket, scheduler));
        } else if (dice < 92) {
            process = visit((bucket, scheduler) -> deleteSnapshot(volume, bucket));
        } else {
            long alive =
                    simulation.volumes.stream().filter(each -> !each.doomed).count();
            if (alive < 2) return;
            process = visit((bucket, scheduler) -> deleteVolume(volume, bucket));
        }
        long soon = World.MS * (1 + world.random.nextInt(3000));
        if (world.chance(0.2)) world.at(soon, null, process::kill);
        else if (world.chance(0.4))
            world.at(soon, null, () -> process.pause(World.SECOND * (1 + world.random.nextInt(40))));
    }

    private Snapshots snapshots(Format format, Bucket bucket) {
        return new Snapshots(bucket, format.keys(Simulation.PREFIX), simulation.rules, PATIENCE);
    }

    private Snapshots.Entry any(List<Snapshots.Entry> entries) {
        return entries.isEmpty() ? null : entries.get(world.random.nextInt(entries.size()));
    }

    private void read(Simulation.Volume volume, Bucket bucket, Scheduler scheduler) throws IOException {
        Snapshots snapshots = snapshots(volume.format, bucket);
        Snapshots.Entry entry = any(snapshots.list());
        if (entry != null) read(volume, snapshots, entry, bucket, scheduler);
    }

    /** Reads a snapshot, twice if there is time, and compares. */
    private void read(
            Simulation.Volume volume, Snapshots snapshots, Snapshots.Entry entry, Bucket bucket, Scheduler scheduler)
            throws IOException {
        String pin = Snapshots.reader("visitor", new UUID(world.random.nextLong(), world.random.nextLong()));
        snapshots.pin(entry, pin, "visitor", scheduler.millis());
        Simulation.Taken taken = volume.snapshots.get(entry.name());
        try {
            State state = new Checkpoints(bucket, volume.keys, volume.format.volume(), simulation.rules, PATIENCE)
                    .load(volume.keys.snapshot(entry.slot(), entry.name()), entry.slot());
            Settings settings = Simulation.settings("visitor", false);
            S3Reader open =
                    new S3Reader(entry.name(), state, bucket, volume.keys, scheduler, settings, forNow -> Map.of());
            for (int i = 0; i < 3; i++) {
                long[] content = Simulation.read(open, 0, Simulation.BLOCKS);
                if (!Arrays.equals(content, taken.content))
                    throw new AssertionError("snapshot " + entry + " holds " + Arrays.toString(content) + " instead of "
                            + Arrays.toString(taken.content));
                reads++;
                if (simulation.calm) break;
                world.sleep(World.MS * (1 + world.random.nextInt(20_000)));
            }
        } catch (Corruption | ObjectStore.Missing e) {
            throw new AssertionError("snapshot " + entry + " of " + volume.format + ": " + e.getMessage(), e);
        } catch (BlockException e) {
            if (e.getCause() instanceof ObjectStore.Missing)
                throw new AssertionError("snapshot " + entry + " of " + volume.format + ": " + e.getMessage(), e);
            throw e;
        }
        snapshots.unpin(entry.slot(), pin);
    }

    private void makeClone(Simulation.Volume parent, Bucket bucket, Scheduler scheduler) throws IOException {
        if (simulation.volumes.size() > 6) return;
        Snapshots snapshots = snapshots(parent.format, bucket);
        Snapshots.Entry entry = any(snapshots.list());
        if (entry == null) return;
        long size = snapshots.facts(entry).size();
        UUID id = new UUID(world.random.nextLong(), world.random.nextLong());
        Format format = Cloning.format(id, parent.format, entry, size, Simulation.WINDOW);
        begun.add(format);
        Cloning.begin(bucket, Simulation.PREFIX, snapshots, entry, format, "clone", scheduler.millis(), PATIENCE);
        clones++;
        long[] begin = parent.snapshots.get(entry.name()).content;
        simulation.volumes.add(simulation.new Volume(format, begin));
    }

    private void deleteSnapshot(Simulation.Volume volume, Bucket bucket) throws IOException {
        Snapshots snapshots = snapshots(volume.format, bucket);
        Snapshots.Entry entry = any(snapshots.list());
        if (entry == null) return;
        volume.snapshots.get(entry.name()).doomed = true;
        snapshots.delete(entry.slot());
    }

    private void deleteVolume(Simulation.Volume volume, Bucket bucket) throws IOException {
        if (!volume.doomed && !snapshots(volume.format, bucket).readers().isEmpty()) return;
        long alive = simulation.volumes.stream().filter(each -> !each.doomed).count();
        if (!simulation.calm && alive < 2) return;
        volume.doomed = true;
        try {
            // a host of its own: those of the gateways crash without it
            History.Host host = new History.Host("visitor", new SimDisk(world));
            simulation.open(volume, host, true, null).closeDeleted();
        } catch (BlockException e) {
            if (e.reason() != Reason.NOT_FOUND) throw e;
        }
        Deletion deletion = new Deletion(bucket, Simulation.PREFIX, simulation.rules, PATIENCE);
        deletion.bury(volume.format.volume());
        deletion.purge();
    }

    /** At the end all that was promised is there; then all is deleted, and nothing stays. */
    void finish() {
        calmly((bucket, scheduler) -> {
            for (Simulation.Volume volume : simulation.volumes) if (!volume.doomed) check(volume, bucket, scheduler);
        });
        // clones whose maker crashed before anybody could know of them
        Set<UUID> known = new HashSet<>();
        for (Simulation.Volume volume : simulation.volumes) known.add(volume.format.volume());
        for (Format format : begun) {
            Keys keys = format.keys(Simulation.PREFIX);
            byte[] text = simulation.store.objects.get(keys.format());
            if (known.add(format.volume()) && text != null && !new String(text).equals(Format.VOID))
                simulation.volumes.add(simulation.new Volume(format, new long[Simulation.BLOCKS]));
        }
        List<Simulation.Volume> order = new ArrayList<>(simulation.volumes);
        java.util.Collections.shuffle(order, world.random);
        for (int round = 0; round < 2; round++) {
            for (Simulation.Volume volume : order)
                calmly((bucket, scheduler) -> {
                    // readers that crashed have left theirs
                    for (ObjectStore.Item pin : bucket.listAll(volume.keys.pins(), PATIENCE))
                        if (pin.key().contains("/reader-")) bucket.delete(List.of(pin.key()), PATIENCE);
                    // whose format is void was deleted, and its pin came late; or it is deleted, and its format came
                    // late
                    boolean risen = simulation.store.risen.contains(volume.keys.format());
                    if (!risen && Format.find(bucket, volume.keys, PATIENCE) != null) deleteVolume(volume, bucket);
                });
        }
        calmly((bucket, scheduler) -> new Deletion(bucket, Simulation.PREFIX, simulation.rules, PATIENCE).purge());
        if (world.failure != null) return;
        for (var left : simulation.store.objects.entrySet()) {
            String key = left.getKey();
            boolean stub = key.endsWith("/format") && new String(left.getValue()).equals(Format.VOID);
            if (!stub && !simulation.store.strays.contains(key) && !isHeldByTheRisen(key))
                throw new AssertionError(key + " is left when all is deleted");
        }
    }

    /** Whether this is of a volume with a clone that was deleted, and whose pin and format both came back. */
    private boolean isHeldByTheRisen(String key) {
        String volume = key.substring(0, key.indexOf('/', Simulation.PREFIX.length()) + 1);
        if (volume.equals(Simulation.PREFIX + "dead/"))
            volume = Simulation.PREFIX + key.substring(volume.length()) + "/";
        Set<String> risen = simulation.store.risen;
        for (String pin : risen) {
            String clone = Simulation.PREFIX + pin.substring(pin.lastIndexOf('/') + 1) + "/format";
            if (pin.startsWith(volume + "pin/") && risen.contains(clone)) return true;
        }
        return false;
    }

    private void calmly(Visit visit) {
        boolean[] done = new boolean[1];
        World.Process process = world.new Process();
        process.start(() -> {
            Scheduler scheduler = world.scheduler();
            try {
                visit.run(new Bucket(simulation.store.client(0), scheduler, "visitor"), scheduler);
                done[0] = true;
            } catch (IOException e) {
                throw new AssertionError("at the end: " + e.getMessage(), e);
            }
        });
        world.run(world.now + 700 * World.SECOND);
        process.kill();
        if (world.failure == null && !done[0]) throw new AssertionError("the end does not end");
    }

    private void check(Simulation.Volume volume, Bucket bucket, Scheduler scheduler) throws IOException {
        Snapshots snapshots = snapshots(volume.format, bucket);
        List<Snapshots.Entry> entries = snapshots.list();
        Set<String> names = new HashSet<>();
        for (Snapshots.Entry entry : entries) {
            names.add(entry.name());
            read(volume, snapshots, entry, bucket, scheduler);
        }
        volume.snapshots.forEach((name, taken) -> {
            if (taken.made && !taken.doomed && !names.contains(name))
                throw new AssertionError("snapshot " + name + " of " + volume.format + " is lost; there are " + names);
        });
    }

    /** How often something was done, for whoever wonders whether anything was. */
    String counts() {
        return reads + " reads, " + clones + " clones";
    }
}
