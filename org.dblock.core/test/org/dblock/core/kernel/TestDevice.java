package org.dblock.core.kernel;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicInteger;
import org.dblock.api.BlockException;
import org.dblock.api.ExtentVisitor;
import org.dblock.api.Geometry;
import org.dblock.api.Reason;
import org.dblock.api.device.Client;
import org.dblock.api.device.Connection;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceSpec;
import org.dblock.api.device.DeviceStats;
import org.dblock.api.device.Export;

/** A device in memory whose gate, failures and speed a test decides. */
final class TestDevice implements Device {
    /** What a test does inside a request. */
    interface Hook {
        void run() throws Exception;
    }

    final List<TestConnection> connections = new ArrayList<>();
    final AtomicInteger flushes = new AtomicInteger(), fuas = new AtomicInteger(), inside = new AtomicInteger();
    final List<String> ranges = new ArrayList<>();
    private final UUID id = UUID.randomUUID();
    DeviceSpec spec;
    volatile Geometry geometry;
    ByteBuffer memory;
    volatile boolean gateClosed;
    volatile Hook hook = () -> {};
    int epoch;

    TestDevice(String name, Geometry geometry) {
        this.geometry = geometry;
        spec = DeviceSpec.of(name, "test", geometry.size());
        memory = ByteBuffer.allocateDirect((int) geometry.size());
    }

    /** All contents are gone. */
    void lose() {
        memory = ByteBuffer.allocateDirect((int) geometry.size());
        epoch++;
        for (TestConnection each : List.copyOf(connections)) each.client.gone("the backend lost its contents");
    }

    void resize(long size) {
        ByteBuffer larger = ByteBuffer.allocateDirect((int) size);
        larger.put(0, memory, 0, memory.capacity());
        memory = larger;
        geometry = geometry.withSize(size);
        for (TestConnection each : List.copyOf(connections)) each.client.resized(size);
    }

    @Override
    public synchronized Connection connect(Client client) {
        TestConnection connection = new TestConnection(client, epoch);
        connections.add(connection);
        return connection;
    }

    @Override
    public String name() {
        return spec.name();
    }

    @Override
    public UUID id() {
        return id;
    }

    @Override
    public State state() {
        return State.ONLINE;
    }

    @Override
    public String explanation() {
        return "";
    }

    @Override
    public DeviceSpec spec() {
        return spec;
    }

    @Override
    public Geometry geometry() {
        return geometry;
    }

    @Override
    public Map<String, String> details() {
        return Map.of();
    }

    @Override
    public DeviceStats stats() {
        throw new UnsupportedOperationException();
    }

    @Override
    public List<Export> exports() {
        return List.of();
    }

    @Override
    public List<String> clients() {
        return List.of();
    }

    @Override
    public void park() {
        gateClosed = true;
    }

    @Override
    public void resume() {
        gateClosed = false;
    }

    /** The only kind of connection there is. */
    final class TestConnection implements Connection {
        final Client client;
        private final int epoch;

        TestConnection(Client client, int epoch) {
            this.client = client;
            this.epoch = epoch;
        }

        private void enter() throws Exception {
            while (gateClosed) Thread.sleep(2);
            if (epoch != TestDevice.this.epoch) throw new BlockException(Reason.IO, "the contents are lost");
            inside.incrementAndGet();
            hook.run();
        }

        private void serve(Hook body) throws BlockException {
            try {
                enter();
                try {
                    body.run();
                } finally {
                    inside.decrementAndGet();
                }
            } catch (BlockException e) {
                throw e;
            } catch (Exception e) {
                throw new BlockException(Reason.IO, e.toString(), e);
            }
        }

        @Override
        public void read(ByteBuffer into, long offset) throws BlockException {
            int length = into.remaining();
            try {
                enter();
                into.put(into.position(), memory, (int) offset, length);
            } catch (BlockException e) {
                throw e;
            } catch (Exception e) {
                throw new BlockException(Reason.IO, e.toString(), e);
            }
            inside.decrementAndGet();
        }

        @Override
        public void write(ByteBuffer from, long offset, boolean fua) throws BlockException {
            try {
                enter();
                memory.put((int) offset, from, from.position(), from.remaining());
            } catch (BlockException e) {
                throw e;
            } catch (Exception e) {
                throw new BlockException(Reason.IO, e.toString(), e);
            }
            if (fua) fuas.incrementAndGet();
            inside.decrementAndGet();
        }

        @Override
        public void flush() throws BlockException {
            serve(flushes::incrementAndGet);
        }

        @Override
        public void discard(long offset, long length) throws BlockException {
            serve(() -> ranges.add("discard " + offset + " " + length));
        }

        @Override
        public void writeZeroes(long offset, long length, boolean mayUnmap, boolean fua) throws BlockException {
            serve(() -> ranges.add("zero " + offset + " " + length + " " + mayUnmap + " " + fua));
        }

        @Override
        public void extents(long offset, long length, ExtentVisitor visitor) {
            throw new UnsupportedOperationException();
        }

        @Override
        public Device device() {
            return TestDevice.this;
        }

        @Override
        public boolean wouldWait() {
            return gateClosed;
        }

        @Override
        public boolean mayBlock() {
            return geometry.mayBlock();
        }

        @Override
        public Executor workers() {
            throw new UnsupportedOperationException("the kernel front end has its own threads");
        }

        @Override
        public void close() {
            if (!connections.remove(this)) throw new AssertionError("closed twice");
            if (inside.get() != 0) throw new AssertionError("closed with requests under way");
        }
    }
}
