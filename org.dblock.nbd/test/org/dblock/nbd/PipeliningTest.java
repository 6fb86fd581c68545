package org.dblock.nbd;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.dblock.api.device.Export;
import org.dblock.nbd.TestClient.Reply;
import org.dblock.nbd.Transmission.Mode;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Many requests at a time: batches, order, memory, clients that are slow or leave, and the end of an export. */
class PipeliningTest extends ServerCase {
    private static final byte[] NOTHING = {};

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void everyRequestOfABatchIsAnswered(boolean blocking) throws Exception {
        FakeDevice device = serve(blocking ? demo().blocking() : demo());
        device.fill(0, 4 * MIB);
        TestClient client = connect(Mode.STRUCTURED);
        ByteBuffer batch = ByteBuffer.allocate(200 * 28);
        Set<Long> cookies = new HashSet<>();
        for (long i = 1; i <= 200; i++) {
            batch.putInt(Nbd.REQUEST_MAGIC)
                    .putInt(Nbd.CMD_READ)
                    .putLong(i)
                    .putLong(i * 4096)
                    .putInt(4096);
            cookies.add(i);
        }
        client.send(batch.flip());
        for (int i = 0; i < 200; i++) {
            Reply reply = client.reply(4096);
            assertThat(cookies.remove(reply.cookie)).isTrue();
            assertThat(reply.data()[77]).isEqualTo(FakeDevice.pattern((int) reply.cookie * 4096 + 77));
        }
        assertThat(cookies).isEmpty();
    }

    @Test
    void aSlowRequestOfABlockingVolumeDoesNotHoldUpTheOthers() throws Exception {
        FakeDevice device = serve(demo().blocking());
        device.slowOffset = 8192;
        TestClient client = connect(Mode.STRUCTURED);
        long slow = client.request(Nbd.CMD_READ, 0, 8192, 512, NOTHING);
        long quick = client.request(Nbd.CMD_READ, 0, 0, 512, NOTHING);
        assertThat(client.reply(512).cookie).isEqualTo(quick);
        device.permits.release();
        assertThat(client.reply(512).cookie).isEqualTo(slow);
    }

    @Test
    void repliesThatAreReadyGoOutBeforeARequestWaitsAtTheGate() throws Exception {
        FakeDevice device = serve(demo());
        device.slowOffset = 8192;
        TestClient client = connect(Mode.STRUCTURED);
        ByteBuffer batch = ByteBuffer.allocate(2 * 28);
        batch.putInt(Nbd.REQUEST_MAGIC)
                .putInt(Nbd.CMD_READ)
                .putLong(1)
                .putLong(0)
                .putInt(512);
        batch.putInt(Nbd.REQUEST_MAGIC)
                .putInt(Nbd.CMD_READ)
                .putLong(2)
                .putLong(0)
                .putInt(512);
        device.parked = true;
        device.permits.release(); // the first one passes, the second one waits
        client.send(batch.flip());
        assertThat(client.reply(512).cookie).isEqualTo(1);
        device.permits.release();
        assertThat(client.reply(512).cookie).isEqualTo(2);
    }

    @Test
    void flushOnOneConnectionFollowsTheWritesOfAnother() throws Exception {
        FakeDevice device = serve(demo());
        TestClient one = connect(Mode.STRUCTURED);
        TestClient two = connect(Mode.STRUCTURED);
        assertThat(one.flags & Nbd.FLAG_CAN_MULTI_CONN).isNotZero();
        assertThat(one.write(0, new byte[512])).isZero();
        assertThat(two.call(Nbd.CMD_FLUSH, 0, 0, 0).error).isZero();
        assertThat(device.calls).containsExactly("write 0 512", "flush 0 0");
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aRequestAllocatesNothing(boolean write) throws Exception {
        FakeDevice device = serve(demo());
        device.remembers = false;
        TestClient client = connect(Mode.STRUCTURED);
        int depth = 16;
        int request = 28 + (write ? 4096 : 0);
        ByteBuffer batch = ByteBuffer.allocateDirect(depth * request);
        for (int i = 0; i < depth; i++) {
            int type = write ? Nbd.CMD_WRITE : Nbd.CMD_READ;
            batch.putInt(Nbd.REQUEST_MAGIC)
                    .putInt(type)
                    .putLong(i)
                    .putLong(i * 4096)
                    .putInt(4096);
            batch.position((i + 1) * request);
        }
        ByteBuffer replies = ByteBuffer.allocateDirect(depth * (write ? 16 : 28 + 4096));
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long server = serverThread();
        long before = 0;
        int rounds = 2000;
        for (int i = -2000; i < rounds; i++) {
            if (i == 0) before = threads.getThreadAllocatedBytes(server);
            batch.clear();
            while (batch.hasRemaining()) client.channel.write(batch);
            replies.clear();
            while (replies.hasRemaining()) client.channel.read(replies);
        }
        long each = (threads.getThreadAllocatedBytes(server) - before) / ((long) rounds * depth);
        assertThat(each).as("bytes allocated by a request").isZero();
    }

    private static long serverThread() {
        return Thread.getAllStackTraces().keySet().stream()
                .filter(thread -> thread.getName().startsWith("nbd client"))
                .findFirst()
                .orElseThrow()
                .getId();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aClientThatTakesNoRepliesIsCutOff(boolean blocking) throws Exception {
        FakeDevice device = blocking ? demo().blocking() : demo();
        device.fill(0, 8 * MIB);
        serve(device, Map.of(), TestSettings.of(socket().toString()).withSeconds(10, 1));
        TestClient client = connect(Mode.STRUCTURED);
        for (int i = 0; i < 8; i++) client.request(Nbd.CMD_READ, 0, 0, 4 * MIB, NOTHING);
        TestClient other = connect(Mode.STRUCTURED);
        assertThat(other.read(0, 512).error).isZero();
        eventually("the connection is closed", () -> device.clients().size() == 1);
        assertThat(other.read(0, 512).error).isZero();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aClientThatIsSlowIsServedToTheEnd(boolean blocking) throws Exception {
        FakeDevice device = blocking ? demo().blocking() : demo();
        device.fill(0, 8 * MIB);
        serve(device, Map.of(), TestSettings.of(socket().toString()).withSeconds(10, 2));
        TestClient client = connect(Mode.STRUCTURED);
        client.request(Nbd.CMD_READ, 0, 0, 2 * MIB, NOTHING);
        // 2 MiB in small pieces, over more time in all than the limit of the pauses
        long began = System.nanoTime();
        int got = 0;
        ByteBuffer piece = ByteBuffer.allocate(64 << 10);
        while (got < 2 * MIB) {
            got += client.channel.read(piece.clear());
            Thread.sleep(120);
        }
        assertThat(System.nanoTime() - began).isGreaterThan(3_000_000_000L);
        assertThat(device.clients()).hasSize(1);
    }

    @Test
    void requestsInFlightAreBoundedInMemory() throws Exception {
        FakeDevice device = new FakeDevice("demo", 40 * MIB, 512).blocking();
        serve(device);
        device.slowOffset = 0;
        TestClient client = connect(Mode.STRUCTURED);
        for (int i = 0; i < 4; i++) client.request(Nbd.CMD_READ, Nbd.CMD_FLAG_DF, 0, 32 * MIB, NOTHING);
        eventually("the first one is inside", () -> device.calls.size() == 1);
        Thread.sleep(200); // time in which a second one would come, were it let
        assertThat(device.calls).hasSize(1);
        device.permits.release(4);
        for (int i = 0; i < 4; i++) assertThat(client.reply(32 * MIB).error).isZero();
        assertThat(device.calls).hasSize(4);
    }

    @Test
    void everyRequestBeforeADisconnectIsFinished() throws Exception {
        FakeDevice device = serve(demo().blocking());
        device.slowOffset = 4096;
        TestClient client = connect(Mode.STRUCTURED);
        client.request(Nbd.CMD_WRITE, 0, 4096, 512, new byte[512]);
        client.disconnect();
        eventually("it is inside", () -> device.calls.size() == 1);
        assertThat(device.clients()).hasSize(1);
        device.permits.release();
        assertThat(client.reply(0).error).isZero();
        assertThat(client.closed()).isTrue();
        eventually("the device is let go", () -> device.clients().isEmpty());
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aClientThatDiesAmidARequestLeavesNothingBehind(boolean blocking) throws Exception {
        FakeDevice device = serve(blocking ? demo().blocking() : demo());
        for (int cut : new int[] {1, 27, 28, 100, 539}) {
            try (TestClient client = connect(Mode.STRUCTURED)) {
                ByteBuffer request = ByteBuffer.allocate(540);
                request.putInt(Nbd.REQUEST_MAGIC)
                        .putInt(Nbd.CMD_WRITE)
                        .putLong(1)
                        .putLong(0)
                        .putInt(512);
                client.send(request.clear().limit(cut));
            }
            eventually("the device is let go", () -> device.clients().isEmpty());
        }
        assertThat(device.calls)
                .as("nothing of a write that came in part is made")
                .isEmpty();
    }

    @Test
    void closingAnExportFinishesWhatIsUnderWay() throws Exception {
        FakeDevice device = serve(demo().blocking());
        device.slowOffset = 4096;
        TestClient client = connect(Mode.STRUCTURED);
        client.request(Nbd.CMD_WRITE, 0, 4096, 512, new byte[512]);
        eventually("it is inside", () -> device.calls.size() == 1);
        Thread closer = new Thread(() -> export.close(Export.End.REMOVED));
        closer.start();
        eventually("new clients find nothing", () -> server.names().isEmpty());
        device.permits.release();
        assertThat(client.reply(0).error).isZero();
        assertThat(client.closed()).isTrue();
        closer.join();
        assertThat(device.clients()).isEmpty();
    }

    @Test
    void anExportCanBeClosedThoughARequestHangs() throws Exception {
        FakeDevice device = serve(demo());
        device.slowOffset = 4096;
        TestClient client = connect(Mode.STRUCTURED);
        client.request(Nbd.CMD_READ, 0, 4096, 512, NOTHING);
        eventually("it is inside", () -> device.calls.size() == 1);
        export.close();
        assertThat(client.closed()).isTrue();
        device.permits.release();
        eventually("the device is let go", () -> device.clients().isEmpty());
    }

    @Test
    void aDeviceThatIsGoneLetsItsClientsGo() throws Exception {
        FakeDevice device = serve(demo());
        TestClient client = connect(Mode.STRUCTURED);
        device.clients.forEach(each -> each.gone("its contents are lost"));
        assertThat(client.closed()).isTrue();
        eventually("the device is let go", () -> device.clients().isEmpty());
    }

    @Test
    void afterASwapAnotherThreadServesTheConnection() throws Exception {
        FakeDevice device = serve(demo());
        TestClient client = connect(Mode.STRUCTURED);
        client.read(0, 512);
        long before = serverThread();
        device.swaps.incrementAndGet();
        server.changed(device, org.dblock.api.device.Device.State.ONLINE);
        eventually("another thread", () -> {
            try {
                return serverThread() != before;
            } catch (java.util.NoSuchElementException e) {
                return false; // between the two
            }
        });
        assertThat(client.read(0, 512).error).isZero();
    }
}
