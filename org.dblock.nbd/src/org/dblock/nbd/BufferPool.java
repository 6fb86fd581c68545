package org.dblock.nbd;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;

/**
 * Direct buffers that the connections of a server take and give back, so that neither a request nor a short connection
 * costs an allocation. Keeps at most {@value #MOST_KEPT} bytes that nobody uses. Thread-safe.
 */
final class BufferPool {
    /**
     * Where data begin in a buffer: at a page, so that a volume can pass them on to direct I/O. The page is for
     * headers.
     */
    static final int DATA = 4096;

    private static final int SMALLEST = 4096;
    private static final long MOST_KEPT = 64 << 20;

    private final List<ArrayDeque<Buffer>> free = new ArrayList<>();
    private long kept;

    /** A direct buffer and a second view of the same bytes. */
    static final class Buffer {
        final ByteBuffer bytes;
        final ByteBuffer view;
        private final int order;

        private Buffer(int order) {
            this.order = order;
            int size = DATA + (SMALLEST << order);
            bytes = ByteBuffer.allocateDirect(size + DATA)
                    .alignedSlice(DATA)
                    .limit(size)
                    .slice();
            view = bytes.duplicate();
        }
    }

    BufferPool() {
        for (int size = SMALLEST; size <= Nbd.MAX_PAYLOAD; size *= 2) free.add(new ArrayDeque<>());
    }

    /**
     * Takes a buffer that holds {@code size} bytes of data behind {@link #DATA}.
     *
     * @param size 0 to {@link Nbd#MAX_PAYLOAD}
     * @throws OutOfMemoryError when the JVM's limit of direct memory is reached
     */
    Buffer take(int size) {
        int order = size <= SMALLEST ? 0 : 32 - Integer.numberOfLeadingZeros((size - 1) / SMALLEST);
        synchronized (this) {
            Buffer buffer = free.get(order).pollLast();
            if (buffer != null) {
                kept -= buffer.bytes.capacity();
                buffer.bytes.clear();
                return buffer;
            }
        }
        return new Buffer(order);
    }

    /** Gives a buffer back. */
    synchronized void give(Buffer buffer) {
        if (kept + buffer.bytes.capacity() > MOST_KEPT) return;
        kept += buffer.bytes.capacity();
        free.get(buffer.order).addLast(buffer);
    }
}
