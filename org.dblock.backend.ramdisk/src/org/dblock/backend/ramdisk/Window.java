package org.dblock.backend.ramdisk;

import com.sun.jna.LastErrorException;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import org.dblock.api.BlockException;

/**
 * One mapped gibibyte of a ramdisk, and a bit for each of its pages that has been written. A page whose bit is clear
 * reads as zeroes and is never touched, for touching would allocate it.
 *
 * <p>Thread-safe without locks. A write sets bits, copies, and looks at the bits again: if a discard has cleared one
 * meanwhile, the page may have come back behind the discard, so the write begins anew. A discard clears bits, then
 * gives pages back.
 */
final class Window {
    static final int SHIFT = 30;
    static final int SIZE = 1 << SHIFT;
    static final int PAGE = Posix.getpagesize();

    private static final int PAGE_SHIFT = Integer.numberOfTrailingZeros(PAGE);
    private static final ByteBuffer ZEROES = ByteBuffer.allocateDirect(64 << 10);

    private final ByteBuffer data;
    private final long address;
    private final AtomicLongArray written;
    private final Budget budget;
    private final AtomicLong allocated;

    /**
     * @param data the mapping, {@link #SIZE} bytes
     * @param written the bits of a predecessor, or new ones from {@link #bits()}
     * @param allocated counts the owner's memory in bytes
     */
    Window(ByteBuffer data, AtomicLongArray written, Budget budget, AtomicLong allocated) {
        this.data = data;
        this.address = Pointer.nativeValue(Native.getDirectBufferPointer(data));
        this.written = written;
        this.budget = budget;
        this.allocated = allocated;
    }

    static AtomicLongArray bits() {
        return new AtomicLongArray((SIZE >> PAGE_SHIFT) / Long.SIZE);
    }

    AtomicLongArray written() {
        return written;
    }

    void write(int at, ByteBuffer from, int position, int length) throws BlockException {
        int first = at >> PAGE_SHIFT;
        int end = (at + length - 1 >> PAGE_SHIFT) + 1;
        take(first, end, false);
        do data.put(at, from, position, length);
        while (take(first, end, true));
    }

    void read(int at, ByteBuffer into, int position, int length) {
        for (int done = 0; done < length; ) {
            int end = boundary(at + done, at + length);
            int piece = end - at - done;
            if (isWritten(at + done)) into.put(position + done, data, at + done, piece);
            else zero(into, position + done, piece);
            done += piece;
        }
    }

    /** Gives the whole pages of a range back, so that they read as zeroes. */
    void discard(int at, int length) throws LastErrorException {
        int first = at + PAGE - 1 >> PAGE_SHIFT;
        int end = at + length >> PAGE_SHIFT;
        long pages = 0;
        for (int page = first; page < end; page = (page | Long.SIZE - 1) + 1) {
            long bits = mask(page, end);
            pages += Long.bitCount(written.getAndAccumulate(page / Long.SIZE, ~bits, (a, b) -> a & b) & bits);
        }
        if (pages == 0) return;
        Posix.madvise(address + ((long) first << PAGE_SHIFT), (long) end - first << PAGE_SHIFT, Posix.MADV_REMOVE);
        allocated.addAndGet(-pages << PAGE_SHIFT);
        budget.give(pages << PAGE_SHIFT);
    }

    /** Writes zeroes into those parts of a range that have been written. */
    void clear(int at, int length) throws BlockException {
        for (int done = 0; done < length; ) {
            int piece = Math.min(boundary(at + done, at + length) - at - done, ZEROES.capacity());
            if (isWritten(at + done)) write(at + done, ZEROES, 0, piece);
            done += piece;
        }
    }

    boolean isWritten(int at) {
        int page = at >> PAGE_SHIFT;
        return (written.get(page / Long.SIZE) & 1L << page) != 0;
    }

    /** Where, at or before {@code end}, written and unwritten pages meet after {@code at}. */
    int boundary(int at, int end) {
        int page = at >> PAGE_SHIFT;
        long flip = isWritten(at) ? -1 : 0;
        int last = (end - 1 >> PAGE_SHIFT) + 1;
        while (page < last) {
            long other = (written.get(page / Long.SIZE) ^ flip) & -1L << page;
            if (other != 0) {
                page = (page & -Long.SIZE) + Long.numberOfTrailingZeros(other);
                break;
            }
            page = (page | Long.SIZE - 1) + 1;
        }
        return page >= last ? end : Math.max(at, page << PAGE_SHIFT);
    }

    /** Lets go of the memory; a late access finds zeroes. The address range itself goes with the mapped buffer. */
    void unmap() throws LastErrorException {
        Posix.mmap(
                address,
                SIZE,
                Posix.PROT_READ | Posix.PROT_WRITE,
                Posix.MAP_PRIVATE | Posix.MAP_ANONYMOUS | Posix.MAP_FIXED | Posix.MAP_NORESERVE,
                -1,
                0);
    }

    static void zero(ByteBuffer into, int position, int length) {
        for (int done = 0; done < length; ) {
            int piece = Math.min(length - done, ZEROES.capacity());
            into.put(position + done, ZEROES, 0, piece);
            done += piece;
        }
    }

    /** Marks pages as written and accounts for them; whether any was not. */
    private boolean take(int first, int end, boolean beyondLimit) throws BlockException {
        boolean some = false;
        for (int page = first; page < end; page = (page | Long.SIZE - 1) + 1) {
            long bits = mask(page, end);
            long old;
            while (((old = written.get(page / Long.SIZE)) & bits) != bits) {
                long bytes = (long) Long.bitCount(bits & ~old) << PAGE_SHIFT;
                if (beyondLimit) budget.count(bytes);
                else budget.take(bytes);
                if (written.compareAndSet(page / Long.SIZE, old, old | bits)) {
                    allocated.addAndGet(bytes);
                    some = true;
                    break;
                }
                budget.give(bytes);
            }
        }
        return some;
    }

    /** The bits of the pages from {@code page} to {@code end} in the word that holds {@code page}. */
    private static long mask(int page, int end) {
        long mask = -1L << page;
        int after = end - (page & -Long.SIZE);
        return after < Long.SIZE ? mask & (1L << after) - 1 : mask;
    }
}
