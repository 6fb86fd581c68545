package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.dblock.api.Inspection;

/**
 * One volume that lives long: it is written, crashes, is recovered and collected, over and over; after each cycle an
 * inspection reads all of it.
 */
final class LongRun {
    private static final int BLOCKS = 24;
    private static final int WINDOW = 2;
    private static final Logger LOG = Logger.getLogger("org.dblock.backend.s3");
    /** What late puts may leave for each opening: no more than the window's objects. */
    private static final int LEFT_BY_AN_OPENING = WINDOW;

    private final World world;
    private final SimStore store;
    private final SimDisk disk;
    private final Format format = new Format(new UUID(1, 2), (long) BLOCKS * Header.BLOCK, WINDOW);
    private final Keys keys = new Keys("p/", format.volume());
    private long[] content = new long[BLOCKS];
    private long ids;
    private int openings;
    private boolean quiet;
    private int mostObjects;

    LongRun(long seed) {
        LOG.setLevel(Level.OFF);
        world = new World(seed);
        store = new SimStore(world);
        disk = new SimDisk(world);
        store.objects.put(keys.format(), format.text().getBytes());
    }

    /** Runs some cycles; returns a line about them. */
    String run(int cycles) {
        try {
            for (int cycle = 1; cycle <= cycles; cycle++) {
                try {
                    cycle(world.chance(0.5));
                    verify();
                } catch (AssertionError e) {
                    throw new AssertionError("cycle " + cycle + ": " + e.getMessage(), e);
                }
            }
            return cycles + " cycles, " + openings + " openings, " + ids + " writes, " + store.puts + " puts, at most "
                    + mostObjects + " objects in the bucket";
        } finally {
            world.end();
        }
    }

    private interface Task {
        void run() throws IOException;
    }

    /** Runs a process to its end, or for a time after which it is killed. */
    private void process(long time, Task task) {
        World.Process process = world.new Process();
        boolean[] ended = new boolean[1];
        process.start(() -> {
            try {
                task.run();
            } catch (IOException e) {
                throw new AssertionError(e.toString(), e);
            }
            ended[0] = true;
        });
        long until = world.now + time;
        while (!ended[0] && world.failure == null && world.now < until) {
            world.at(World.SECOND / 10, null, () -> {}); // time goes on though nothing happens
            world.run(world.now + World.SECOND / 10);
        }
        process.kill();
        if (world.failure != null) throw new AssertionError(world.failure.getMessage(), world.failure);
        if (!ended[0] && quiet) throw new AssertionError("it takes longer than " + time / World.SECOND + " s");
    }

    private S3Volume open() throws IOException {
        Scheduler scheduler = world.scheduler();
        Bucket bucket = new Bucket(store.client(0), scheduler, "long");
        Settings settings = Simulation.settings("host", false);
        Disk journal = disk.open();
        Opening opening =
                new Opening("long", format, 0, bucket, keys, journal, scheduler, settings, new Rules(), false);
        opening.run();
        openings++;
        return new S3Volume(
                "long",
                opening,
                bucket,
                keys,
                journal,
                scheduler,
                settings,
                WINDOW,
                new Rules(),
                false,
                null,
                () -> {});
    }

    /** Everything acknowledged survives a crash of the process, and what was under way is there or not. */
    private void cycle(boolean crashes) {
        quiet = false;
        store.trouble = world.random.nextInt(3) * 0.03;
        long[][] pending = new long[1][];
        boolean[] found = new boolean[1];
        long time = World.SECOND * (2 + world.random.nextInt(crashes ? 15 : 40));
        process(time, () -> {
            S3Volume volume = open();
            expect(volume);
            found[0] = true;
            long until = world.now + time - 10 * World.SECOND;
            do {
                long[] after = content.clone();
                int lba = world.random.nextInt(BLOCKS - 3);
                int count = 1 + world.random.nextInt(3);
                long id = world.chance(0.1) ? 0 : ++ids;
                Arrays.fill(after, lba, lba + count, id);
                pending[0] = after;
                if (id == 0) volume.discard((long) lba * Header.BLOCK, (long) count * Header.BLOCK);
                else volume.write(Simulation.content(id, count), (long) lba * Header.BLOCK, world.chance(0.1));
                content = after;
                pending[0] = null;
                world.sleep(World.MS * (1 + world.random.nextInt(300)));
            } while (crashes || world.now < until);
            volume.close();
        });
        // a write that was under way at the crash may have come to the journal
        if (pending[0] != null) maybe.add(pending[0]);
    }

    private final List<long[]> maybe = new ArrayList<>();

    private void expect(S3Volume volume) throws IOException {
        long[] is = Simulation.readAll(volume);
        maybe.add(content);
        for (long[] one : maybe) if (Arrays.equals(is, one)) content = is;
        maybe.clear();
        if (!Arrays.equals(is, content))
            throw new AssertionError("found " + Arrays.toString(is) + " instead of " + Arrays.toString(content));
    }

    /** The volume is opened in peace, collected, closed, and then inspected. */
    private void verify() {
        quiet = true;
        store.trouble = 0;
        process(1000 * World.SECOND, () -> {
            S3Volume volume = open();
            expect(volume);
            // long enough for an idle checkpoint and what can be collected
            world.sleep(20 * World.SECOND);
            volume.close();
        });
        process(1000 * World.SECOND, () -> {
            Scheduler scheduler = world.scheduler();
            Bucket bucket = new Bucket(store.client(0), scheduler, "long");
            Inspection inspection =
                    new Inspector(bucket, keys, format, scheduler, Simulation.settings("", false), true).run();
            if (!inspection.damage().isEmpty())
                throw new AssertionError("damage: " + inspection.damage() + " " + inspection.facts());
        });
        int takeovers = 0;
        int others = 0;
        for (var entry : store.objects.entrySet()) {
            if (Interposed.type(entry.getKey(), ByteBuffer.wrap(entry.getValue())) == Header.Type.TAKEOVER) takeovers++;
            else others++;
        }
        mostObjects = Math.max(mostObjects, others);
        if (takeovers < openings)
            throw new AssertionError(takeovers + " takeovers are left of " + openings + " openings");
        // a late put may leave an object in a slot that was given back, and nothing may grow beyond that
        int most = 100 + LEFT_BY_AN_OPENING * openings;
        if (others > most) throw new AssertionError(others + " objects are in the bucket, at most " + most + " may be");
    }
}
