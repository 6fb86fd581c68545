package org.dblock.backend.file;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import org.dblock.api.BlockException;
import org.dblock.api.BlockVolume;
import org.dblock.api.Capability;
import org.dblock.api.ExtentVisitor;
import org.dblock.api.Geometry;
import org.dblock.api.Reason;
import org.dblock.api.Size;

/** An open file or block device. */
class FileVolume implements BlockVolume {
    private static final int BOUNCE = 1 << 20;

    private final Path path;
    private final Descriptor descriptor;
    private final FileChannel channel;
    private final boolean preallocated;
    /** Aligned buffers for O_DIRECT, made as they are needed; null without it. */
    private final ArrayBlockingQueue<ByteBuffer> bounces;

    private volatile Geometry geometry;
    private volatile boolean punches;
    private volatile boolean zeroes;

    /** Guards the three below. A monitor, for those who wait at a Lock allocate. */
    private final Object flushing = new Object();

    private long begun; // syncs, of which at most one is under way
    private long done;
    /** What a flush has failed with, after which no flush may succeed. */
    private volatile String lost;

    /**
     * @param channel the same file as the descriptor, with O_DIRECT if {@code direct}
     * @param geometry without capabilities
     * @param device whether it is a block device, whose size and map are not ours
     */
    FileVolume(
            Path path,
            Descriptor descriptor,
            FileChannel channel,
            Geometry geometry,
            boolean device,
            boolean direct,
            boolean preallocated)
            throws IOException {
        this.path = path;
        this.descriptor = descriptor;
        this.channel = channel;
        this.preallocated = preallocated;
        bounces = direct ? new ArrayBlockingQueue<>(16) : null;
        Set<Capability> can = EnumSet.noneOf(Capability.class);
        if (!geometry.readOnly()) {
            // behind the end of a file nothing changes; a device's end can't be tried like that
            punches = !preallocated && (device || tryBehindEnd(Posix.FALLOC_PUNCH_HOLE, geometry.size()));
            zeroes = device || tryBehindEnd(Posix.FALLOC_ZERO_RANGE, geometry.size());
            if (punches && !device) can.add(Capability.DISCARD);
            if (punches || zeroes) can.add(Capability.WRITE_ZEROES);
            if ((punches || zeroes) && !device) can.add(Capability.FAST_ZEROES);
            if (!device) can.add(Capability.RESIZE);
        }
        if (!device) can.add(Capability.EXTENTS);
        this.geometry = geometry.with(can.toArray(Capability[]::new));
    }

    @Override
    public Geometry geometry() {
        return geometry;
    }

    @Override
    public void read(ByteBuffer into, long offset) throws IOException {
        check(offset, into.remaining());
        if (bounces == null || isAligned(into)) {
            readFully(into, offset);
            return;
        }
        ByteBuffer bounce = takeBounce();
        try {
            while (into.hasRemaining()) {
                int piece = Math.min(BOUNCE, into.remaining());
                readFully(bounce.clear().limit(piece), offset);
                into.put(bounce.flip());
                offset += piece;
            }
        } finally {
            bounces.offer(bounce);
        }
    }

    @Override
    public void write(ByteBuffer from, long offset, boolean fua) throws IOException {
        checkWritable();
        check(offset, from.remaining());
        if (bounces == null || isAligned(from)) {
            writeFully(from, offset);
        } else {
            ByteBuffer bounce = takeBounce();
            try {
                while (from.hasRemaining()) {
                    int piece = Math.min(BOUNCE, from.remaining());
                    bounce.clear().put(0, from, from.position(), piece).limit(piece);
                    writeFully(bounce, offset);
                    from.position(from.position() + piece);
                    offset += piece;
                }
            } finally {
                bounces.offer(bounce);
            }
        }
        if (fua) flush();
    }

    /**
     * {@inheritDoc}
     *
     * <p>Calls that come while one is under way share the next. The kernel reports once that it couldn't write
     * something back, and may then drop it: after a failure no flush of this volume succeeds again.
     */
    @Override
    public void flush() throws IOException {
        if (geometry.readOnly()) return;
        synchronized (flushing) {
            long before = begun;
            while (lost == null && done <= before && done < begun) awaitFlush();
            if (lost == null && done > before) return;
            if (lost == null) begun++;
        }
        String failure = lost;
        try {
            if (failure == null) sync();
        } catch (IOException | RuntimeException | Error e) {
            failure = e.getMessage() == null ? e.toString() : e.getMessage();
        }
        synchronized (flushing) {
            lost = failure;
            done = begun;
            flushing.notifyAll();
        }
        if (failure != null)
            throw new BlockException(
                    Reason.IO,
                    "writes to " + path + " may be lost, a flush has failed (" + failure
                            + "): check its storage and its contents, then open it anew");
    }

    /** Holds {@link #flushing}. */
    private void awaitFlush() {
        try {
            flushing.wait();
        } catch (InterruptedException e) {
            // nobody interrupts a thread inside a volume; one that were would close the channel in sync()
        }
    }

    /** fdatasync(2). */
    void sync() throws IOException {
        channel.force(false);
    }

    @Override
    public void discard(long offset, long length) throws IOException {
        checkWritable();
        check(offset, length);
        if (punches) punches = allocate(Posix.FALLOC_PUNCH_HOLE, offset, length);
    }

    @Override
    public void writeZeroes(long offset, long length, boolean mayUnmap, boolean fua) throws IOException {
        checkWritable();
        check(offset, length);
        boolean done = false;
        if (mayUnmap && punches) done = punches = allocate(Posix.FALLOC_PUNCH_HOLE, offset, length);
        if (!done && zeroes) done = zeroes = allocate(Posix.FALLOC_ZERO_RANGE, offset, length);
        if (!done) BlockVolume.super.writeZeroes(offset, length, mayUnmap, false);
        if (fua) flush();
    }

    @Override
    public void extents(long offset, long length, ExtentVisitor visitor) throws IOException {
        check(offset, length);
        if (!geometry.can(Capability.EXTENTS)) {
            BlockVolume.super.extents(offset, length, visitor);
            return;
        }
        int block = geometry.blockSize();
        // zeroes that are allocated (unwritten extents) look like holes to lseek
        int hole = preallocated ? ExtentVisitor.ZERO : ExtentVisitor.HOLE | ExtentVisitor.ZERO;
        for (long end = offset + length; offset < end; ) {
            long data = descriptor.seek(offset, Posix.SEEK_DATA);
            data = data < 0 ? end : Math.min(end, data / block * block);
            if (data > offset && !visitor.extent(offset, data - offset, hole)) return;
            if (data == end) return;
            data = Math.max(data, offset);
            long next = descriptor.seek(data, Posix.SEEK_HOLE);
            next = next < 0 ? end : Math.min(end, (next + block - 1) / block * block);
            if (!visitor.extent(data, next - data, ExtentVisitor.DATA)) return;
            offset = next;
        }
    }

    @Override
    public synchronized void resize(long size) throws IOException {
        if (!geometry.can(Capability.RESIZE)) {
            BlockVolume.super.resize(size);
            return;
        }
        if (size <= 0 || size % geometry.blockSize() != 0)
            throw new BlockException(
                    Reason.INVALID, "size " + size + ": must be more than 0 and a multiple of " + geometry.blockSize());
        Geometry old = geometry;
        if (size < old.size()) geometry = old.withSize(size);
        try {
            descriptor.truncate(size);
            if (preallocated && size > old.size()) descriptor.allocate(0, old.size(), size - old.size());
        } catch (IOException e) {
            geometry = old;
            descriptor.truncate(old.size());
            throw e;
        }
        geometry = old.withSize(size);
    }

    @Override
    public Map<String, String> details() {
        Map<String, String> details = new LinkedHashMap<>();
        details.put("path", path.toString());
        if (bounces != null) details.put("direct", "yes");
        try {
            var store = Files.getFileStore(path);
            details.put("file system", store.type() + ", " + Size.format(store.getUsableSpace()) + " free");
        } catch (IOException e) {
            details.put("file system", e.getMessage());
        }
        if (lost != null) details.put("flush failed", lost);
        return details;
    }

    @Override
    public void close() throws IOException {
        try {
            channel.close();
        } finally {
            descriptor.close();
        }
    }

    private void readFully(ByteBuffer into, long offset) throws IOException {
        while (into.hasRemaining()) {
            int before = into.position();
            try {
                channel.read(into, offset);
            } catch (ClosedChannelException e) {
                throw e;
            } catch (IOException e) {
                descriptor.read(into, offset);
            }
            int n = into.position() - before;
            if (n == 0)
                throw new BlockException(
                        Reason.IO, path + " ends at " + offset + ", but has to have " + geometry.size() + " bytes");
            offset += n;
        }
    }

    private void writeFully(ByteBuffer from, long offset) throws IOException {
        while (from.hasRemaining()) {
            int before = from.position();
            try {
                channel.write(from, offset);
            } catch (ClosedChannelException e) {
                throw e;
            } catch (IOException e) {
                descriptor.write(from, offset);
            }
            offset += from.position() - before;
        }
    }

    private boolean allocate(int mode, long offset, long length) throws IOException {
        return descriptor.allocate(mode | Posix.FALLOC_KEEP_SIZE, offset, length);
    }

    /** Whether the file system knows a mode of fallocate(2), tried where it changes nothing. */
    private boolean tryBehindEnd(int mode, long size) throws IOException {
        try {
            return allocate(mode, size, 4096);
        } catch (BlockException e) {
            return e.reason() == Reason.NO_SPACE;
        } finally {
            descriptor.truncate(size); // it may have allocated something there
        }
    }

    private boolean isAligned(ByteBuffer buffer) {
        return buffer.isDirect() && buffer.alignmentOffset(buffer.position(), geometry.blockSize()) == 0;
    }

    private ByteBuffer takeBounce() {
        ByteBuffer bounce = bounces.poll();
        int block = geometry.blockSize();
        return bounce != null
                ? bounce
                : ByteBuffer.allocateDirect(BOUNCE + block).alignedSlice(block);
    }

    private void check(long offset, long length) throws BlockException {
        if (offset < 0 || length > geometry.size() - offset)
            throw new BlockException(
                    Reason.INVALID,
                    "range " + offset + "+" + length + " of " + path + ": must lie inside its size, "
                            + geometry.size());
    }

    private void checkWritable() throws BlockException {
        if (geometry.readOnly()) throw new BlockException(Reason.READ_ONLY, path + " is open for reading only");
    }
}
