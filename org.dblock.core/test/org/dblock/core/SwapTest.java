package org.dblock.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.dblock.core.DeviceTest.fails;
import static org.dblock.core.Gateway.block;
import static org.dblock.core.Gateway.connect;
import static org.dblock.core.Gateway.eventually;
import static org.dblock.core.Gateway.valueAt;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.dblock.api.Reason;
import org.dblock.api.device.Connection;
import org.dblock.api.device.Device;
import org.dblock.api.device.Device.State;
import org.dblock.api.device.DeviceSpec;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Stores come and go under a device. */
class SwapTest {
    private final Gateway gateway = new Gateway();
    private final List<FakeStore> stores = new ArrayList<>();

    private FakeStore add(FakeStore store) {
        stores.add(store);
        return gateway.add(store);
    }

    @AfterEach
    void nothingStaysOpen() {
        gateway.close();
        for (FakeStore each : stores) {
            eventually("volumes closed", () -> each.openNow() == 0);
            assertThat(each.violation.get()).isNull();
        }
    }

    private static void awaitOnline(Device device) {
        eventually("online", () -> device.state() == State.ONLINE);
    }

    private static void awaitSwap(Device device, long count) {
        eventually("swap " + count, () -> device.stats().swaps() == count && device.state() == State.ONLINE);
    }

    @Test
    void whenUnbindReturnsTheVolumeIsFlushedAndClosedAndRequestsWait() throws Exception {
        FakeStore store = add(FakeStore.durable());
        Device device = gateway.create("disk");
        Connection connection = connect(device);
        connection.write(block(1), 0, false);
        gateway.remove(store);
        assertThat(store.openNow()).isZero();
        assertThat(store.flushed.get()).isPositive();
        assertThat(device.state()).isEqualTo(State.PARKED);
        assertThat(connection.wouldWait()).isTrue();
        assertThat(device.geometry().size()).isEqualTo(Gateway.SIZE);

        AtomicInteger seen = new AtomicInteger(-1);
        Thread reader = new Thread(() -> {
            try {
                seen.set(valueAt(connection, 0));
            } catch (IOException e) {
                seen.set(-2);
            }
        });
        reader.start();
        while (reader.getState() != Thread.State.WAITING) Thread.onSpinWait();
        assertThat(seen.get()).isEqualTo(-1);
        add(store.version("1.0"));
        reader.join();
        assertThat(seen.get()).isEqualTo(1);
        assertThat(device.stats().swaps()).isEqualTo(1);
        assertThat(device.stats().lastSwapNanos()).isPositive();
    }

    @Test
    void volatileContentsAreHandedOverAndWhatNobodyTakesIsClosed() throws Exception {
        FakeStore store = add(FakeStore.inMemory());
        AtomicInteger closed = new AtomicInteger();
        store.leftover = closed::incrementAndGet;
        Device device = gateway.create("disk");
        Connection connection = connect(device);
        connection.write(block(5), 512, false);
        gateway.remove(store);
        assertThat(closed.get()).isZero();
        add(store.version("1.0"));
        assertThat(valueAt(connection, 512)).isEqualTo(5);
        assertThat(closed.get()).isEqualTo(1);
    }

    @Test
    void aDeviceMovesToAHigherVersionAndNotToALowerOne() throws Exception {
        FakeStore store = add(FakeStore.durable());
        Device device = gateway.create("disk");
        Connection connection = connect(device);
        connection.write(block(3), 0, false);
        FakeStore lower = add(store.version("0.9"));
        FakeStore higher = add(store.version("1.1"));
        awaitSwap(device, 1);
        assertThat(lower.opened.get()).isZero();
        assertThat(store.openNow()).isZero();
        assertThat(higher.openNow()).isEqualTo(1);
        assertThat(valueAt(connection, 0)).isEqualTo(3);
        gateway.remove(higher);
        awaitSwap(device, 2);
        assertThat(store.openNow()).isEqualTo(1);
    }

    @Test
    void anExclusiveVolumeIsClosedBeforeItsSuccessorOpens() throws Exception {
        FakeStore store = FakeStore.durable();
        store.exclusive = true;
        add(store);
        Device device = gateway.create("disk");
        FakeStore better = store.version("2.0");
        // two stores that share their disks don't see each other's volumes: this one stands for the lock
        better.openFailure = new org.dblock.api.BlockException(Reason.IN_USE, "locked");
        Thread unlock = new Thread(() -> {
            while (store.openNow() > 0) Thread.onSpinWait();
            better.openFailure = null;
        });
        unlock.start();
        add(better);
        eventually("moved or back", () -> device.stats().swaps() == 1 || store.opened.get() == 2);
        unlock.join();
        awaitOnline(device);
        assertThat(store.closed.get()).isPositive();
    }

    @Test
    void aFailedSwapGoesBackToTheOldStore() throws Exception {
        FakeStore store = add(FakeStore.durable());
        Device device = gateway.create("disk");
        Connection connection = connect(device);
        connection.write(block(9), 0, false);
        FakeStore inUse = store.version("2.0");
        inUse.openFailure = new org.dblock.api.BlockException(Reason.IN_USE, "locked for ever");
        add(inUse);
        eventually("opened again", () -> store.opened.get() == 2);
        awaitOnline(device);
        assertThat(valueAt(connection, 0)).isEqualTo(9);
        FakeStore broken = store.version("3.0");
        broken.openFailure = new org.dblock.api.BlockException(Reason.IO, "broken");
        add(broken);
        assertThat(valueAt(connection, 0)).isEqualTo(9);
        assertThat(device.stats().swaps()).isZero();
    }

    @Test
    void whereTheNewVersionCannotOpenTheDeviceParksAndTheOldVersionGoesOnWithItsContents() throws Exception {
        parksUnder(broken -> broken.openFailure = new org.dblock.api.BlockException(Reason.IO, "broken"), "broken");
    }

    @Test
    void whatAVersionOfAnotherGeometryTookOverGoesToTheNext() throws Exception {
        parksUnder(other -> other.blockSize = 4096, "in blocks of 4096");
    }

    /** Updated in place: there is no old code to go back to, until somebody installs it again. */
    private void parksUnder(Consumer<FakeStore> mistake, String explanation) throws Exception {
        FakeStore store = add(FakeStore.inMemory());
        Device device = gateway.create("disk");
        Connection connection = connect(device);
        connection.write(block(9), 512, false);
        FakeStore next = store.version("2.0");
        mistake.accept(next);
        gateway.remove(store);
        add(next);
        eventually("tried", () -> device.explanation().contains(explanation));
        assertThat(device.state()).isEqualTo(State.PARKED);
        assertThat(connection.wouldWait()).isTrue();
        eventually("closed", () -> next.openNow() == 0); // it may be tried more than once

        gateway.remove(next);
        add(store.version("1.0"));
        awaitOnline(device);
        assertThat(valueAt(connection, 512)).isEqualTo(9);
    }

    @Test
    void aSuccessorIsNeverOpenedOverAFailedFlush() throws Exception {
        FakeStore store = add(FakeStore.durable());
        Device device = gateway.create("disk");
        Connection connection = connect(device);
        store.flushFailure = new IOException("bad disk");
        FakeStore better = add(store.version("2.0"));
        eventually("tried", () -> store.flushed.get() > 0);
        connection.write(block(1), 0, false);
        assertThat(better.opened.get()).isZero();

        gateway.remove(store);
        eventually("failed", () -> device.state() == State.FAILED);
        assertThat(device.explanation()).contains("bad disk").contains("resume");
        assertThat(better.opened.get()).isZero();
        fails(Reason.IO, "bad disk", () -> connection.read(block(0), 0));

        device.resume();
        assertThat(device.state()).isEqualTo(State.ONLINE);
        assertThat(better.openNow()).isEqualTo(1);
        fails(Reason.IO, "lost", () -> connection.read(block(0), 0));
        assertThat(valueAt(connect(device), 0)).isEqualTo(1);
    }

    @Test
    void lostVolatileContentsAreNeverServedToThoseWhoKnewThem() throws Exception {
        FakeStore store = add(FakeStore.inMemory());
        Device device = gateway.create("disk");
        Gateway.TestClient client = new Gateway.TestClient("knows");
        Connection connection = device.connect(client);
        connection.write(block(5), 0, false);
        store.hang = new CountDownLatch(1);
        Thread stuck = new Thread(() -> {
            try {
                connection.read(block(0), 0);
            } catch (IOException e) {
                client.gone.add("stuck: " + e.getMessage());
            }
        });
        stuck.start();
        eventually("inside", () -> store.inside.get() == 1);
        gateway.remove(store); // gives up after 3 s
        add(store.version("1.0"));
        eventually("failed", () -> device.state() == State.FAILED);
        assertThat(device.explanation()).contains("lost");
        fails(Reason.IO, "lost", () -> connection.read(block(0), 0));
        assertThat(client.gone).isEmpty();

        device.resume();
        assertThat(device.state()).isEqualTo(State.ONLINE);
        assertThat(device.explanation()).contains("empty");
        assertThat(client.gone).hasSize(1);
        fails(Reason.IO, "lost", () -> connection.read(block(0), 0));
        assertThat(valueAt(connect(device), 0)).isZero();
        store.hang.countDown();
        stuck.join();
        assertThat(client.gone).hasSize(2).anyMatch(each -> each.startsWith("stuck: "));
    }

    @Test
    void aVolumeThatDoesNotDrainIsAbandonedAndItsLateAnswersAreDropped() throws Exception {
        FakeStore store = add(FakeStore.durable());
        Device device = gateway.create("disk");
        Connection connection = connect(device);
        connection.write(block(1), 0, false);
        store.hang = new CountDownLatch(1);
        AtomicReference<Object> late = new AtomicReference<>();
        Thread reader = new Thread(() -> {
            try {
                late.set(valueAt(connection, 0));
            } catch (IOException e) {
                late.set(e);
            }
        });
        connection.workers().execute(reader::run);
        eventually("inside", () -> store.inside.get() == 1);
        long start = System.nanoTime();
        gateway.remove(store);
        assertThat(System.nanoTime() - start).isLessThan(60_000_000_000L);
        assertThat(store.openNow()).as("not closed under a request").isEqualTo(1);
        FakeStore next = add(store.version("1.0"));
        awaitOnline(device);
        connection.write(block(2), 0, false);
        assertThat(late.get()).isNull();
        store.requestFailure = new IOException("too late");
        store.hang.countDown();
        eventually("answered", () -> late.get() != null);
        assertThat(late.get()).as("the successor's answer").isEqualTo(2);
        assertThat(next.violation.get()).isNull();
    }

    @Test
    void aStoreThatLeavesWhileItOpensIsNotWaitedForAndItsVolumeIsClosed() throws Exception {
        FakeStore store = FakeStore.durable();
        store.hangOpen = new CountDownLatch(1);
        gateway.configure(
                "one", DeviceSpec.of("disk", FakeStore.BACKEND, Gateway.SIZE).configuration());
        add(store);
        eventually("there", () -> gateway.registry.find("disk").isPresent());
        gateway.remove(store);
        eventually("waits again", () -> gateway.device("disk").explanation().contains("waits for backend fake"));
        assertThat(gateway.device("disk").state()).isEqualTo(State.STARTING);
        store.hangOpen.countDown();
        eventually("closed", () -> store.openNow() == 0);
        add(store.version("1.0"));
        awaitOnline(gateway.device("disk"));
    }

    /** Clients write and verify while stores of all kinds come and go: no error, no wrong byte. */
    @Test
    void swapsUnderLoadCostNoErrorAndNoByte() throws Exception {
        Random random = Seed.random("swapsUnderLoadCostNoErrorAndNoByte");
        FakeStore store = random.nextBoolean() ? FakeStore.durable() : FakeStore.inMemory();
        store.mayBlock = random.nextBoolean();
        add(store);
        Device device = gateway.create("disk");
        AtomicBoolean over = new AtomicBoolean();
        AtomicReference<Throwable> failure = new AtomicReference<>();
        AtomicInteger rounds = new AtomicInteger();
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            int first = i * 32;
            long seed = random.nextLong();
            Thread thread = new Thread(() -> {
                Random mine = new Random(seed);
                byte[] expected = new byte[32];
                ByteBuffer buffer = ByteBuffer.allocateDirect(512);
                try (Connection connection = connect(device)) {
                    while (!over.get()) {
                        int index = mine.nextInt(32);
                        byte value = (byte) mine.nextInt();
                        buffer.clear();
                        while (buffer.hasRemaining()) buffer.put(value);
                        connection.write(buffer.flip(), (first + index) * 512L, false);
                        expected[index] = value;
                        index = mine.nextInt(32);
                        if (valueAt(connection, (first + index) * 512L) != (expected[index] & 255))
                            throw new AssertionError("wrong byte in block " + (first + index));
                        rounds.incrementAndGet();
                    }
                } catch (Throwable e) {
                    failure.compareAndSet(null, e);
                }
            });
            threads.add(thread);
            thread.start();
        }
        FakeStore current = store;
        for (int i = 0; i < 60 && failure.get() == null; i++) {
            Thread.sleep(random.nextInt(5));
            long swaps = device.stats().swaps();
            FakeStore next = current.version("1." + (i + 1));
            switch (random.nextInt(3)) {
                case 0 -> { // in place
                    gateway.remove(current);
                    add(next);
                }
                case 1 -> { // side by side
                    add(next);
                    awaitSwap(device, swaps + 1);
                    gateway.remove(current);
                }
                default -> { // parked on command meanwhile
                    device.park();
                    gateway.remove(current);
                    add(next);
                    device.resume();
                }
            }
            current = next;
            awaitSwap(device, swaps + 1);
        }
        over.set(true);
        for (Thread thread : threads) thread.join();
        assertThat(failure.get()).isNull();
        assertThat(rounds.get()).isPositive();
    }

    @Test
    void aVolumeIsNotClosedWhileAFlushThatIsNoLongerWaitedForIsInside() throws Exception {
        FakeStore store = add(FakeStore.durable());
        Device device = gateway.create("disk");
        Connection connection = connect(device);
        connection.write(block(1), 0, false);
        CountDownLatch early = store.hangFlush = new CountDownLatch(1);
        Thread leaving = new Thread(() -> gateway.remove(store));
        leaving.start();
        eventually("the early flush", () -> store.inside.get() == 1);
        store.hangFlush = null; // the last one comes through
        leaving.join();
        assertThat(store.violation.get()).isNull();
        assertThat(store.openNow()).isEqualTo(1);
        early.countDown();
        eventually("closed", () -> store.openNow() == 0);
        add(store.version("1.0"));
        awaitOnline(device);
        assertThat(valueAt(connection, 0)).isEqualTo(1);
    }
}
