package org.dblock.backend.ramdisk;

import com.sun.jna.LastErrorException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.dblock.api.BlockException;
import org.dblock.api.ExtentVisitor;
import org.dblock.api.Reason;

/**
 * The contents of a volume: an anonymous file in memory (memfd), mapped by the gibibyte when first written. The file
 * and not the mappings owns the memory, because a {@link FileChannel} is an {@link AutoCloseable} of the JDK: a
 * successor from another class loader can take it over, and core can free it where none does.
 *
 * <p>Thread-safe; {@link #resize} asks of its callers what the API does.
 */
final class Ramdisk {
    private static final String NAME = "ramdisk.name";
    private static final String SIZE = "ramdisk.size";
    private static final String BLOCK_SIZE = "ramdisk.blockSize";
    private static final String MEMORY = "ramdisk.memory";
    private static final String WRITTEN = "ramdisk.written";

    private final String name;
    private final int blockSize;
    private final Budget budget;
    private final FileChannel memory;
    private final AtomicLong allocated = new AtomicLong();
    private volatile long size;
    private volatile AtomicReferenceArray<Window> windows;

    private Ramdisk(String name, long size, int blockSize, Budget budget, FileChannel memory) {
        this.name = name;
        this.size = size;
        this.blockSize = blockSize;
        this.budget = budget;
        this.memory = memory;
        this.windows = new AtomicReferenceArray<>(count(size));
    }

    /** A new one, all zeroes. */
    static Ramdisk create(String name, long size, int blockSize, Budget budget) throws IOException {
        int fd;
        try {
            fd = Posix.memfd_create("dblock-ramdisk", Posix.MFD_CLOEXEC);
        } catch (LastErrorException e) {
            throw new BlockException(Reason.IO, "no memory file for ramdisk '" + name + "': " + e.getMessage(), e);
        }
        try {
            Path path = Path.of("/proc/self/fd/" + fd);
            FileChannel memory = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE);
            return new Ramdisk(name, size, blockSize, budget, memory);
        } finally {
            Posix.close(fd);
        }
    }

    /**
     * Goes on with what a predecessor {@link #handOver handed over}; null if there is nothing. Takes it out of the map.
     */
    static Ramdisk adopt(Map<String, Object> state, Budget budget) throws IOException {
        if (!(state.get(MEMORY) instanceof FileChannel memory)) return null;
        Ramdisk disk = new Ramdisk(
                (String) state.get(NAME), (Long) state.get(SIZE), (Integer) state.get(BLOCK_SIZE), budget, memory);
        AtomicLongArray[] written = (AtomicLongArray[]) state.get(WRITTEN);
        long pages = 0;
        for (int i = 0; i < written.length; i++) {
            if (written[i] == null) continue;
            try {
                disk.windows.set(i, disk.map(i, written[i]));
            } catch (IOException e) {
                disk.handOver();
                throw e;
            }
            for (int word = 0; word < written[i].length(); word++) pages += Long.bitCount(written[i].get(word));
        }
        disk.allocated.set(pages * Window.PAGE);
        budget.count(pages * Window.PAGE);
        state.keySet().removeAll(List.of(NAME, SIZE, BLOCK_SIZE, MEMORY, WRITTEN));
        return disk;
    }

    /** Lets go of the contents without freeing them: the memory now belongs to whoever takes the returned channel. */
    Map<String, Object> handOver() {
        AtomicLongArray[] written = new AtomicLongArray[windows.length()];
        for (int i = 0; i < written.length; i++) {
            Window window = windows.get(i);
            if (window == null) continue;
            written[i] = window.written();
            window.unmap();
        }
        budget.give(allocated.get());
        Map<String, Object> state = new HashMap<>();
        state.put(NAME, name);
        state.put(SIZE, size);
        state.put(BLOCK_SIZE, blockSize);
        state.put(MEMORY, memory);
        state.put(WRITTEN, written);
        return state;
    }

    /** Frees the memory. */
    void free() throws IOException {
        ((FileChannel) handOver().get(MEMORY)).close();
    }

    String name() {
        return name;
    }

    long size() {
        return size;
    }

    int blockSize() {
        return blockSize;
    }

    /** The memory that it takes, in bytes. */
    long allocated() {
        return allocated.get();
    }

    void read(ByteBuffer into, long offset) throws BlockException {
        int position = into.position();
        int end = into.limit();
        check(offset, end - position);
        AtomicReferenceArray<Window> all = windows;
        while (position < end) {
            int piece = piece(offset, end - position);
            Window window = all.get((int) (offset >> Window.SHIFT));
            if (window == null) Window.zero(into, position, piece);
            else window.read(at(offset), into, position, piece);
            position += piece;
            offset += piece;
        }
        into.position(end);
    }

    void write(ByteBuffer from, long offset) throws IOException {
        int position = from.position();
        int end = from.limit();
        check(offset, end - position);
        while (position < end) {
            int piece = piece(offset, end - position);
            window((int) (offset >> Window.SHIFT)).write(at(offset), from, position, piece);
            position += piece;
            offset += piece;
        }
        from.position(end);
    }

    /** Gives the whole pages of a range back; in the parts of pages at its ends, zeroes are written if asked for. */
    void discard(long offset, long length, boolean zeroEnds) throws IOException {
        check(offset, length);
        long end = offset + length;
        if (end == size) end = roundUp(end);
        AtomicReferenceArray<Window> all = windows;
        while (offset < end) {
            int piece = piece(offset, end - offset);
            Window window = all.get((int) (offset >> Window.SHIFT));
            if (window != null) {
                int at = at(offset);
                window.discard(at, piece);
                if (zeroEnds) window.clear(at, piece);
            }
            offset += piece;
        }
    }

    void extents(long offset, long length, ExtentVisitor visitor) throws BlockException {
        check(offset, length);
        long start = offset; // of the extent that is being put together
        boolean data = false;
        for (long end = offset + length; offset < end; ) {
            int piece = piece(offset, end - offset);
            Window window = windows.get((int) (offset >> Window.SHIFT));
            boolean here = window != null && window.isWritten(at(offset));
            if (window != null) piece = window.boundary(at(offset), at(offset) + piece) - at(offset);
            if (here != data && offset > start) {
                if (!visitor.extent(start, offset - start, flags(data))) return;
                start = offset;
            }
            data = here;
            offset += piece;
        }
        visitor.extent(start, offset - start, flags(data));
    }

    synchronized void resize(long bytes) throws IOException {
        long old = size;
        if (bytes < old) {
            size = bytes; // first, so that nothing new begins behind it
            AtomicReferenceArray<Window> all = windows;
            for (int i = count(bytes); i < all.length(); i++) {
                Window window = all.get(i);
                if (window == null) continue;
                window.discard(0, Window.SIZE);
                window.unmap();
            }
            Window last = all.get(count(bytes) - 1);
            int at = (int) (bytes - ((long) count(bytes) - 1 << Window.SHIFT));
            if (last != null && at < Window.SIZE) {
                last.discard(at, Window.SIZE - at);
                last.clear(at, Window.SIZE - at);
            }
        }
        AtomicReferenceArray<Window> all = new AtomicReferenceArray<>(count(bytes));
        for (int i = 0; i < Math.min(all.length(), windows.length()); i++) all.set(i, windows.get(i));
        windows = all;
        size = bytes;
    }

    private Window window(int index) throws IOException {
        Window window = windows.get(index);
        return window != null ? window : mapNew(index);
    }

    private synchronized Window mapNew(int index) throws IOException {
        Window window = windows.get(index);
        if (window == null) {
            window = map(index, Window.bits());
            windows.set(index, window);
        }
        return window;
    }

    private Window map(int index, AtomicLongArray written) throws IOException {
        ByteBuffer data;
        try {
            data = memory.map(MapMode.READ_WRITE, (long) index << Window.SHIFT, Window.SIZE);
        } catch (IOException e) {
            throw new BlockException(
                    Reason.NO_SPACE, "ramdisk '" + name + "' finds no address space: " + e.getMessage(), e);
        }
        return new Window(data, written, budget, allocated);
    }

    private void check(long offset, long length) throws BlockException {
        if (offset < 0 || length > size - offset)
            throw new BlockException(
                    Reason.INVALID,
                    "range " + offset + "+" + length + " of ramdisk '" + name + "': must lie inside its size, " + size);
    }

    private static int flags(boolean data) {
        return data ? ExtentVisitor.DATA : ExtentVisitor.HOLE | ExtentVisitor.ZERO;
    }

    /** How many windows a size takes. */
    private static int count(long size) {
        return Math.toIntExact(size + Window.SIZE - 1 >> Window.SHIFT);
    }

    private static int at(long offset) {
        return (int) (offset & Window.SIZE - 1);
    }

    /** How much of a range lies in the window of its offset. */
    private static int piece(long offset, long length) {
        return (int) Math.min(length, Window.SIZE - at(offset));
    }

    private static long roundUp(long bytes) {
        return bytes + Window.PAGE - 1 & -Window.PAGE;
    }
}
