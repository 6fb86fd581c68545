package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What the loss of a host's disk costs, in virtual time: a few seconds of writes, as many as were allowed. */
class BoundedLossTest {
    private static final int BLOCK = Header.BLOCK;
    private static final long ALLOWED = 5 * World.SECOND;
    private static final int SEEDS = Integer.getInteger("dblock.seeds", 40);
    private static final long FIRST = Long.getLong("dblock.seed", 1);

    private static final Logger LOG = Logger.getLogger("org.dblock.backend.s3");

    @BeforeEach
    void silence() {
        LOG.setLevel(Level.OFF); // the store is in trouble all the time here
    }

    @AfterEach
    void loud() {
        LOG.setLevel(null);
    }

    private final Format format = new Format(new UUID(1, 2), 64L * BLOCK, 2);

    private static Settings settings(long maxLagMillis) {
        return new Settings(
                "host",
                4,
                2,
                2 * World.SECOND,
                maxLagMillis,
                1000,
                5 * World.SECOND,
                World.SECOND,
                10 * World.SECOND,
                60 * World.SECOND,
                20 * World.SECOND,
                Journal.RING + (1 << 20),
                64 << 10,
                false,
                0,
                1 << 20);
    }

    private S3Volume open(World world, SimStore store, SimDisk disk, long maxLagMillis) throws IOException {
        Scheduler scheduler = world.scheduler();
        Bucket bucket = new Bucket(store.client(0), scheduler, "sim");
        Keys keys = new Keys("p/", format.volume());
        Settings settings = settings(maxLagMillis);
        Disk opened = disk.open();
        Opening opening = new Opening("sim", format, 0, bucket, keys, opened, scheduler, settings, new Rules(), true);
        opening.run();
        return new S3Volume(
                "sim", opening, bucket, keys, opened, scheduler, settings, 2, new Rules(), false, null, () -> {});
    }

    /** Seconds of acknowledged writes that one loss of the disk cost. */
    private long loss(long seed, long maxLagMillis) {
        World world = new World(seed);
        SimStore store = new SimStore(world);
        store.objects.put(
                new Keys("p/", format.volume()).format(), format.text().getBytes());
        List<Long> acknowledged = new ArrayList<>();
        World.Process first = world.new Process();
        first.start(() -> {
            try {
                S3Volume volume = open(world, store, new SimDisk(world), maxLagMillis);
                while (true) {
                    long number = acknowledged.size() + 1;
                    ByteBuffer data = ByteBuffer.allocate(BLOCK);
                    while (data.hasRemaining()) data.putLong(number);
                    volume.write(data.flip(), number % 64 * BLOCK, false);
                    acknowledged.add(world.now);
                    world.sleep(World.MS * (1 + world.random.nextInt(200)));
                }
            } catch (IOException e) {
                throw new AssertionError(e);
            }
        });
        outages(world, store, first);
        world.run(World.SECOND * (20 + world.random.nextInt(200)));
        first.kill();
        store.down = false;
        long[] found = new long[1];
        boolean[] over = new boolean[1];
        World.Process second = world.new Process();
        second.start(() -> {
            try {
                S3Volume volume = open(world, store, new SimDisk(world), 0);
                for (int i = 0; i < 64; i++) {
                    ByteBuffer data = ByteBuffer.allocate(BLOCK);
                    volume.read(data, (long) i * BLOCK);
                    found[0] = Math.max(found[0], data.getLong(0));
                }
                over[0] = true;
            } catch (IOException e) {
                throw new AssertionError(e);
            }
        });
        world.run(world.now + 1000 * World.SECOND);
        world.end();
        if (world.failure != null) throw new AssertionError("seed " + seed, world.failure);
        assertThat(over[0]).as("seed %d: opened again", seed).isTrue();
        int lost = (int) found[0];
        int last = acknowledged.size() - 1;
        return lost > last ? 0 : acknowledged.get(last) - acknowledged.get(lost);
    }

    private static void outages(World world, SimStore store, World.Process during) {
        world.at(World.SECOND * (5 + world.random.nextInt(60)), during, () -> {
            store.down = !store.down;
            outages(world, store, during);
        });
    }

    @Test
    void aLostDiskCostsNoMoreThanTheSecondsThatAreAllowed() {
        long most = 0;
        for (long seed = FIRST; seed < FIRST + SEEDS; seed++) {
            long loss = loss(seed, ALLOWED / World.MS);
            assertThat(loss).as("loss with -Ddblock.seed=%d", seed).isLessThanOrEqualTo(ALLOWED + World.MS);
            most = Math.max(most, loss);
        }
        assertThat(most).as("some outage is felt").isGreaterThan(ALLOWED / 2);
    }

    @Test
    void withoutALimitItCostsMore() {
        long most = 0;
        for (long seed = 1; seed <= 10; seed++) most = Math.max(most, loss(seed, 0));
        assertThat(most).isGreaterThan(2 * ALLOWED);
    }
}
