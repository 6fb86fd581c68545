package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.dblock.api.BlockException;
import org.dblock.api.BlockVolume;
import org.dblock.api.ExtentVisitor;
import org.dblock.api.Geometry;
import org.dblock.api.Reason;

/**
 * Gives a volume logical blocks of less than 4096 bytes. What covers a block in part is merged with what is there,
 * under a lock of the range, and written as one record: whole before and after a crash.
 */
final class SmallBlocks implements BlockVolume {
    private static final int BLOCK = Header.BLOCK;

    private final WholeBlocks volume;
    private final int blockSize;
    private volatile Geometry geometry;

    /** The ranges, in blocks of the volume, to which somebody writes; each by one. */
    private final List<Range> writing = new ArrayList<>();

    private record Range(long first, long end) {
        boolean overlaps(Range other) {
            return first < other.end && other.first < end;
        }
    }

    SmallBlocks(WholeBlocks volume, int blockSize) {
        this.volume = volume;
        this.blockSize = blockSize;
        describe();
    }

    private void describe() {
        Geometry g = volume.geometry();
        geometry = new Geometry(
                volume.size(),
                blockSize,
                BLOCK,
                g.optimalIo(),
                g.readOnly(),
                g.mayBlock(),
                g.persistence(),
                g.capabilities());
    }

    @Override
    public Geometry geometry() {
        return geometry;
    }

    private static long up(long bytes) {
        return (bytes + BLOCK - 1) / BLOCK * BLOCK;
    }

    /** What is done while nobody else writes to a range. */
    private interface Writing {
        void run() throws IOException;
    }

    private void exclusively(long offset, long length, Writing what) throws IOException {
        Range range = new Range(offset / BLOCK, up(offset + length) / BLOCK);
        synchronized (writing) {
            // nobody holds one range and waits for another
            while (taken(range)) {
                try {
                    writing.wait();
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                    throw new BlockException(Reason.IO, "interrupted while another write to the same block went on", e);
                }
            }
            writing.add(range);
        }
        try {
            what.run();
        } finally {
            synchronized (writing) {
                writing.remove(range);
                writing.notifyAll();
            }
        }
    }

    private boolean taken(Range range) {
        for (Range other : writing) if (other.overlaps(range)) return true;
        return false;
    }

    @Override
    public void write(ByteBuffer from, long offset, boolean fua) throws IOException {
        exclusively(offset, from.remaining(), () -> pieces(from, offset));
        if (fua) volume.flush();
    }

    private void pieces(ByteBuffer from, long offset) throws IOException {
        for (int limit = from.limit(); from.position() < limit; ) {
            int within = (int) (offset % BLOCK);
            int left = limit - from.position();
            int bytes = within > 0 || left < BLOCK ? Math.min(BLOCK - within, left) : left / BLOCK * BLOCK;
            from.limit(from.position() + bytes);
            if (bytes % BLOCK == 0) volume.write(from, offset, false);
            else merge(from, offset);
            offset += bytes;
            from.limit(limit);
        }
    }

    /** Writes a part of one block. */
    private void merge(ByteBuffer part, long offset) throws IOException {
        if (geometry.readOnly()) throw new BlockException(Reason.READ_ONLY, "the volume is open for reading only");
        ByteBuffer whole = ByteBuffer.allocate(BLOCK);
        long start = offset / BLOCK * BLOCK;
        while (whole.hasRemaining()) {
            try {
                volume.read(whole, start);
            } catch (BlockException e) {
                // a store that doesn't answer holds writes back, but fails none
                if (e instanceof Corruption || e.reason() != Reason.IO || volume.failed()) throw e;
                whole.clear();
            }
        }
        whole.position((int) (offset - start)).put(part).clear();
        volume.write(whole, start, false);
    }

    @Override
    public void read(ByteBuffer into, long offset) throws IOException {
        int length = into.remaining();
        if (offset % BLOCK == 0 && length % BLOCK == 0) {
            volume.read(into, offset);
            return;
        }
        long start = offset / BLOCK * BLOCK;
        ByteBuffer whole = ByteBuffer.allocate((int) (up(offset + length) - start));
        volume.read(whole, start);
        into.put(whole.flip().position((int) (offset - start)).limit((int) (offset - start) + length));
    }

    @Override
    public void flush() throws IOException {
        volume.flush();
    }

    /** Discards the whole blocks of a range: it is a hint. */
    @Override
    public void discard(long offset, long length) throws IOException {
        long first = up(offset);
        long bytes = (offset + length) / BLOCK * BLOCK - first;
        if (bytes > 0) exclusively(first, bytes, () -> volume.discard(first, bytes));
    }

    @Override
    public void writeZeroes(long offset, long length, boolean mayUnmap, boolean fua) throws IOException {
        exclusively(offset, length, () -> zero(offset, offset + length, mayUnmap));
        if (fua) volume.flush();
    }

    private void zero(long offset, long end, boolean mayUnmap) throws IOException {
        long first = Math.min(up(offset), end);
        long last = Math.max(first, end / BLOCK * BLOCK);
        if (offset < first) merge(ByteBuffer.allocate((int) (first - offset)), offset);
        if (first < last) volume.writeZeroes(first, last - first, mayUnmap, false);
        if (last < end) merge(ByteBuffer.allocate((int) (end - last)), last);
    }

    @Override
    public void extents(long offset, long length, ExtentVisitor visitor) throws IOException {
        long start = offset / BLOCK * BLOCK;
        long end = offset + length;
        volume.extents(start, up(end) - start, (at, bytes, flags) -> {
            long from = Math.max(at, offset);
            long to = Math.min(at + bytes, end);
            return from >= to || visitor.extent(from, to - from, flags);
        });
    }

    @Override
    public void resize(long size) throws IOException {
        // no later growth brings back what is cut off of the last block
        long end = Math.min(up(size), volume.size());
        if (size > 0 && size % blockSize == 0 && size < end) writeZeroes(size, end - size, true, false);
        volume.resize(size, blockSize);
        describe();
    }

    @Override
    public Map<String, Object> handOver() throws IOException {
        return volume.handOver();
    }

    @Override
    public void closeSoon() {
        volume.closeSoon();
    }

    @Override
    public Map<String, String> details() {
        return volume.details();
    }

    @Override
    public void close() throws IOException {
        volume.close();
    }
}
