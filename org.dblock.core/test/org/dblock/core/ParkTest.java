package org.dblock.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.dblock.core.DeviceTest.fails;
import static org.dblock.core.Gateway.block;
import static org.dblock.core.Gateway.connect;
import static org.dblock.core.Gateway.eventually;
import static org.dblock.core.Gateway.valueAt;

import java.io.IOException;
import java.util.List;
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

/** Parking on command, the park timeout, and what the gateway's end does to those who wait. */
class ParkTest {
    private final Gateway gateway = new Gateway();
    private final FakeStore store = gateway.add(FakeStore.durable());

    @AfterEach
    void close() {
        gateway.close();
        assertThat(store.violation.get()).isNull();
    }

    private Device create(int parkSeconds) throws BlockException {
        return gateway.registry.create(
                DeviceSpec.of("disk", FakeStore.BACKEND, Gateway.SIZE).withParkSeconds(parkSeconds));
    }

    /** A request that waits; its outcome. */
    private static AtomicReference<Object> waitingRead(Connection connection) {
        AtomicReference<Object> outcome = new AtomicReference<>();
        Thread thread = new Thread(() -> {
            try {
                outcome.set(valueAt(connection, 0));
            } catch (IOException e) {
                outcome.set(e);
            }
        });
        thread.start();
        while (thread.getState() != Thread.State.WAITING && outcome.get() == null) Thread.onSpinWait();
        return outcome;
    }

    @Test
    void aParkedDeviceIsFlushedAndItsRequestsWaitForResume() throws Exception {
        Device device = create(60);
        Connection connection = connect(device);
        connection.write(block(4), 0, false);
        device.park();
        device.park(); // again: nothing
        assertThat(device.state()).isEqualTo(State.PARKED);
        assertThat(store.flushed.get()).isEqualTo(1);
        assertThat(connection.wouldWait()).isTrue();
        AtomicReference<Object> outcome = waitingRead(connection);
        assertThat(outcome.get()).isNull();
        device.resume();
        eventually("answered", () -> outcome.get() != null);
        assertThat(outcome.get()).isEqualTo(4);
        assertThat(device.stats().swaps()).isZero();
    }

    @Test
    void aDeviceThatCannotBeFlushedIsNotParked() throws Exception {
        Device device = create(60);
        store.flushFailure = new IOException("bad disk");
        fails(Reason.IO, "bad disk", device::park);
        assertThat(device.state()).isEqualTo(State.ONLINE);
    }

    @Test
    void afterTheParkTimeoutRequestsFailAndTheReturnOfTheStoreHeals() throws Exception {
        Device device = create(1);
        Connection connection = connect(device);
        connection.write(block(6), 0, false);
        gateway.remove(store);
        AtomicReference<Object> outcome = waitingRead(connection);
        eventually("failed", () -> outcome.get() != null);
        assertThat(outcome.get())
                .isInstanceOfSatisfying(
                        BlockException.class, e -> assertThat(e.reason()).isEqualTo(Reason.IO));
        assertThat(device.state()).isEqualTo(State.FAILED);
        assertThat(device.explanation()).contains("more than 1 s").contains("backend fake");
        fails(Reason.IO, "failed", () -> connect(device));
        fails(Reason.IO, "failed", () -> connection.read(block(0), 0));
        gateway.add(store.version("1.0"));
        eventually("online", () -> device.state() == State.ONLINE);
        assertThat(valueAt(connection, 0)).isEqualTo(6);
    }

    @Test
    void aDeviceParkedOnCommandFailsAtTheTimeoutTooAndResumes() throws Exception {
        Device device = create(1);
        Connection connection = connect(device);
        device.park();
        eventually("failed", () -> device.state() == State.FAILED);
        fails(Reason.IO, "parked on command", () -> connection.read(block(0), 0));
        device.resume();
        assertThat(valueAt(connection, 0)).isZero();
    }

    @Test
    void aDeviceParkedOnCommandStaysSoThroughAnUpdate() throws Exception {
        Device device = create(60);
        device.park();
        gateway.remove(store);
        FakeStore next = gateway.add(store.version("1.1"));
        gateway.registry.frontEndArrived("test", new Gateway.TestFrontEnd()); // any event
        assertThat(next.opened.get()).isZero();
        assertThat(device.state()).isEqualTo(State.PARKED);
        device.resume();
        assertThat(next.openNow()).isEqualTo(1);
        assertThat(device.state()).isEqualTo(State.ONLINE);
    }

    @Test
    void theGatewaysEndFreesThoseWhoWaitAndSaysThatItIsNoFailure() throws Exception {
        Device device = create(0);
        Gateway.TestClient client = new Gateway.TestClient("client");
        Connection connection = device.connect(client);
        device.park();
        AtomicReference<Object> outcome = waitingRead(connection);
        gateway.close();
        eventually("answered", () -> outcome.get() != null);
        assertThat(outcome.get())
                .isInstanceOfSatisfying(
                        BlockException.class, e -> assertThat(e.reason()).isEqualTo(Reason.SHUTTING_DOWN));
        assertThat(client.gone).hasSize(1);
        assertThat(store.openNow()).isZero();
    }

    @Test
    void theGatewaysEndLetsExportsGoFirstAndAnnouncesItselfToVolumes() throws Exception {
        Gateway.TestFrontEnd frontEnd = new Gateway.TestFrontEnd();
        gateway.registry.frontEndArrived("test", frontEnd);
        gateway.registry.create(
                DeviceSpec.of("disk", FakeStore.BACKEND, Gateway.SIZE).withExports(List.of("test")));
        int flushed = store.flushed.get();
        gateway.close();
        assertThat(frontEnd.ended).containsExactly("disk " + Export.End.STOPPING);
        assertThat(store.soon.get()).isEqualTo(1);
        assertThat(store.flushed.get()).isGreaterThan(flushed);
        assertThat(store.openNow()).isZero();
    }

    @Test
    void theGatewayEndsInSecondsThoughAVolumeHangs() throws Exception {
        Device device = create(60);
        Connection connection = connect(device);
        store.hang = new CountDownLatch(1);
        Thread stuck = new Thread(() -> {
            try {
                connection.read(block(0), 0);
            } catch (IOException e) {
                assertThat(e).hasMessageContaining("stops");
            }
        });
        stuck.start();
        eventually("inside", () -> store.inside.get() == 1);
        long start = System.nanoTime();
        gateway.close();
        assertThat(System.nanoTime() - start).isLessThan(60_000_000_000L);
        assertThat(store.openNow()).as("not closed under a request").isEqualTo(1);
        store.hang.countDown();
        stuck.join();
        eventually("closed at last", () -> store.openNow() == 0);
    }

    @Test
    void theGatewayEndsInSecondsThoughAnOpenHangs() throws Exception {
        store.hangOpen = new CountDownLatch(1);
        gateway.configure(
                "one", DeviceSpec.of("slow", FakeStore.BACKEND, Gateway.SIZE).configuration());
        eventually("there", () -> gateway.registry.find("slow").isPresent());
        long start = System.nanoTime();
        gateway.close();
        assertThat(System.nanoTime() - start).isLessThan(60_000_000_000L);
        store.hangOpen.countDown();
        eventually("closed", () -> store.openNow() == 0);
    }

    @Test
    void aStoreThatLeavesWhileTheDeviceIsBeingParkedIsNotHeldUp() throws Exception {
        Device device = create(60);
        Connection connection = connect(device);
        store.hang = new CountDownLatch(1);
        AtomicReference<Object> outcome = new AtomicReference<>();
        Thread stuck = new Thread(() -> {
            try {
                outcome.set(valueAt(connection, 0));
            } catch (IOException e) {
                outcome.set(e);
            }
        });
        stuck.start();
        eventually("inside", () -> store.inside.get() == 1);
        Thread parker = new Thread(() -> fails(Reason.TIMED_OUT, "1 requests are still inside", device::park));
        parker.start();
        eventually("parking", () -> device.state() == State.PARKED);
        gateway.remove(store);
        assertThat(((BlockDevice) device).current())
                .as("the volume is abandoned when unbind returns")
                .isNull();
        parker.join();
        FakeStore next = gateway.add(store.version("1.0"));
        eventually("online", () -> device.state() == State.ONLINE);
        assertThat(outcome.get()).isNull();
        store.hang.countDown();
        stuck.join();
        assertThat(outcome.get()).isEqualTo(0);
        assertThat(next.openNow()).isEqualTo(1);
    }
}
