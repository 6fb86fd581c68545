package org.dblock.itest;

import static org.assertj.core.api.Assertions.assertThat;
import static org.dblock.itest.Eventually.eventually;

import java.io.InputStream;
import java.lang.ref.WeakReference;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.dblock.api.device.Connection;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceSpec;
import org.dblock.api.device.Devices;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;
import org.osgi.framework.ServiceReference;
import org.osgi.framework.wiring.BundleWiring;
import org.osgi.test.common.annotation.InjectBundleContext;

/** Bundles stop, start and are updated in place under a device that is in use. */
class UpdateTest {
    private static final int CLIENTS = 4;
    private static final int UPDATES = 10;
    private static final long BLOCKS = 256;

    @InjectBundleContext
    BundleContext context;

    private Bundle backend;
    private Bundle core;

    @BeforeEach
    void findBundles() throws Exception {
        backend = bundle("org.dblock.backend.ramdisk");
        core = bundle("org.dblock.core");
        devices().create(DeviceSpec.of("updated", "ramdisk", CLIENTS * BLOCKS * Block.SIZE));
    }

    @AfterEach
    void removeAll() throws Exception {
        backend.start();
        core.start();
        for (Device device : devices().list()) devices().remove(device.name(), true);
        devices().deleteVolume("ramdisk", "updated", Map.of());
    }

    @Test
    void requestsWaitForABackendThatWasStoppedAndItsContentsAreThereAgain() throws Exception {
        Device device = device();
        Block.write(device, 1, 11);
        Connection connection = device.connect(Block.CLIENT);

        backend.stop();
        eventually("state", device::state, Device.State.PARKED);
        ExecutorService client = Executors.newSingleThreadExecutor();
        Future<Boolean> waiting = client.submit(() -> new Block().holds(connection, 1, 11));
        assertThat(connection.wouldWait()).isTrue();
        assertThat(waiting.isDone()).isFalse();
        backend.start();

        assertThat(waiting.get()).isTrue();
        client.shutdown();
        connection.close();
    }

    @Test
    void aDeviceAndItsContentsOutliveARestartOfCore() throws Exception {
        Block.write(device(), 2, 12);

        core.stop();
        core.start();

        assertThat(Block.holds(device(), 2, 12)).isTrue();
    }

    @Test
    void aDeviceAndItsContentsOutliveAnUpdateOfCore() throws Exception {
        Block.write(device(), 2, 13);

        update(core);

        assertThat(Block.holds(device(), 2, 13)).isTrue();
    }

    @Test
    void updatingTheBackendUnderLoadCostsNoErrorAndNoBlock() throws Exception {
        Device device = device();
        AtomicBoolean done = new AtomicBoolean();
        ExecutorService clients = Executors.newFixedThreadPool(CLIENTS);
        List<Future<Long>> rounds = new ArrayList<>();
        for (int client = 0; client < CLIENTS; client++) {
            long first = client * BLOCKS;
            rounds.add(clients.submit(() -> writeAndVerify(device, first, done)));
        }
        for (int i = 0; i < UPDATES; i++) {
            long swaps = device.stats().swaps();
            update(backend);
            eventually("swapped", () -> device.stats().swaps() > swaps, true);
        }
        done.set(true);

        for (Future<Long> round : rounds)
            assertThat(round.get()).as("rounds without an error").isPositive();
        clients.shutdown();
        assertThat(device.state()).isEqualTo(Device.State.ONLINE);
    }

    @Test
    void anUpdateLeavesNeitherClassesNorThreadsBehind() throws Exception {
        update(backend); // what is made once is made now
        Block.write(device(), 0, 1);
        Set<String> before = threadsBut(Set.of());
        WeakReference<ClassLoader> old = new WeakReference<>(loader());
        for (int i = 0; i < UPDATES; i++) update(backend);
        Block.write(device(), 0, 2);

        eventually(
                "the old bundle's class loader",
                () -> {
                    System.gc();
                    return old.get() == null;
                },
                true);
        eventually("threads more than before", () -> threadsBut(before), Set.of());
        WeakReference<ClassLoader> current = new WeakReference<>(loader());
        System.gc();
        assertThat(current.get()).as("the class loader in use").isNotNull();
    }

    /** Writes all its blocks and reads them back, again and again; how often. */
    private static long writeAndVerify(Device device, long first, AtomicBoolean done) throws Exception {
        Block block = new Block();
        long round = 0;
        try (Connection connection = device.connect(Block.CLIENT)) {
            while (!done.get() || round == 0) {
                round++;
                for (long i = first; i < first + BLOCKS; i++) block.write(connection, i, i * 1_000_003 + round);
                for (long i = first; i < first + BLOCKS; i++)
                    if (!block.holds(connection, i, i * 1_000_003 + round))
                        throw new AssertionError("block " + i + " does not hold what round " + round + " wrote");
            }
        }
        return round;
    }

    private Device device() throws Exception {
        eventually("state", () -> devices().find("updated").map(Device::state).orElse(null), Device.State.ONLINE);
        return devices().find("updated").orElseThrow();
    }

    /** The service as it is now: it goes and comes with core. */
    private Devices devices() throws Exception {
        eventually("service", () -> context.getServiceReference(Devices.class) != null, true);
        ServiceReference<Devices> reference = context.getServiceReference(Devices.class);
        return context.getService(reference);
    }

    private ClassLoader loader() {
        return backend.adapt(BundleWiring.class).getClassLoader();
    }

    private static Set<String> threadsBut(Set<String> known) {
        return Thread.getAllStackTraces().keySet().stream()
                .map(Thread::getName)
                .filter(name -> name.startsWith("dblock") && !known.contains(name))
                .collect(Collectors.toSet());
    }

    private static void update(Bundle bundle) throws Exception {
        try (InputStream jar = Files.newInputStream(jar(bundle))) {
            bundle.update(jar);
        }
    }

    private static Path jar(Bundle bundle) {
        String location = bundle.getLocation().replaceFirst("^reference:", "");
        return location.startsWith("file:") ? Path.of(URI.create(location)) : Path.of(location);
    }

    private Bundle bundle(String name) {
        return Stream.of(context.getBundles())
                .filter(bundle -> name.equals(bundle.getSymbolicName()))
                .findFirst()
                .orElseThrow();
    }
}
