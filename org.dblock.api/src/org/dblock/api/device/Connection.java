package org.dblock.api.device;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.concurrent.Executor;
import org.dblock.api.ExtentVisitor;
import org.osgi.annotation.versioning.ProviderType;

/**
 * A client's way to the blocks of a device.
 *
 * <p>The requests are those of {@link org.dblock.api.BlockVolume}, with its ordering and durability; they pass the
 * device's gate, and wait there while it is closed. Ranges and access are checked here:
 * {@link org.dblock.api.Reason#INVALID} outside the device or not a multiple of the block size,
 * {@link org.dblock.api.Reason#NO_SPACE} for a write beyond the end, {@link org.dblock.api.Reason#READ_ONLY}. Any
 * failure arrives as a {@link org.dblock.api.BlockException}; every failure of the volume is logged (rate-limited) and
 * counted. Buffers must be direct. Thread-safe; a request allocates nothing.
 *
 * <p>A connection belongs to the contents it was opened on: when they are lost (a ramdisk whose memory is gone), it
 * fails for good with EIO, and never sees the device's new contents.
 */
@ProviderType
public interface Connection extends AutoCloseable {
    /** The device. */
    Device device();

    /**
     * Whether a request made now would wait at the gate: a front end sends the replies that are ready before it makes
     * one.
     */
    boolean wouldWait();

    /**
     * Whether the volume's calls may wait for a disk or a network. If not, a front end makes its requests on the thread
     * that received them; else it hands them to {@link #workers()}. May change when the volume is swapped.
     */
    boolean mayBlock();

    /**
     * The device's threads for volumes that block, as many as its queue depth, shared by all its connections.
     * {@code execute} waits while all are busy, and throws a {@link java.util.concurrent.RejectedExecutionException}
     * where the system gives no more threads: then the caller makes the request on its own. Replaced when the volume is
     * swapped: ask for it each time.
     */
    Executor workers();

    /** Fills the buffer's remaining bytes. */
    void read(ByteBuffer into, long offset) throws IOException;

    /** Writes the buffer's remaining bytes. */
    void write(ByteBuffer from, long offset, boolean fua) throws IOException;

    /** Makes what was written durable, through whatever connection. */
    void flush() throws IOException;

    /** Gives a range back. */
    void discard(long offset, long length) throws IOException;

    /** Makes a range read as zeroes. */
    void writeZeroes(long offset, long length, boolean mayUnmap, boolean fua) throws IOException;

    /** Reports the allocation map of a range; extents are cut to the range. */
    void extents(long offset, long length, ExtentVisitor visitor) throws IOException;

    /** Ends the connection: the caller has no request under way. */
    @Override
    void close();
}
