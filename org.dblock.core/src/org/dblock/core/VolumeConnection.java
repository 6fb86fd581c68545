package org.dblock.core;

import java.nio.ByteBuffer;
import java.util.concurrent.Executor;
import org.dblock.api.BlockException;
import org.dblock.api.BlockVolume;
import org.dblock.api.ExtentVisitor;
import org.dblock.api.Geometry;
import org.dblock.api.Reason;
import org.dblock.api.device.Client;
import org.dblock.api.device.Connection;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceStats.Op;

/** The way of a request: through the device's gate, checked, into the volume, counted. */
final class VolumeConnection implements Connection {
    private final BlockDevice device;
    final Client client;
    final int epoch;
    private volatile boolean closed;

    VolumeConnection(BlockDevice device, Client client, int epoch) {
        this.device = device;
        this.client = client;
        this.epoch = epoch;
    }

    @Override
    public void read(ByteBuffer into, long offset) throws BlockException {
        request(Op.READ, into, offset, into.remaining(), false, false, null);
    }

    @Override
    public void write(ByteBuffer from, long offset, boolean fua) throws BlockException {
        request(Op.WRITE, from, offset, from.remaining(), false, fua, null);
    }

    @Override
    public void flush() throws BlockException {
        request(Op.FLUSH, null, 0, 0, false, false, null);
    }

    @Override
    public void discard(long offset, long length) throws BlockException {
        request(Op.DISCARD, null, offset, length, false, false, null);
    }

    @Override
    public void writeZeroes(long offset, long length, boolean mayUnmap, boolean fua) throws BlockException {
        request(Op.WRITE_ZEROES, null, offset, length, mayUnmap, fua, null);
    }

    @Override
    public void extents(long offset, long length, ExtentVisitor visitor) throws BlockException {
        request(Op.EXTENTS, null, offset, length, false, false, new ExtentCut(offset, length, visitor));
    }

    /**
     * Makes one request. Unused parameters are false, 0 or null: an object for them would be one allocation per
     * request.
     */
    private void request(
            Op op, ByteBuffer buffer, long offset, long length, boolean mayUnmap, boolean fua, ExtentCut extents)
            throws BlockException {
        if (buffer != null && !buffer.isDirect())
            throw new BlockException(Reason.INVALID, "the buffer is not direct: use ByteBuffer.allocateDirect");
        int position = buffer == null ? 0 : buffer.position();
        int limit = buffer == null ? 0 : buffer.limit();
        // an interrupt would close the volume's channels for everybody: it waits until the request is done
        boolean interrupted = Thread.interrupted();
        try {
            while (true) {
                if (closed) throw new BlockException(Reason.INVALID, "the connection is closed");
                OpenVolume open = device.enter(epoch);
                Throwable failure = null;
                long nanos;
                try {
                    if (op != Op.FLUSH) {
                        check(op, open.geometry, offset, length);
                        if (length == 0) return;
                    }
                    long start = System.nanoTime();
                    try {
                        perform(op, open.volume, buffer, offset, length, mayUnmap, fua, extents);
                    } catch (Throwable e) {
                        failure = e;
                    }
                    nanos = System.nanoTime() - start;
                } finally {
                    open.gate.leave();
                }
                if (!open.abandoned) {
                    device.stats.record(op, nanos, length, fua, failure != null);
                    if (failure != null) throw device.failed(op, offset, length, failure);
                    return;
                }
                // an answer of an abandoned volume counts for nothing: ask its successor
                if (buffer != null) buffer.limit(limit).position(position);
            }
        } finally {
            if (interrupted) Thread.currentThread().interrupt();
        }
    }

    private static void perform(
            Op op,
            BlockVolume volume,
            ByteBuffer buffer,
            long offset,
            long length,
            boolean mayUnmap,
            boolean fua,
            ExtentCut extents)
            throws Exception {
        switch (op) {
            case READ -> volume.read(buffer, offset);
            case WRITE -> volume.write(buffer, offset, fua);
            case FLUSH -> volume.flush();
            case DISCARD -> volume.discard(offset, length);
            case WRITE_ZEROES -> volume.writeZeroes(offset, length, mayUnmap, fua);
            case EXTENTS -> extents.ask(volume);
        }
    }

    private void check(Op op, Geometry geometry, long offset, long length) throws BlockException {
        boolean changes = op == Op.WRITE || op == Op.DISCARD || op == Op.WRITE_ZEROES;
        if (changes && geometry.readOnly())
            throw new BlockException(Reason.READ_ONLY, "device " + device.name() + " is read-only");
        int mask = geometry.blockSize() - 1;
        if (offset < 0 || length < 0 || (offset & mask) != 0 || (length & mask) != 0)
            throw new BlockException(
                    Reason.INVALID,
                    range(offset, length) + " is not a range of whole blocks of " + geometry.blockSize() + " bytes");
        if (length > geometry.size() || offset > geometry.size() - length)
            throw new BlockException(
                    changes ? Reason.NO_SPACE : Reason.INVALID,
                    range(offset, length) + " ends beyond the device's " + geometry.size() + " bytes");
    }

    static String range(long offset, long length) {
        return length + " bytes at " + offset;
    }

    @Override
    public Device device() {
        return device;
    }

    @Override
    public boolean wouldWait() {
        OpenVolume open = device.current();
        return open == null || open.gate.closed();
    }

    @Override
    public boolean mayBlock() {
        return device.mayBlock();
    }

    @Override
    public Executor workers() {
        return device.workers;
    }

    @Override
    public void close() {
        closed = true;
        device.disconnect(this);
    }

    /** Cuts what a volume reports to the range that was asked for, and knows how far it has come. */
    private static final class ExtentCut implements ExtentVisitor {
        private final long end;
        private final ExtentVisitor visitor;
        private long next;

        ExtentCut(long offset, long length, ExtentVisitor visitor) {
            next = offset;
            end = offset + length;
            this.visitor = visitor;
        }

        void ask(BlockVolume volume) throws Exception {
            if (next < end) volume.extents(next, end - next, this);
        }

        @Override
        public boolean extent(long offset, long length, int flags) {
            long until = Math.min(end, offset + length);
            if (until <= next) return next < end;
            long from = next;
            next = until;
            if (!visitor.extent(from, until - from, flags)) next = end;
            return next < end;
        }
    }
}
