package org.dblock.core;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import org.dblock.api.device.Connection;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The way of a request allocates nothing, once it has been gone. */
class AllocationTest {
    private static final int REQUESTS = 20_000;

    private final Gateway gateway = new Gateway();
    private final FakeStore store = gateway.add(FakeStore.durable());
    private final com.sun.management.ThreadMXBean threads =
            (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();

    @AfterEach
    void close() {
        gateway.close();
    }

    private void requests(Connection connection, ByteBuffer buffer) throws IOException {
        for (int i = 0; i < REQUESTS; i++) {
            connection.write(buffer.clear(), 0, i % 2 == 0);
            connection.read(buffer.clear(), 0);
            connection.flush();
            connection.discard(0, 512);
        }
    }

    @Test
    void requestsAllocateNothing() throws IOException {
        Connection connection = Gateway.connect(gateway.create("disk"));
        ByteBuffer buffer = ByteBuffer.allocateDirect(512);
        requests(connection, buffer); // classes, counters
        long before = threads.getThreadAllocatedBytes(Thread.currentThread().getId());
        requests(connection, buffer);
        long bytes = threads.getThreadAllocatedBytes(Thread.currentThread().getId()) - before;
        assertThat(bytes).as("bytes for %d requests", 4 * REQUESTS).isLessThan(REQUESTS);
    }

    @Test
    void handingARequestToAWorkerAllocatesNothing() throws Exception {
        Connection connection = Gateway.connect(gateway.create("disk"));
        Turn turn = new Turn(connection);
        for (int i = 0; i < REQUESTS; i++) turn.once();
        Thread worker = turn.worker;
        long before = allocated(worker);
        for (int i = 0; i < REQUESTS; i++) turn.once();
        long bytes = allocated(worker) - before;
        assertThat(turn.worker).as("the same thread all the time").isSameAs(worker);
        assertThat(bytes).as("bytes for %d requests", REQUESTS).isLessThan(REQUESTS);
    }

    private long allocated(Thread worker) {
        return threads.getThreadAllocatedBytes(Thread.currentThread().getId())
                + threads.getThreadAllocatedBytes(worker.getId());
    }

    /** Hands a read to a worker and waits for it, without allocating either. */
    private static final class Turn implements Runnable {
        private final Connection connection;
        private final ByteBuffer buffer = ByteBuffer.allocateDirect(512);
        private volatile boolean done;
        private volatile Thread worker;

        Turn(Connection connection) {
            this.connection = connection;
        }

        void once() {
            done = false;
            connection.workers().execute(this);
            while (!done) Thread.yield();
            // the worker is idle again before the next turn, else that one would go to another thread
            while (worker.getState() == Thread.State.RUNNABLE) Thread.yield();
        }

        @Override
        public void run() {
            worker = Thread.currentThread();
            try {
                connection.read(buffer.clear(), 0);
            } catch (IOException e) {
                throw new AssertionError(e);
            }
            done = true;
        }
    }
}
