package org.dblock.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.dblock.core.DeviceTest.fails;
import static org.dblock.core.Gateway.SIZE;
import static org.dblock.core.Gateway.block;
import static org.dblock.core.Gateway.connect;
import static org.dblock.core.Gateway.eventually;
import static org.dblock.core.Gateway.valueAt;

import java.io.IOException;
import java.util.Dictionary;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.dblock.api.device.Connection;
import org.dblock.api.device.Device;
import org.dblock.api.device.Device.State;
import org.dblock.api.device.DeviceSpec;
import org.dblock.api.device.Export;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Devices are made, changed and removed, by command and by configuration. */
class DeviceRegistryTest {
    private static final String FILE = "felix.fileinstall.filename";

    private final Gateway gateway = new Gateway();
    private final DeviceRegistry registry = gateway.registry;
    private final FakeStore store = gateway.add(FakeStore.durable());
    private final Gateway.TestFrontEnd frontEnd = new Gateway.TestFrontEnd();

    @AfterEach
    void close() {
        gateway.close();
        assertThat(store.violation.get()).isNull();
        assertThat(store.openNow()).isZero();
    }

    private static DeviceSpec spec(String name) {
        return DeviceSpec.of(name, FakeStore.BACKEND, SIZE);
    }

    private static Dictionary<String, Object> file(DeviceSpec spec) {
        Dictionary<String, Object> table = spec.configuration();
        table.put(FILE, "etc/org.dblock.device-" + spec.name() + ".config");
        return table;
    }

    private void awaitOnline(String name) {
        eventually(
                "online",
                () -> registry.find(name).filter(d -> d.state() == State.ONLINE).isPresent());
    }

    @Test
    void aDeviceComesBackWithItsIdentityWhenTheGatewayStartsAgain() throws IOException {
        Device device = gateway.create("disk");
        connect(device).write(block(3), 0, false);
        gateway.registry.deactivate();
        try (Gateway next = new Gateway()) {
            gateway.stored.forEach(next::configure);
            FakeStore again = next.add(store.version("1.0"));
            eventually(
                    "online",
                    () -> next.registry
                            .find("disk")
                            .filter(d -> d.state() == State.ONLINE)
                            .isPresent());
            assertThat(next.device("disk").id()).isEqualTo(device.id());
            assertThat(valueAt(connect(next.device("disk")), 0)).isEqualTo(3);
            assertThat(again.openNow()).isEqualTo(1);
        }
    }

    @Test
    void aVolumeThatIsNotThereAtTheNextStartIsNotCreatedEmpty() throws IOException {
        gateway.create("disk");
        gateway.registry.deactivate();
        store.disks.clear();
        try (Gateway next = new Gateway()) {
            next.add(store.version("1.0"));
            gateway.stored.forEach(next::configure);
            eventually(
                    "failed",
                    () -> next.registry
                            .find("disk")
                            .filter(d -> d.state() == State.FAILED)
                            .isPresent());
            assertThat(next.device("disk").explanation()).contains("no volume 'disk'");
        }
        assertThat(store.disks).isEmpty();
    }

    @Test
    void aVolatileDeviceComesUpEmptyAndSaysSo() {
        gateway.remove(store);
        gateway.add(FakeStore.inMemory());
        gateway.configure("one", spec("disk").configuration());
        awaitOnline("disk");
        assertThat(gateway.device("disk").explanation()).contains("came up empty");
    }

    @Test
    void aVolatileDeviceThatIsNewNeedNotSaySo() throws BlockException {
        gateway.remove(store);
        gateway.add(FakeStore.inMemory());
        assertThat(gateway.create("disk").explanation()).isEmpty();
    }

    @Test
    void aDeviceMayBeConfiguredBeforeItsBackendIsThere() throws IOException {
        gateway.remove(store);
        gateway.configure("one", spec("disk").configuration());
        eventually("there", () -> registry.find("disk").isPresent());
        Device device = gateway.device("disk");
        eventually("says so", () -> device.explanation().contains("waits for backend fake"));
        assertThat(device.state()).isEqualTo(State.STARTING);
        fails(Reason.IO, "not open yet", () -> connect(device));
        fails(Reason.NOT_FOUND, "not open yet", device::geometry);
        gateway.add(store);
        awaitOnline("disk");
    }

    @Test
    void lateNewsOfADeletedConfigurationMakesNoDevice() {
        registry.updated("one", spec("ghost").configuration());
        gateway.configure("two", spec("disk").configuration());
        awaitOnline("disk");
        assertThat(registry.find("ghost")).isEmpty();
    }

    @Test
    void oneSlowOpenDelaysNoOtherDevice() throws IOException {
        store.hangOpen = new CountDownLatch(1);
        gateway.configure("one", spec("slow").configuration());
        eventually("there", () -> registry.find("slow").isPresent());
        FakeStore quick = new FakeStore(org.dblock.api.Persistence.DURABLE, store.disks, "1.0");
        Store other = new Store("quick", quick, null, org.osgi.framework.Version.emptyVersion, 0, 99);
        registry.storeArrived(other);
        gateway.configure("two", DeviceSpec.of("quick", "quick", SIZE).configuration());
        awaitOnline("quick");
        assertThat(gateway.device("slow").state()).isEqualTo(State.STARTING);
        store.hangOpen.countDown();
        awaitOnline("slow");
    }

    @Test
    void whatIsWrongWithANewDeviceIsSaidAndNothingIsStored() {
        fails(
                Reason.NOT_FOUND,
                "no backend 'nope': there are fake",
                () -> registry.create(DeviceSpec.of("a", "nope", SIZE)));
        fails(Reason.INVALID, "device name 'a b'", () -> registry.create(spec("a b")));
        fails(
                Reason.NOT_FOUND,
                "no front end 'nbd': there are none",
                () -> registry.create(spec("a").withExports(List.of("nbd"))));
        store.openFailure = new BlockException(Reason.NO_SPACE, "the limit is 1G");
        fails(Reason.NO_SPACE, "the limit is 1G", () -> registry.create(spec("a")));
        assertThat(gateway.stored).isEmpty();
        assertThat(registry.list()).isEmpty();
    }

    @Test
    void aCreationWhoseOpenHangsEndsAndLeavesNothingBehind() throws Exception {
        store.disks.put("disk", new byte[SIZE]);
        store.hangOpen = new CountDownLatch(1);
        registry.createNanos = 100_000_000;
        fails(Reason.TIMED_OUT, "device disk: it is not created", () -> gateway.create("disk"));
        assertThat(registry.list()).isEmpty();
        assertThat(gateway.stored).isEmpty();
        store.hangOpen.countDown();
        store.hangOpen = null;
        eventually("the late volume is closed", () -> store.opened.get() == 1 && store.openNow() == 0);
        assertThat(gateway.create("disk").state()).isEqualTo(State.ONLINE);
    }

    @Test
    void aDeviceWhoseOpenHangsCanBeRemoved() throws Exception {
        store.hangOpen = new CountDownLatch(1);
        Thread creator = new Thread(() -> fails(Reason.TIMED_OUT, "is being removed", () -> gateway.create("disk")));
        creator.start();
        eventually("there", () -> registry.find("disk").isPresent());
        try {
            registry.remove("disk", true);
        } catch (BlockException e) {
            assertThat(e.reason()).as("the creation removed it first").isEqualTo(Reason.NOT_FOUND);
        }
        creator.join();
        assertThat(registry.list()).isEmpty();
        store.hangOpen.countDown();
    }

    @Test
    void aNameIsTakenOnce() throws BlockException {
        gateway.create("disk");
        fails(Reason.EXISTS, "'disk' already", () -> gateway.create("disk"));
    }

    @Test
    void twoDevicesDoNotWriteOneVolume() throws BlockException {
        gateway.create("one");
        fails(
                Reason.IN_USE,
                "volume 'one' of backend fake belongs to device one",
                () -> registry.create(spec("two").withVolume("one")));
        gateway.configure("two", spec("two").withVolume("one").configuration());
        eventually(
                "failed",
                () -> registry.find("two")
                        .filter(d -> d.state() == State.FAILED)
                        .isPresent());
        assertThat(gateway.device("two").explanation()).contains("device one");
        registry.remove("one", false);
        eventually("its turn", () -> gateway.device("two").state() == State.ONLINE);
    }

    @Test
    void aDeviceInUseIsRemovedByForceOnly() throws IOException {
        Device device = gateway.create("disk");
        Gateway.TestClient client = new Gateway.TestClient("nbd client 7");
        Connection connection = device.connect(client);
        fails(Reason.IN_USE, "nbd client 7", () -> registry.remove("disk", false));
        connection.write(block(1), 0, false);
        int flushed = store.flushed.get();
        registry.remove("disk", true);
        assertThat(store.flushed.get()).isGreaterThan(flushed);
        assertThat(device.state()).isEqualTo(State.REMOVED);
        assertThat(client.gone).hasSize(1);
        assertThat(gateway.stored).isEmpty();
        fails(Reason.IO, "removed", () -> connection.read(block(0), 0));
        fails(Reason.NOT_FOUND, "no device 'disk': there are none", () -> registry.remove("disk", false));
        assertThat(store.disks).as("contents stay").containsKey("disk");
    }

    @Test
    void aClientThatDescribesItselfAsNothingIsNoUse() throws IOException {
        Device device = gateway.create("disk");
        device.connect(new Gateway.TestClient(""));
        assertThat(device.clients()).isEmpty();
        registry.remove("disk", false);
    }

    @Test
    void aDeviceThatCannotBeFlushedIsRemovedByForceOnly() throws IOException {
        Device device = gateway.create("disk");
        store.flushFailure = new IOException("bad disk");
        fails(Reason.IO, "bad disk", () -> registry.remove("disk", false));
        connect(device).write(block(1), 0, false);
        registry.remove("disk", true);
        assertThat(registry.list()).isEmpty();
    }

    @Test
    void forceDoesNotWaitForARemovalWhoseFlushHangs() throws Exception {
        gateway.create("disk");
        store.hangFlush = new CountDownLatch(1);
        AtomicReference<BlockException> refused = new AtomicReference<>();
        Thread patient = new Thread(() -> {
            try {
                registry.remove("disk", false);
            } catch (BlockException e) {
                refused.set(e);
                store.hangFlush.countDown(); // lest the removal by force takes its half a minute
            }
        });
        patient.start();
        while (patient.getState() != Thread.State.TIMED_WAITING) Thread.onSpinWait();
        Thread forceful = new Thread(() -> {
            try {
                registry.remove("disk", true);
            } catch (BlockException e) {
                throw new AssertionError(e);
            }
        });
        forceful.start();
        try {
            eventually("removed", () -> registry.list().isEmpty());
        } finally {
            store.hangFlush.countDown();
        }
        patient.join();
        forceful.join();
        assertThat(refused.get()).hasMessageContaining("can't be flushed");
    }

    @Test
    void aCommandThatComesWhileADeviceIsRemovedDoesNotBringItBack() throws Exception {
        registry.frontEndArrived("test", frontEnd);
        registry.frontEndArrived("other", new Gateway.TestFrontEnd());
        gateway.create("disk");
        registry.export("disk", "other");
        List<String> refusals = new CopyOnWriteArrayList<>();
        store.hangFlush = new CountDownLatch(1);
        Thread remover = new Thread(() -> told(refusals, () -> registry.remove("disk", false)));
        remover.start();
        eventually("flushing", () -> store.inside.get() == 1);
        List<Thread> late = List.of(
                new Thread(() -> told(refusals, () -> registry.export("disk", "test"))),
                new Thread(() -> told(refusals, () -> registry.unexport("disk", "other", false))));
        for (Thread each : late) {
            each.start();
            eventually("queued", () -> each.getState() == Thread.State.TIMED_WAITING);
        }
        store.hangFlush.countDown();
        remover.join();
        for (Thread each : late) each.join();
        assertThat(refusals).hasSize(2).allMatch(each -> each.startsWith("NOT_FOUND device disk is"));
        assertThat(frontEnd.served).isEmpty();
        assertThat(gateway.stored).isEmpty();
    }

    @Test
    void aCreationThatIsInterruptedLeavesNothingBehind() throws Exception {
        CountDownLatch opening = store.hangOpen = new CountDownLatch(1);
        Thread creator = new Thread(() -> fails(Reason.IO, "interrupted", () -> gateway.create("disk")));
        creator.start();
        eventually("waiting", () -> creator.getState() == Thread.State.TIMED_WAITING);
        BlockDevice device = (BlockDevice) gateway.device("disk");
        creator.interrupt();
        creator.join();
        opening.countDown();
        eventually("ended", () -> device.state() == State.REMOVED);
        eventually("nothing is stored", () -> gateway.stored.isEmpty());
        assertThat(registry.list()).isEmpty();
        assertThat(store.openNow()).isZero();
    }

    @Test
    void aRemovalThatIsInterruptedIsDoneAllTheSame() throws Exception {
        gateway.create("disk");
        CountDownLatch flushing = store.hangFlush = new CountDownLatch(1);
        Thread remover = new Thread(() -> fails(Reason.IO, "interrupted", () -> registry.remove("disk", false)));
        remover.start();
        eventually("flushing", () -> store.inside.get() == 1);
        remover.interrupt();
        remover.join();
        flushing.countDown();
        eventually("removed", () -> registry.list().isEmpty());
        assertThat(gateway.stored).isEmpty();
    }

    @Test
    void aDeviceThatEndsBeforeItsCreationHasBegunOpensNothing() {
        BlockDevice device = new BlockDevice(registry, spec("late"), UUID.randomUUID());
        CountDownLatch queued = new CountDownLatch(1);
        device.thread.submit(() -> FakeStore.await(queued));
        device.thread.submit(() -> device.control.end(Export.End.STOPPING, Reason.SHUTTING_DOWN, "the gateway stops"));
        CompletableFuture<Void> creation = device.thread.submit(device.control::start);
        queued.countDown();
        fails(Reason.NOT_FOUND, "device late is being removed", () -> ControlThread.await(creation));
        assertThat(store.opened.get()).isZero();
    }

    private interface Command {
        void run() throws BlockException;
    }

    private static void told(List<String> refusals, Command command) {
        try {
            command.run();
        } catch (BlockException e) {
            refusals.add(e.reason() + " " + e.getMessage());
        }
    }

    @Test
    void aDeviceThatIsConfiguredWhileTheGatewayStopsIsNotOpened() throws Exception {
        AtomicReference<Thread> reconciler = new AtomicReference<>();
        Dictionary<String, Object> table = spec("late").configuration();
        table.put("name", new Object() {
            @Override
            public String toString() { // called after it was looked whether the gateway stops
                if (reconciler.compareAndSet(null, Thread.currentThread())) registry.deactivate();
                return "late";
            }
        });
        gateway.configure("one", table);
        eventually("being configured", () -> reconciler.get() != null);
        reconciler.get().join();
        assertThat(registry.find("late")).isEmpty();
    }

    @Test
    void aDeletedConfigurationTakesEffectWhenAClientThatStaysNoLongerUsesTheDevice() throws Exception {
        gateway.configure("one", spec("disk").configuration());
        awaitOnline("disk");
        AtomicReference<String> user = new AtomicReference<>("kernel device, open 1 time");
        gateway.device("disk").connect(user::get);
        gateway.unconfigure("one");
        eventually("told", () -> ((BlockDevice) gateway.device("disk")).outdated() != null);
        assertThat(gateway.device("disk").state()).isEqualTo(State.ONLINE);
        user.set("");
        eventually("removed", () -> registry.list().isEmpty());
    }

    @Test
    void aResizeIsToldToClientsAndStored() throws IOException {
        Device device = gateway.create("disk");
        Gateway.TestClient client = new Gateway.TestClient("client");
        Connection connection = device.connect(client);
        connection.write(block(1), 0, false);
        fails(Reason.INVALID, "multiple of the block size, 512", () -> registry.resize("disk", 1000));
        registry.resize("disk", 2 * SIZE);
        connection.write(block(2), 2 * SIZE - 512, false);
        registry.resize("disk", 512);
        fails(Reason.INVALID, "beyond the device's 512 bytes", () -> connection.read(block(0), 512));
        assertThat(valueAt(connection, 0)).isEqualTo(1);
        assertThat(client.sizes).containsExactly(2L * SIZE, 512L);
        assertThat(device.geometry().size()).isEqualTo(512);
        assertThat(gateway.stored.values()).allMatch(table -> table.get("size").equals(512L));
    }

    @Test
    void aNewSizeIsFlushedBeforeItIsStored() throws IOException {
        Device device = gateway.create("disk");
        store.flushFailure = new IOException("no");
        fails(Reason.IO, "no", () -> registry.resize("disk", 2 * SIZE));
        store.flushFailure = null;
        assertThat(gateway.stored.values()).allMatch(table -> table.get("size").equals((long) SIZE));
        assertThat(device.geometry().size()).as("what the volume has").isEqualTo(2L * SIZE);
    }

    /** A kill between the two is what is stored while the volume has its new size. */
    @Test
    void aDeviceWhoseNewSizeWasNotStoredIsOpenedWithIt() throws IOException {
        gateway.create("disk");
        connect(gateway.device("disk")).write(block(7), 0, false);
        store.flushFailure = new IOException("killed");
        fails(Reason.IO, "killed", () -> registry.resize("disk", SIZE / 2));
        Map<String, Dictionary<String, Object>> atKill = Map.copyOf(gateway.stored);
        store.flushFailure = null;
        registry.deactivate();
        try (Gateway next = new Gateway()) {
            atKill.forEach(next::configure);
            next.add(store.version("1.0"));
            eventually(
                    "online",
                    () -> next.registry
                            .find("disk")
                            .filter(d -> d.state() == State.ONLINE)
                            .isPresent());
            assertThat(next.device("disk").geometry().size()).isEqualTo(SIZE / 2);
            assertThat(valueAt(connect(next.device("disk")), 0)).isEqualTo(7);
            assertThat(next.stored.values())
                    .allMatch(table -> table.get("size").equals(SIZE / 2L) && table.get("resizing") == null);
        }
    }

    @Test
    void aDeviceOfAnotherSizeThanItWasLeftWithIsNotOpened() throws IOException {
        gateway.create("disk");
        registry.deactivate();
        store.disks.put("disk", new byte[2 * SIZE]);
        try (Gateway next = new Gateway()) {
            gateway.stored.forEach(next::configure);
            next.add(store.version("1.0"));
            eventually(
                    "failed",
                    () -> next.registry
                            .find("disk")
                            .filter(d -> d.state() == State.FAILED)
                            .isPresent());
            assertThat(next.device("disk").explanation()).contains(2 * SIZE + " bytes, not " + SIZE);
        }
    }

    @Test
    void aShrinkWaitsForRequestsInsideAndRefusesLaterOnesBehindTheNewEnd() throws Exception {
        Device device = gateway.create("disk");
        Connection connection = connect(device);
        connection.write(block(1), 0, false);
        store.hang = new CountDownLatch(1);
        Outcome inside = new Outcome(() -> connection.write(block(2), SIZE - 512, false));
        eventually("inside", () -> store.inside.get() == 1);
        Outcome shrink = new Outcome(() -> registry.resize("disk", SIZE / 2));
        eventually("the gate is closed", connection::wouldWait);
        Outcome write = new Outcome(() -> connection.write(block(3), SIZE - 512, false));
        Outcome read = new Outcome(() -> connection.read(block(0), SIZE / 2));
        Outcome across = new Outcome(() -> connection.write(Gateway.blocks(2, 3), SIZE / 2 - 512, false));
        Outcome before = new Outcome(() -> connection.write(block(4), SIZE / 2 - 512, false));
        for (Outcome each : List.of(write, read, across, before))
            eventually("waits", () -> each.getState() == Thread.State.WAITING);
        assertThat(store.disks.get("disk"))
                .as("nothing is cut off under a request")
                .hasSize(SIZE);
        assertThat(store.inside.get()).isEqualTo(1);

        store.hang.countDown();
        assertThat(inside.failure()).as("it was there first").isNull();
        assertThat(shrink.failure()).isNull();
        assertThat(before.failure()).isNull();
        assertThat(write.failure().reason()).isEqualTo(Reason.NO_SPACE);
        assertThat(across.failure().reason()).isEqualTo(Reason.NO_SPACE);
        assertThat(read.failure().reason()).isEqualTo(Reason.INVALID);
        assertThat(store.disks.get("disk")).hasSize(SIZE / 2);
        assertThat(valueAt(connection, 0)).isEqualTo(1);
        assertThat(valueAt(connection, SIZE / 2 - 512)).isEqualTo(4);
        registry.resize("disk", SIZE);
        assertThat(valueAt(connection, SIZE - 512)).as("what grew again").isZero();
    }

    /** A request, or a command, on a thread of its own. */
    private static final class Outcome extends Thread {
        private interface Request {
            void run() throws IOException;
        }

        private final Request request;
        private volatile BlockException failure;

        Outcome(Request request) {
            this.request = request;
            start();
        }

        @Override
        public void run() {
            try {
                request.run();
            } catch (IOException e) {
                failure = (BlockException) e;
            }
        }

        /** What it ended with; null: well. */
        BlockException failure() throws InterruptedException {
            join(60_000);
            assertThat(isAlive()).as("it ended").isFalse();
            return failure;
        }
    }

    @Test
    void lateNewsOfAFormerSizeChangesNothing() throws IOException {
        gateway.create("disk");
        String pid = gateway.stored.keySet().iterator().next();
        Dictionary<String, Object> former = gateway.stored.get(pid);
        registry.resize("disk", 2 * SIZE);
        Gateway.TestClient client = new Gateway.TestClient("client");
        gateway.device("disk").connect(client);
        registry.updated(pid, former);
        gateway.configure("two", spec("other").configuration()); // news are heard in order
        awaitOnline("other");
        gateway.device("disk").park(); // and a device's changes happen in order
        assertThat(client.sizes).isEmpty();
        assertThat(gateway.device("disk").geometry().size()).isEqualTo(2 * SIZE);
    }

    @Test
    void exportsComeAndGoWithCommandsAndFrontEnds() throws IOException {
        Device device = gateway.create("disk");
        registry.frontEndArrived("test", frontEnd);
        assertThat(registry.frontEnds()).containsExactly("test");
        fails(Reason.INVALID, "no option [fast]", () -> registry.export("disk", "test,fast=true"));
        registry.export("disk", "test,readOnly=true");
        assertThat(device.exports()).hasSize(1);
        assertThat(device.spec().exports()).containsExactly("test,readOnly=true");
        fails(Reason.EXISTS, "through test already", () -> registry.export("disk", "test"));

        registry.unbindFrontEnd(frontEnd);
        assertThat(frontEnd.ended).containsExactly("disk STOPPING");
        assertThat(device.exports()).isEmpty();
        registry.frontEndArrived("test", frontEnd);
        eventually("served again", () -> frontEnd.served.contains("disk"));

        Connection connection = device.connect(new Gateway.TestClient("test client 1"));
        fails(Reason.IN_USE, "test client 1", () -> registry.unexport("disk", "test", false));
        connection.close();
        registry.unexport("disk", "test", false);
        assertThat(frontEnd.ended).endsWith("disk REMOVED");
        assertThat(device.spec().exports()).isEmpty();
        fails(Reason.NOT_FOUND, "not served through 'test'", () -> registry.unexport("disk", "test", false));
    }

    @Test
    void aDeletedConfigurationRemovesItsDeviceOnceItIsNotInUse() throws IOException {
        gateway.configure("one", file(spec("disk")));
        awaitOnline("disk");
        Connection connection = connect(gateway.device("disk"));
        gateway.unconfigure("one");
        connection.write(block(1), 0, false);
        connection.close();
        eventually("removed", () -> registry.find("disk").isEmpty());
        gateway.configure("two", file(spec("disk")));
        awaitOnline("disk");
        gateway.unconfigure("two");
        eventually("removed", () -> registry.find("disk").isEmpty());
    }

    @Test
    void aDeviceThatAFileConfiguresBelongsToThatFile() {
        gateway.configure("one", file(spec("disk")));
        awaitOnline("disk");
        String words = "configured by etc/org.dblock.device-disk.config";
        fails(Reason.UNSUPPORTED, words, () -> registry.remove("disk", true));
        fails(Reason.UNSUPPORTED, words, () -> registry.resize("disk", 512));
        var id = gateway.device("disk").id();
        gateway.unconfigure("one");
        eventually("removed", () -> registry.find("disk").isEmpty());
        gateway.configure("another pid", file(spec("disk")));
        awaitOnline("disk");
        assertThat(gateway.device("disk").id()).isEqualTo(id);
    }

    @Test
    void aChangedConfigurationChangesItsDevice() throws IOException {
        registry.frontEndArrived("test", frontEnd);
        gateway.configure("one", file(spec("disk")));
        awaitOnline("disk");
        Device device = gateway.device("disk");
        gateway.configure("one", file(spec("disk").withSize(2 * SIZE).withExports(List.of("test"))));
        eventually("served", () -> frontEnd.served.contains("disk"));
        assertThat(device.geometry().size()).isEqualTo(2 * SIZE);
        gateway.configure("one", file(spec("disk").withSize(2 * SIZE)));
        eventually("not served", () -> device.exports().isEmpty());
        // another volume is another device, but not while this one is in use
        Connection connection = connect(device);
        gateway.configure("one", file(spec("disk").withVolume("other")));
        connection.write(block(1), 0, false);
        assertThat(registry.find("disk")).contains(device);
        connection.close();
        eventually("moved", () -> registry.find("disk").filter(d -> d != device).isPresent());
        awaitOnline("disk");
        assertThat(store.disks).containsKeys("disk", "other");
    }

    @Test
    void aBadConfigurationMakesNoDeviceAndHarmsNoOther() throws IOException {
        gateway.create("disk");
        Dictionary<String, Object> bad = spec("bad").configuration();
        bad.put("queueDepth", 5000);
        gateway.configure("bad", bad);
        gateway.configure("good", spec("good").configuration());
        awaitOnline("good");
        assertThat(registry.find("bad")).isEmpty();
    }

    @Test
    void listenersHearOfEveryChangeInOrder() throws IOException {
        List<State> heard = new CopyOnWriteArrayList<>();
        registry.bindListener((device, state) -> {
            throw new IllegalStateException("a listener's own trouble");
        });
        registry.bindListener((device, state) -> heard.add(state));
        Device device = gateway.create("disk");
        device.park();
        device.resume();
        registry.remove("disk", false);
        eventually("all told", () -> heard.contains(State.REMOVED));
        assertThat(heard).containsExactly(State.STARTING, State.ONLINE, State.PARKED, State.ONLINE, State.REMOVED);
    }

    @Test
    void aVolumeThatADeviceUsesIsNotDeleted() throws IOException {
        gateway.create("disk");
        fails(
                Reason.IN_USE,
                "belongs to device disk",
                () -> registry.deleteVolume(FakeStore.BACKEND, "disk", Map.of()));
        fails(
                Reason.IN_USE,
                "belongs to device disk",
                () -> registry.deleteVolume(FakeStore.BACKEND, "disk", Map.of("direct", "true")));
        fails(Reason.UNSUPPORTED, "can't inspect", () -> registry.inspect(FakeStore.BACKEND, "x", Map.of(), false));
        fails(Reason.UNSUPPORTED, "deletes no volumes", () -> registry.deleteVolume(FakeStore.BACKEND, "x", Map.of()));
        assertThat(registry.volumes(FakeStore.BACKEND, Map.of())).isEmpty();
    }

    @Test
    void aFailedDeviceTriesAgain() throws IOException {
        store.openFailure = new BlockException(Reason.IO, "the server is down");
        gateway.configure("one", spec("disk").configuration());
        eventually(
                "failed",
                () -> registry.find("disk")
                        .filter(d -> d.state() == State.FAILED)
                        .isPresent());
        assertThat(gateway.device("disk").explanation()).contains("the server is down");
        store.openFailure = null;
        awaitOnline("disk");
    }

    @Test
    void aVolumeThatVanishedIsNotCreatedAnew() throws IOException {
        Device device = gateway.create("disk");
        gateway.remove(store);
        byte[] bytes = store.disks.remove("disk");
        gateway.add(store.version("1.0"));
        eventually("says so", () -> device.explanation().contains("vanished"));
        assertThat(device.state()).isEqualTo(State.PARKED);
        store.disks.put("disk", bytes);
        eventually("back", () -> device.state() == State.ONLINE);
    }
}
