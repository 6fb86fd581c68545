package org.dblock.api;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Map;
import org.osgi.annotation.versioning.ConsumerType;

/**
 * An open volume: an array of logical blocks that survives what its {@link Persistence} promises.
 *
 * <p><b>Threads.</b> All methods but {@link #handOver()} and {@link #close()} are called by many threads at once, up to
 * the device's queue depth. Core calls those two after every other call has returned, and calls nothing afterwards. No
 * thread that is inside a volume is ever interrupted.
 *
 * <p><b>Ranges.</b> Core passes only ranges that lie inside {@link Geometry#size()} and are multiples of
 * {@link Geometry#blockSize()}, never empty. Buffers are direct; an implementation may move a buffer's position and
 * limit, and keeps no reference to it after the call.
 *
 * <p><b>Ordering</b> is the block layer's: calls that overlap in time may take effect in any order, byte by byte where
 * they overlap in range too: a read beside an unfinished write may see either content of each byte, and of two writes
 * at the same time either may remain. A read that begins after a write has returned sees that write.
 *
 * <p><b>Two crash levels</b>, to be kept apart:
 *
 * <ul>
 *   <li><i>The gateway dies</i> (kill -9) and the file systems above it live on: every write that has returned
 *       survives, flushed or not, for they believe it. Returning means that the bytes have left the JVM's heap (page
 *       cache, journal).
 *   <li><i>The host dies</i>: every write that had returned before a flush that has returned began survives, and every
 *       write with {@code fua}.
 * </ul>
 *
 * A volume that can't keep the first promise says {@link Persistence#VOLATILE}.
 *
 * <p><b>Errors.</b> A {@link BlockException} carries a reason that reaches the client as an errno. Anything else that
 * is thrown, {@link RuntimeException} and {@link Error} included, reaches it as EIO. After a failed write the content
 * of its range is undefined, that of every other block is not. A failed flush is never repeated into a success: as long
 * as a write may be lost, every further flush fails too.
 */
@ConsumerType
public interface BlockVolume extends Closeable {
    /**
     * The current geometry; constant but for {@link #resize}. Called often: it returns at once and allocates nothing.
     */
    Geometry geometry();

    /**
     * Fills the buffer's remaining bytes from {@code offset}. Blocks never written, or discarded, read as zeroes or as
     * before.
     */
    void read(ByteBuffer into, long offset) throws IOException;

    /**
     * Writes the buffer's remaining bytes at {@code offset}.
     *
     * @param fua whether this write (and no other) has to be as durable at return as a flush would make it
     */
    void write(ByteBuffer from, long offset, boolean fua) throws IOException;

    /** Makes every write, discard and zeroing durable that had returned before this call. */
    void flush() throws IOException;

    /**
     * Says that a range is no longer needed; a hint. Read afterwards, each block is zeroes or what it was. The default
     * does nothing; a volume that does more has {@link Capability#DISCARD}.
     */
    default void discard(long offset, long length) throws IOException {}

    /**
     * Makes a range read as zeroes, with the durability of a write.
     *
     * <p>The default writes zeroes in bounded pieces, which is correct for every volume. One that can do it without
     * moving that many bytes overrides it and has {@link Capability#WRITE_ZEROES}.
     *
     * @param mayUnmap whether the range may be given back to the storage; where not, it stays allocated as far as the
     *     storage knows allocation
     */
    default void writeZeroes(long offset, long length, boolean mayUnmap, boolean fua) throws IOException {
        ByteBuffer zeroes = Zeroes.buffer();
        for (long done = 0; done < length; ) {
            int piece = (int) Math.min(zeroes.capacity(), length - done);
            write(zeroes.clear().limit(piece), offset + done, fua);
            done += piece;
        }
    }

    /**
     * Reports the allocation map of a range: adjoining extents in ascending order, from {@code offset} to the range's
     * end at least, until the visitor has had enough. The default reports one extent of data; a volume that knows more
     * has {@link Capability#EXTENTS}.
     */
    default void extents(long offset, long length, ExtentVisitor visitor) throws IOException {
        visitor.extent(offset, length, ExtentVisitor.DATA);
    }

    /**
     * Changes the size, keeping the content of every block that lies inside both sizes; new blocks read as zeroes.
     * Requests inside the smaller of both sizes may be under way. A volume that can do it has
     * {@link Capability#RESIZE}.
     *
     * @param size in bytes, a multiple of the block size
     */
    default void resize(long size) throws IOException {
        throw new BlockException(Reason.UNSUPPORTED, "this volume can't be resized");
    }

    /**
     * Closes this volume and returns what its successor goes on with: called instead of {@link #close()} when the store
     * is updated or replaced, after a flush. The values' classes belong to the JDK, to this package or to JNA, for this
     * volume's own class loader goes away. The successor finds them in {@link VolumeSpec#inherited()}; core closes
     * every {@link AutoCloseable} among them that no successor has taken. The default closes and hands over nothing.
     */
    default Map<String, Object> handOver() throws IOException {
        close();
        return Map.of();
    }

    /**
     * Announces that the process is about to end: a volume that waits for a storage that doesn't answer gives up those
     * waits ({@link Reason#SHUTTING_DOWN}), so that {@link #close()} can follow soon. The default does nothing.
     */
    default void closeSoon() {}

    /**
     * What {@code info} shows of this volume beside its geometry: short names and values, in the order to show them.
     */
    default Map<String, String> details() {
        return Map.of();
    }

    /** Lets go of the volume: without flushing, without destroying contents. A second call does nothing. */
    @Override
    void close() throws IOException;
}
