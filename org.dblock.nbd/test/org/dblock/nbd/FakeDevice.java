package org.dblock.nbd;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import org.dblock.api.BlockException;
import org.dblock.api.Capability;
import org.dblock.api.ExtentVisitor;
import org.dblock.api.Geometry;
import org.dblock.api.Reason;
import org.dblock.api.device.Client;
import org.dblock.api.device.Connection;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceSpec;
import org.dblock.api.device.DeviceStats;
import org.dblock.api.device.Export;

/** A device in memory without core: remembers which chunks were written, and fails or waits where a test says so. */
final class FakeDevice implements Device {
    static final int CHUNK = 4096;

    final ByteBuffer memory;
    final List<String> calls = new CopyOnWriteArrayList<>();
    final List<Client> clients = new CopyOnWriteArrayList<>();
    final AtomicLong swaps = new AtomicLong();
    private final boolean[] written;
    private final String name;
    private final ExecutorService workers = Executors.newFixedThreadPool(8, task -> {
        Thread thread = new Thread(task, "fake-worker");
        thread.setDaemon(true);
        return thread;
    });
    volatile Geometry geometry;
    /** What the next requests fail with; null: nothing. */
    volatile Reason failure;
    /** What the next requests throw; null: nothing. */
    volatile RuntimeException thrown;
    /** Whether calls are remembered; off, a request allocates nothing. */
    volatile boolean remembers = true;
    /** Requests at this offset wait for a permit. */
    volatile long slowOffset = -1;
    /** Whether a request made now would wait at the gate: one that comes takes a permit. */
    volatile boolean parked;

    volatile BlockException refusal;
    /** What a client was let through with and shouldn't; null: nothing. */
    volatile String violation;

    final Semaphore permits = new Semaphore(0);

    FakeDevice(String name, int size, int blockSize) {
        this.name = name;
        memory = ByteBuffer.allocateDirect(size);
        written = new boolean[size / CHUNK + 1];
        geometry = Geometry.of(size, blockSize)
                .atMemorySpeed()
                .with(Capability.DISCARD, Capability.WRITE_ZEROES, Capability.FAST_ZEROES, Capability.EXTENTS);
    }

    /** The same with a volume that may block. */
    FakeDevice blocking() {
        Geometry g = geometry;
        geometry = new Geometry(
                g.size(),
                g.blockSize(),
                g.preferredIo(),
                g.optimalIo(),
                g.readOnly(),
                true,
                g.persistence(),
                g.capabilities());
        return this;
    }

    /** Fills a range with bytes that are told by their offset. */
    void fill(int offset, int length) {
        for (int i = offset; i < offset + length; i++) {
            memory.put(i, pattern(i));
            written[i / CHUNK] = true;
        }
    }

    static byte pattern(int offset) {
        return (byte) (offset * 31 + (offset >> 9) + 1);
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public UUID id() {
        return new UUID(0, 1);
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
        return DeviceSpec.of(name, "fake", geometry.size());
    }

    @Override
    public Geometry geometry() {
        return geometry;
    }

    @Override
    public Map<String, String> details() {
        return Map.of();
    }

    private final DeviceStats stats = new DeviceStats() {
        @Override
        public long count(Op op) {
            return 0;
        }

        @Override
        public long bytes(Op op) {
            return 0;
        }

        @Override
        public long errors(Op op) {
            return 0;
        }

        @Override
        public long latency(Op op, double quantile) {
            return 0;
        }

        @Override
        public long fua() {
            return 0;
        }

        @Override
        public int inFlight() {
            return 0;
        }

        @Override
        public long swaps() {
            return swaps.get();
        }

        @Override
        public long lastSwapNanos() {
            return 0;
        }
    };

    @Override
    public DeviceStats stats() {
        return stats;
    }

    @Override
    public List<Export> exports() {
        return List.of();
    }

    @Override
    public List<String> clients() {
        List<String> names = new ArrayList<>();
        for (Client client : clients) names.add(client.describe());
        return names;
    }

    @Override
    public void park() {}

    @Override
    public void resume() {}

    @Override
    public Connection connect(Client client) throws BlockException {
        if (refusal != null) throw refusal;
        clients.add(client);
        return new FakeConnection(client);
    }

    private final class FakeConnection implements Connection {
        private final Client client;

        FakeConnection(Client client) {
            this.client = client;
        }

        @Override
        public Device device() {
            return FakeDevice.this;
        }

        @Override
        public boolean wouldWait() {
            return parked;
        }

        @Override
        public boolean mayBlock() {
            return geometry.mayBlock();
        }

        @Override
        public Executor workers() {
            return workers;
        }

        private void enter(String call, long offset, long length) throws IOException {
            if (remembers) calls.add(call + " " + offset + " " + length);
            if (parked || offset == slowOffset) permits.acquireUninterruptibly();
            if (thrown != null) throw thrown;
            if (failure != null) throw new BlockException(failure, "injected: " + failure.words());
            Geometry g = geometry;
            if (offset < 0 || length < 0 || offset > g.size() - length || (offset | length) % g.blockSize() != 0) {
                violation = call + " " + offset + " " + length;
                throw new IllegalArgumentException("let through: " + violation);
            }
        }

        @Override
        public void read(ByteBuffer into, long offset) throws IOException {
            if (!into.isDirect()) throw new IllegalArgumentException("no direct buffer");
            enter("read", offset, into.remaining());
            int length = into.remaining();
            into.put(into.position(), memory, (int) offset, length).position(into.position() + length);
        }

        @Override
        public void write(ByteBuffer from, long offset, boolean fua) throws IOException {
            if (!from.isDirect()) throw new IllegalArgumentException("no direct buffer");
            enter(fua ? "write-fua" : "write", offset, from.remaining());
            int length = from.remaining();
            memory.put((int) offset, from, from.position(), length);
            for (long at = offset; at < offset + length; at += 512) written[(int) at / CHUNK] = true;
            from.position(from.limit());
        }

        @Override
        public void flush() throws IOException {
            enter("flush", 0, 0);
        }

        @Override
        public void discard(long offset, long length) throws IOException {
            enter("discard", offset, length);
            clear(offset, length);
        }

        @Override
        public void writeZeroes(long offset, long length, boolean mayUnmap, boolean fua) throws IOException {
            enter("zeroes" + (mayUnmap ? "-unmap" : "") + (fua ? "-fua" : ""), offset, length);
            clear(offset, length);
        }

        private void clear(long offset, long length) {
            for (int i = (int) offset; i < offset + length; i++) memory.put(i, (byte) 0);
            int first = (int) (offset + CHUNK - 1) / CHUNK;
            for (int i = first; (i + 1L) * CHUNK <= offset + length; i++) written[i] = false;
        }

        @Override
        public void extents(long offset, long length, ExtentVisitor visitor) throws IOException {
            enter("extents", offset, length);
            for (long at = offset; at < offset + length; ) {
                long next = Math.min(offset + length, (at / CHUNK + 1) * CHUNK);
                int flags = written[(int) at / CHUNK] ? ExtentVisitor.DATA : ExtentVisitor.HOLE | ExtentVisitor.ZERO;
                if (!visitor.extent(at, next - at, flags)) return;
                at = next;
            }
        }

        @Override
        public void close() {
            clients.remove(client);
        }
    }
}
