package org.dblock.nbd;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import org.dblock.api.BlockException;
import org.dblock.api.Capability;
import org.dblock.api.ExtentVisitor;
import org.dblock.api.Geometry;
import org.dblock.api.device.Connection;

/**
 * The transmission phase of one connection: takes requests from the wire, makes them on the device and answers.
 *
 * <p>Requests to a volume at memory speed are made at once, straight between the wire's buffers and the volume, and
 * answered when the input is used up. Those to a volume that may block get a buffer and go to the device's workers; so
 * do large reads that must be answered in one piece, though on the connection's own thread.
 */
final class Transmission {
    /** The most bytes that are moved at a time where a request may be served in pieces. */
    static final int PIECE = 256 << 10;

    /** The shape of replies. */
    enum Mode {
        SIMPLE(28, 16),
        STRUCTURED(28, 20),
        EXTENDED(32, 32);

        final int request;
        final int reply;

        Mode(int request, int reply) {
            this.request = request;
            this.reply = reply;
        }
    }

    /** The most extents in a reply to BLOCK_STATUS. */
    private static final int MOST_EXTENTS = 4096;
    /** The most extents that a read is cut into. */
    private static final int MOST_PARTS = 64;
    /** From this length on a read asks the allocation map; a hole of less is not worth a chunk of its own. */
    private static final int HOLES_FROM = 32 << 10;

    private static final int LEAST_HOLE = 4096;
    /** The longest payload of BLOCK_STATUS that is looked at. */
    private static final int STATUS_PAYLOAD = 4096;

    private final Wire wire;
    private final Connection connection;
    private final Mode mode;
    private final boolean readOnly;
    private final boolean allocation;
    private final int blockSize;
    private final boolean fastZeroes;
    private final boolean knowsHoles;
    private volatile long size;
    private volatile boolean shuttingDown;
    private Request current;
    private long swaps;

    /**
     * Begins to serve.
     *
     * @param geometry that of the device now; its block size and capabilities are what the client was told
     * @param allocation whether the client has asked for {@code base:allocation}
     */
    Transmission(Wire wire, Connection connection, Geometry geometry, Mode mode, boolean readOnly, boolean allocation) {
        this.wire = wire;
        this.connection = connection;
        this.mode = mode;
        this.readOnly = readOnly;
        this.allocation = allocation;
        blockSize = geometry.blockSize();
        fastZeroes = geometry.can(Capability.FAST_ZEROES);
        knowsHoles = geometry.can(Capability.EXTENTS);
        size = geometry.size();
        current = wire.request(this);
        swaps = connection.device().stats().swaps();
    }

    /** The device has another size now. */
    void resized(long bytes) {
        size = bytes;
    }

    /** Requests that are not begun yet are answered with ESHUTDOWN. */
    void shutDown() {
        shuttingDown = true;
    }

    /**
     * Serves until the client leaves or nothing more is to be read.
     *
     * @return true: the volume was swapped, go on with another thread, lest this one's locals pin the classes of the
     *     old one
     */
    boolean run() throws Disconnected {
        for (; ; ) {
            if (wire.in.remaining() < mode.request) {
                if (swapped()) return true;
                if (!wire.fillOrPoke(mode.request)) {
                    if (wire.ended()) return false;
                    continue;
                }
            }
            Request request = current;
            parse(request);
            if (request.type == Nbd.CMD_DISC) return false;
            if (!serve(request)) return false;
        }
    }

    private boolean swapped() {
        long now = connection.device().stats().swaps();
        if (now == swaps) return false;
        swaps = now;
        return true;
    }

    private void parse(Request request) throws Disconnected {
        ByteBuffer in = wire.in;
        int magic = in.getInt();
        if (magic != (mode == Mode.EXTENDED ? Nbd.EXTENDED_REQUEST_MAGIC : Nbd.REQUEST_MAGIC))
            throw new Disconnected("request with the magic number 0x" + Integer.toHexString(magic));
        request.flags = in.getShort() & 0xffff;
        request.type = in.getShort() & 0xffff;
        request.cookie = in.getLong();
        request.offset = in.getLong();
        request.length = mode == Mode.EXTENDED ? in.getLong() : in.getInt() & 0xffffffffL;
    }

    /** Serves one request; false when its payload doesn't come. */
    private boolean serve(Request request) throws Disconnected {
        boolean carries = mode == Mode.EXTENDED ? request.has(Nbd.CMD_FLAG_PAYLOAD_LEN) : request.type == Nbd.CMD_WRITE;
        long payload = carries ? request.length : 0;
        if (payload < 0 || payload > Nbd.MAX_PAYLOAD)
            throw new Disconnected(
                    "request with " + Long.toUnsignedString(payload) + " bytes of payload: at most " + Nbd.MAX_PAYLOAD);
        boolean known = true;
        if (carries && request.type == Nbd.CMD_BLOCK_STATUS && payload <= STATUS_PAYLOAD) {
            if (!wire.fill((int) payload)) return false;
            known = selectContexts(request, (int) payload);
            payload = 0;
        }
        int error = known ? check(request) : Nbd.EINVAL;
        if (error != 0) {
            if (!wire.skip(payload)) return false;
            refuse(request, error, known ? explain(request, error) : "this payload names no context, or not once");
            return true;
        }
        if (connection.mayBlock()) return dispatch(request, connection.workers());
        boolean whole = mode == Mode.SIMPLE || request.has(Nbd.CMD_FLAG_DF);
        if (request.type == Nbd.CMD_READ && whole && request.length > PIECE) return dispatch(request, Runnable::run);
        if (connection.wouldWait()) wire.flush();
        if (request.type == Nbd.CMD_WRITE) return writeFromWire(request);
        wire.outView.clear();
        room(Nbd.MAX_STRING);
        perform(request, wire.out, wire.outView);
        return true;
    }

    /** Reads what a BLOCK_STATUS with payload says: the length, and the contexts wanted; false if it can't be right. */
    private boolean selectContexts(Request request, int payload) {
        ByteBuffer in = wire.in;
        int next = in.position() + payload;
        boolean right = payload == 12 && allocation;
        if (right) {
            request.length = in.getLong();
            right = in.getInt() == Nbd.BASE_ALLOCATION_ID;
            request.flags &= ~Nbd.CMD_FLAG_PAYLOAD_LEN;
        }
        in.position(next);
        return right;
    }

    /** The error that a request deserves before it is made, or 0. */
    private int check(Request request) {
        int allowed = Nbd.CMD_FLAG_FUA;
        switch (request.type) {
            case Nbd.CMD_READ -> allowed |= mode == Mode.SIMPLE ? 0 : Nbd.CMD_FLAG_DF;
            case Nbd.CMD_WRITE -> {
                if (mode == Mode.EXTENDED) {
                    allowed |= Nbd.CMD_FLAG_PAYLOAD_LEN;
                    if (!request.has(Nbd.CMD_FLAG_PAYLOAD_LEN)) return Nbd.EINVAL;
                }
            }
            case Nbd.CMD_WRITE_ZEROES -> allowed |= Nbd.CMD_FLAG_NO_HOLE | Nbd.CMD_FLAG_FAST_ZERO;
            case Nbd.CMD_BLOCK_STATUS -> {
                if (!allocation) return Nbd.EINVAL;
                allowed |= Nbd.CMD_FLAG_REQ_ONE;
            }
            case Nbd.CMD_TRIM, Nbd.CMD_CACHE -> {}
            case Nbd.CMD_FLUSH -> {
                if (request.offset != 0 || request.length != 0) return Nbd.EINVAL;
            }
            default -> {
                return Nbd.EINVAL;
            }
        }
        if ((request.flags & ~allowed) != 0) return Nbd.EINVAL;
        if (shuttingDown) return Nbd.ESHUTDOWN;
        return request.type == Nbd.CMD_FLUSH ? 0 : checkRange(request);
    }

    private int checkRange(Request request) {
        boolean writes = request.type == Nbd.CMD_WRITE || request.type == Nbd.CMD_WRITE_ZEROES;
        if (readOnly && (writes || request.type == Nbd.CMD_TRIM)) return Nbd.EPERM;
        if (request.length == 0 || ((request.offset | request.length) & (blockSize - 1)) != 0) return Nbd.EINVAL;
        long end = size;
        if (request.offset < 0 || request.length < 0 || request.length > end || request.offset > end - request.length)
            return writes ? Nbd.ENOSPC : Nbd.EINVAL;
        if (request.type == Nbd.CMD_READ && request.length > Nbd.MAX_PAYLOAD)
            return mode == Mode.SIMPLE ? Nbd.EINVAL : Nbd.EOVERFLOW;
        boolean fast = fastZeroes && !request.has(Nbd.CMD_FLAG_NO_HOLE);
        return request.has(Nbd.CMD_FLAG_FAST_ZERO) && !fast ? Nbd.ENOTSUP : 0;
    }

    private String explain(Request request, int error) {
        return switch (error) {
            case Nbd.EPERM -> "this export is read-only";
            case Nbd.ESHUTDOWN -> "the gateway is shutting down";
            case Nbd.ENOTSUP -> "zeroing this is no faster than writing zeroes";
            case Nbd.EOVERFLOW -> "length " + request.length + ": at most " + Nbd.MAX_PAYLOAD;
            default ->
                "command " + request.type + " with flags 0x" + Integer.toHexString(request.flags) + ", offset "
                        + Long.toUnsignedString(request.offset) + ", length " + Long.toUnsignedString(request.length)
                        + ": the export has " + size + " bytes in blocks of " + blockSize;
        };
    }

    /** Gives the request a buffer and has it made elsewhere. */
    private boolean dispatch(Request request, Executor executor) throws Disconnected {
        int room = switch (request.type) {
            case Nbd.CMD_READ, Nbd.CMD_WRITE -> (int) request.length;
            case Nbd.CMD_BLOCK_STATUS -> 16 * MOST_EXTENTS;
            case Nbd.CMD_CACHE -> PIECE;
            default -> 0;
        };
        try {
            wire.charge(request, room);
        } catch (OutOfMemoryError e) {
            current = wire.request(this);
            if (request.type == Nbd.CMD_WRITE && !wire.skip(request.length)) return false;
            refuse(request, Nbd.ENOMEM, "no direct memory for " + room + " bytes: give the JVM more");
            return true;
        }
        current = wire.request(this);
        if (request.type == Nbd.CMD_WRITE) {
            ByteBuffer data = request.buffer.view.clear().position(BufferPool.DATA);
            boolean came = false;
            try {
                came = wire.transfer(data.limit(BufferPool.DATA + room));
            } finally {
                if (!came) wire.release(request);
            }
            if (!came) return false;
        }
        // the executor may wait for a free worker: what is ready goes out first
        wire.flush();
        try {
            executor.execute(request);
        } catch (RejectedExecutionException e) {
            request.run();
        }
        return true;
    }

    /** Makes a request that has its own buffer, and leaves the reply in it. Any thread. */
    void complete(Request request) {
        ByteBuffer bytes = request.buffer.bytes;
        ByteBuffer view = request.buffer.view;
        // so that the data of a read in one piece lie at the page
        int start = request.type == Nbd.CMD_READ ? BufferPool.DATA - dataHeader() : 0;
        bytes.clear().position(start);
        try {
            if (request.type == Nbd.CMD_WRITE)
                view.limit(BufferPool.DATA + (int) request.length).position(BufferPool.DATA);
            else view.clear();
            perform(request, bytes, view);
        } catch (Disconnected e) {
            throw new AssertionError("a reply of its own buffer doesn't touch the wire", e);
        }
        bytes.flip().position(start);
        wire.ready(request);
    }

    /** Writes the payload piece by piece as it comes, out of the wire's buffer. */
    private boolean writeFromWire(Request request) throws Disconnected {
        ByteBuffer in = wire.in;
        boolean fua = request.has(Nbd.CMD_FLAG_FUA);
        Throwable failure = null;
        long offset = request.offset;
        for (long left = request.length; left > 0; ) {
            int piece = (int) Math.min(left, PIECE);
            if (in.remaining() < piece && !wire.fill(left <= PIECE ? piece : Math.min(piece, PIECE / 2))) return false;
            piece = (int) Math.min(left, in.remaining() & -blockSize);
            int limit = in.limit();
            int next = in.position() + piece;
            if (failure == null) {
                if (connection.wouldWait()) wire.flush();
                try {
                    connection.write(in.limit(next), offset, fua);
                } catch (IOException | RuntimeException | Error e) {
                    failure = e;
                }
            }
            in.limit(limit).position(next);
            offset += piece;
            left -= piece;
        }
        room(Nbd.MAX_STRING);
        if (failure == null) succeed(request, wire.out);
        else fail(request, wire.out, failure);
        return true;
    }

    /**
     * Makes a request and appends its reply; {@code view} are the same bytes, but for a write: there, what to write.
     */
    private void perform(Request request, ByteBuffer out, ByteBuffer view) throws Disconnected {
        long offset = request.offset;
        long length = request.length;
        boolean fua = request.has(Nbd.CMD_FLAG_FUA);
        try {
            switch (request.type) {
                case Nbd.CMD_READ -> {
                    read(request, out, view);
                    return;
                }
                case Nbd.CMD_BLOCK_STATUS -> {
                    blockStatus(request, out);
                    return;
                }
                case Nbd.CMD_WRITE -> connection.write(view, offset, fua);
                case Nbd.CMD_FLUSH -> connection.flush();
                case Nbd.CMD_TRIM -> {
                    connection.discard(offset, length);
                    if (fua) connection.flush();
                }
                case Nbd.CMD_WRITE_ZEROES ->
                    connection.writeZeroes(offset, length, !request.has(Nbd.CMD_FLAG_NO_HOLE), fua);
                case Nbd.CMD_CACHE -> cache(request, view);
                default -> throw new AssertionError(request.type);
            }
            succeed(request, out);
        } catch (Disconnected e) {
            throw e;
        } catch (IOException | RuntimeException | Error e) {
            // chunks that are complete stay: only structured replies have several, and there an error may follow
            room(out, Nbd.MAX_STRING);
            fail(request, out, e);
        }
    }

    /** Reads a range ahead where reading it later would wait. */
    private void cache(Request request, ByteBuffer view) throws IOException {
        if (!connection.mayBlock()) return;
        long most = Math.min(request.length, Nbd.MAX_PAYLOAD);
        for (long done = 0; done < most; done += PIECE) {
            int piece = (int) Math.min(most - done, PIECE);
            connection.read(view.limit(BufferPool.DATA + piece).position(BufferPool.DATA), request.offset + done);
        }
    }

    private void read(Request request, ByteBuffer out, ByteBuffer view) throws IOException {
        long offset = request.offset;
        int length = (int) request.length;
        boolean one = mode == Mode.SIMPLE || request.has(Nbd.CMD_FLAG_DF);
        if (one || !knowsHoles || length < HOLES_FROM) {
            readData(request, out, view, offset, length, true);
            return;
        }
        Extents map = request.extents;
        long end = offset + length;
        map.begin(MOST_PARTS, end);
        connection.extents(offset, length, map);
        long data = offset; // where the data begin that are not read yet
        long at = offset;
        for (int i = 0; i < map.count(); i++) {
            long next = at + map.length(i);
            if ((map.flags(i) & ExtentVisitor.ZERO) != 0 && next - at >= LEAST_HOLE) {
                if (data < at) readData(request, out, view, data, (int) (at - data), false);
                room(out, dataHeader() + 4);
                chunk(request, out, next == end ? Nbd.REPLY_FLAG_DONE : 0, Nbd.REPLY_TYPE_OFFSET_HOLE, 12);
                out.putLong(at).putInt((int) (next - at));
                data = next;
            }
            at = next;
        }
        if (data < end) readData(request, out, view, data, (int) (end - data), true);
    }

    private void readData(Request request, ByteBuffer out, ByteBuffer view, long from, int length, boolean last)
            throws IOException {
        int most = out == wire.out ? PIECE : length;
        int header = dataHeader();
        for (int done = 0; done < length; ) {
            int piece = Math.min(most, length - done);
            room(out, header + piece);
            int start = out.position();
            int data = start + header;
            connection.read(view.limit(data + piece).position(data), from + done);
            if (mode == Mode.SIMPLE) {
                simple(request, out, 0);
            } else {
                boolean end = last && done + piece == length;
                chunk(request, out, end ? Nbd.REPLY_FLAG_DONE : 0, Nbd.REPLY_TYPE_OFFSET_DATA, 8L + piece);
                out.putLong(from + done);
            }
            out.position(data + piece);
            done += piece;
        }
    }

    private void blockStatus(Request request, ByteBuffer out) throws IOException {
        Extents map = request.extents;
        map.begin(request.has(Nbd.CMD_FLAG_REQ_ONE) ? 1 : MOST_EXTENTS, request.offset + request.length);
        connection.extents(request.offset, request.length, map);
        boolean wide = mode == Mode.EXTENDED;
        int count = map.count();
        if (count == 0) throw new IOException("the volume has no extent at " + request.offset);
        int payload = wide ? 8 + 16 * count : 4 + 8 * count;
        room(out, mode.reply + payload);
        int type = wide ? Nbd.REPLY_TYPE_BLOCK_STATUS_EXT : Nbd.REPLY_TYPE_BLOCK_STATUS;
        chunk(request, out, Nbd.REPLY_FLAG_DONE, type, payload);
        out.putInt(Nbd.BASE_ALLOCATION_ID);
        if (wide) out.putInt(count);
        for (int i = 0; i < count; i++) {
            if (wide) out.putLong(map.length(i)).putLong(map.flags(i));
            else out.putInt((int) map.length(i)).putInt(map.flags(i));
        }
    }

    // ---- replies

    /** The length of what stands before the data of a read. */
    private int dataHeader() {
        return mode == Mode.SIMPLE ? mode.reply : mode.reply + 8;
    }

    private void room(int bytes) throws Disconnected {
        room(wire.out, bytes);
    }

    /**
     * Sends what stands in the wire's buffer if the next bytes don't fit; a request's own buffer is always large
     * enough.
     */
    private void room(ByteBuffer out, int bytes) throws Disconnected {
        if (out == wire.out && out.remaining() < bytes) wire.flush();
    }

    private void simple(Request request, ByteBuffer out, int error) {
        out.putInt(Nbd.SIMPLE_REPLY_MAGIC).putInt(error).putLong(request.cookie);
    }

    private void chunk(Request request, ByteBuffer out, int flags, int type, long payload) {
        out.putInt(mode == Mode.EXTENDED ? Nbd.EXTENDED_REPLY_MAGIC : Nbd.STRUCTURED_REPLY_MAGIC);
        out.putShort((short) flags).putShort((short) type).putLong(request.cookie);
        if (mode == Mode.EXTENDED) out.putLong(request.offset).putLong(payload);
        else out.putInt((int) payload);
    }

    private void succeed(Request request, ByteBuffer out) {
        if (mode == Mode.EXTENDED) chunk(request, out, Nbd.REPLY_FLAG_DONE, Nbd.REPLY_TYPE_NONE, 0);
        else simple(request, out, 0);
    }

    private void fail(Request request, ByteBuffer out, Throwable failure) {
        String message = failure instanceof BlockException ? failure.getMessage() : "the volume failed";
        fail(request, out, Nbd.error(BlockException.reasonOf(failure)), message == null ? "" : message);
    }

    private void refuse(Request request, int error, String message) throws Disconnected {
        room(Nbd.MAX_STRING);
        fail(request, wire.out, error, message);
    }

    private void fail(Request request, ByteBuffer out, int error, String message) {
        if (mode == Mode.SIMPLE) {
            simple(request, out, error);
            return;
        }
        byte[] text = Text.bytes(message);
        chunk(request, out, Nbd.REPLY_FLAG_DONE, Nbd.REPLY_TYPE_ERROR, 6L + text.length);
        out.putInt(error).putShort((short) text.length).put(text);
    }
}
