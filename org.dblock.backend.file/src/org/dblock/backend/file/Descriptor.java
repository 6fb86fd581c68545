package org.dblock.backend.file;

import com.sun.jna.LastErrorException;
import com.sun.jna.Memory;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/**
 * A file descriptor for what {@link java.nio.channels.FileChannel} can't do, or can't tell: holes, locks and error
 * numbers.
 *
 * <p>Thread-safe. {@link #close} leaves the descriptor open until no call is inside: its number may at once be another
 * file's.
 */
final class Descriptor implements AutoCloseable {
    private final String path;
    private final int fd;
    private int inside;
    private boolean closed;

    private Descriptor(String path, int fd) {
        this.path = path;
        this.fd = fd;
    }

    /** @param flags of open(2) */
    static Descriptor open(String path, int flags) throws BlockException {
        Posix.bind(); // for as long as it is open: a volume may be closed later than its store
        try {
            return new Descriptor(path, Posix.open(path, flags | Posix.O_CLOEXEC, 0600));
        } catch (LastErrorException e) {
            Posix.unbind();
            throw failure("open", path, e);
        }
    }

    /**
     * Locks the file for this descriptor, until it is closed or the process dies.
     *
     * @return false if somebody else holds a lock that doesn't go with it
     */
    boolean lock(boolean exclusive) throws IOException {
        enter();
        try {
            Posix.flock(fd, (exclusive ? Posix.LOCK_EX : Posix.LOCK_SH) | Posix.LOCK_NB);
            return true;
        } catch (LastErrorException e) {
            if (e.getErrorCode() == Posix.EAGAIN) return false;
            throw failure("lock", path, e);
        } finally {
            leave();
        }
    }

    /** Whether this is still the file of that path. */
    boolean isAt(Path file) throws IOException {
        enter();
        try {
            return Files.exists(file) && Files.isSameFile(file, Path.of("/proc/self/fd/" + fd));
        } finally {
            leave();
        }
    }

    /** The size in bytes, of a block device too. */
    long size() throws IOException {
        return seek(0, Posix.SEEK_END);
    }

    void truncate(long size) throws IOException {
        enter();
        try {
            Posix.ftruncate(fd, size);
        } catch (LastErrorException e) {
            throw failure("resize", path, e);
        } finally {
            leave();
        }
    }

    /**
     * As fallocate(2).
     *
     * @return false if the file system can't
     */
    boolean allocate(int mode, long offset, long length) throws IOException {
        enter();
        try {
            while (true) {
                try {
                    Posix.fallocate(fd, mode, offset, length);
                    return true;
                } catch (LastErrorException e) {
                    if (e.getErrorCode() == Posix.EOPNOTSUPP) return false;
                    if (e.getErrorCode() != Posix.EINTR) throw failure("allocate, punch or zero", path, e);
                }
            }
        } finally {
            leave();
        }
    }

    /**
     * As lseek(2).
     *
     * @return -1 if there is no data (ENXIO)
     */
    long seek(long offset, int whence) throws IOException {
        enter();
        try {
            return Posix.lseek(fd, offset, whence);
        } catch (LastErrorException e) {
            if (e.getErrorCode() == Posix.ENXIO) return -1;
            throw failure("seek in", path, e);
        } finally {
            leave();
        }
    }

    /** Does what a FileChannel has failed to, so that the error, if it is there again, has a number. */
    void read(ByteBuffer into, long offset) throws IOException {
        enter();
        try (Memory copy = new Memory(into.remaining())) {
            long n = Posix.pread(fd, copy, into.remaining(), offset);
            into.put(copy.getByteBuffer(0, n));
        } catch (LastErrorException e) {
            throw failure("read", path, e);
        } finally {
            leave();
        }
    }

    /** Does what a FileChannel has failed to, so that the error, if it is there again, has a number. */
    void write(ByteBuffer from, long offset) throws IOException {
        enter();
        try (Memory copy = new Memory(from.remaining())) {
            copy.getByteBuffer(0, from.remaining()).put(from.duplicate());
            long n = Posix.pwrite(fd, copy, from.remaining(), offset);
            from.position(from.position() + (int) n);
        } catch (LastErrorException e) {
            throw failure("write", path, e);
        } finally {
            leave();
        }
    }

    @Override
    public synchronized void close() {
        if (closed) return;
        closed = true;
        if (inside == 0) closeNow();
    }

    private void closeNow() {
        try {
            Posix.close(fd);
        } finally {
            Posix.unbind();
        }
    }

    private synchronized void enter() throws ClosedChannelException {
        if (closed) throw new ClosedChannelException();
        inside++;
    }

    private synchronized void leave() {
        if (--inside == 0 && closed) closeNow();
    }

    private static BlockException failure(String what, String path, LastErrorException e) {
        Reason reason = switch (e.getErrorCode()) {
            case Posix.ENOSPC, Posix.EDQUOT, Posix.EFBIG -> Reason.NO_SPACE;
            case Posix.EROFS, Posix.EACCES -> Reason.READ_ONLY;
            case Posix.ENOENT -> Reason.NOT_FOUND;
            case Posix.EBUSY -> Reason.IN_USE;
            case Posix.EINVAL -> Reason.INVALID;
            default -> Reason.IO;
        };
        return new BlockException(reason, "can't " + what + " " + path + ": " + e.getMessage(), e);
    }
}
