package org.dblock.core;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.dblock.api.BlockException;
import org.dblock.api.BlockStore;
import org.dblock.api.BlockVolume;
import org.dblock.api.Capability;
import org.dblock.api.ExtentVisitor;
import org.dblock.api.Geometry;
import org.dblock.api.Persistence;
import org.dblock.api.Reason;
import org.dblock.api.VolumeSpec;
import org.osgi.framework.Version;

/**
 * A store whose volumes are byte arrays, and which can be told to fail, to hang and to be slow. Two stores on the same
 * {@code disks} are two versions of a durable backend; a volatile one keeps its bytes for itself and hands them over.
 */
final class FakeStore implements BlockStore {
    static final String BACKEND = "fake";
    private static final AtomicInteger SERVICE_IDS = new AtomicInteger();

    final Map<String, byte[]> disks;
    final Persistence persistence;
    final Store registered;
    boolean mayBlock = true;
    boolean exclusive;
    int blockSize = 512;
    volatile BlockException openFailure;
    volatile Exception flushFailure;
    volatile Throwable requestFailure;
    /** Requests wait for it, if it is there. */
    volatile CountDownLatch hang;

    volatile CountDownLatch hangOpen;
    volatile CountDownLatch hangFlush;
    final AtomicInteger opened = new AtomicInteger();
    final AtomicInteger flushed = new AtomicInteger();
    final AtomicInteger closed = new AtomicInteger();
    final AtomicInteger soon = new AtomicInteger();
    final AtomicInteger inside = new AtomicInteger();
    final AtomicInteger mostInside = new AtomicInteger();
    final AtomicReference<String> violation = new AtomicReference<>();
    /** Handed over beside the bytes of a volatile volume; a successor leaves it behind. */
    AutoCloseable leftover;

    FakeStore(Persistence persistence, Map<String, byte[]> disks, String version) {
        this.persistence = persistence;
        this.disks = disks;
        registered = new Store(BACKEND, this, null, new Version(version), 0, SERVICE_IDS.incrementAndGet());
    }

    static FakeStore durable() {
        return new FakeStore(Persistence.DURABLE, new ConcurrentHashMap<>(), "1.0");
    }

    static FakeStore inMemory() {
        return new FakeStore(Persistence.VOLATILE, new ConcurrentHashMap<>(), "1.0");
    }

    /** Another version of this backend. */
    FakeStore version(String version) {
        boolean shared = persistence == Persistence.DURABLE;
        FakeStore other = new FakeStore(persistence, shared ? disks : new ConcurrentHashMap<>(), version);
        other.mayBlock = mayBlock;
        other.exclusive = exclusive;
        return other;
    }

    int openNow() {
        return opened.get() - closed.get();
    }

    @Override
    public BlockVolume open(VolumeSpec spec) throws IOException {
        await(hangOpen);
        if (openFailure != null) throw openFailure;
        byte[] bytes = (byte[]) spec.inherited().remove("bytes");
        if (bytes != null) disks.put(spec.volume(), bytes);
        if (exclusive && openNow() > 0) throw new BlockException(Reason.IN_USE, "open already");
        if (!disks.containsKey(spec.volume())) {
            if (!spec.create()) throw new BlockException(Reason.NOT_FOUND, "no volume '" + spec.volume() + "'");
            disks.put(spec.volume(), new byte[(int) spec.size()]);
        }
        int length = disks.get(spec.volume()).length;
        if (spec.size() != 0 && spec.size() != length)
            throw new BlockException(Reason.INVALID, "has " + length + " bytes, not " + spec.size());
        opened.incrementAndGet();
        return new Volume(spec.volume());
    }

    static void await(CountDownLatch latch) {
        boolean waiting = latch != null;
        while (waiting) {
            try {
                latch.await();
                waiting = false;
            } catch (InterruptedException e) {
                throw new AssertionError("a thread inside a volume was interrupted", e);
            }
        }
    }

    private final class Volume implements BlockVolume {
        private final String name;
        private volatile Geometry geometry;
        private volatile boolean over;

        Volume(String name) {
            this.name = name;
            Geometry shape = Geometry.of(disks.get(name).length, blockSize).withPersistence(persistence);
            if (!mayBlock) shape = shape.atMemorySpeed();
            geometry = shape.with(Capability.RESIZE, Capability.DISCARD);
        }

        @Override
        public Geometry geometry() {
            return geometry;
        }

        private byte[] begin() throws IOException {
            int now = inside.incrementAndGet();
            if (now > mostInside.get()) mostInside.accumulateAndGet(now, Math::max);
            if (over) violation.set("a request on a closed volume");
            await(hang);
            Throwable failure = requestFailure;
            if (failure instanceof IOException e) throw e;
            if (failure instanceof RuntimeException e) throw e;
            if (failure instanceof Error e) throw e;
            return disks.get(name);
        }

        @Override
        public void read(ByteBuffer into, long offset) throws IOException {
            try {
                into.put(begin(), (int) offset, into.remaining());
            } finally {
                inside.decrementAndGet();
            }
        }

        @Override
        public void write(ByteBuffer from, long offset, boolean fua) throws IOException {
            try {
                begin();
                synchronized (this) { // a resize copies
                    from.get(disks.get(name), (int) offset, from.remaining());
                }
            } finally {
                inside.decrementAndGet();
            }
        }

        @Override
        public void flush() throws IOException {
            if (over) violation.set("a flush of a closed volume");
            inside.incrementAndGet();
            try {
                await(hangFlush);
                flushed.incrementAndGet();
                if (flushFailure instanceof IOException e) throw e;
                if (flushFailure instanceof RuntimeException e) throw e;
            } finally {
                inside.decrementAndGet();
            }
        }

        @Override
        public void extents(long offset, long length, ExtentVisitor visitor) {
            long start = offset / 4096 * 4096; // more than what was asked for
            for (int i = 0; start + i * 4096L < offset + length; i++)
                if (!visitor.extent(start + i * 4096L, 4096, i % 2 == 0 ? ExtentVisitor.DATA : ExtentVisitor.HOLE))
                    return;
        }

        @Override
        public synchronized void resize(long size) {
            disks.compute(name, (key, old) -> java.util.Arrays.copyOf(old, (int) size));
            geometry = geometry.withSize(size);
        }

        @Override
        public Map<String, Object> handOver() {
            close();
            if (persistence == Persistence.DURABLE) return Map.of();
            Map<String, Object> state = new HashMap<>();
            state.put("bytes", disks.remove(name));
            if (leftover != null) state.put("leftover", leftover);
            return state;
        }

        @Override
        public void closeSoon() {
            soon.incrementAndGet();
        }

        @Override
        public Map<String, String> details() {
            return Map.of("kind", "bytes");
        }

        @Override
        public void close() {
            if (over) return;
            if (inside.get() != 0) violation.set("closed with " + inside.get() + " requests inside");
            over = true;
            closed.incrementAndGet();
        }
    }
}
