package org.dblock.backend.file;

import com.sun.jna.LastErrorException;
import com.sun.jna.Native;
import com.sun.jna.Platform;
import com.sun.jna.Pointer;

/** The libc calls that Java's files lack, bound by JNA direct mapping. */
final class Posix {
    static final int O_RDONLY = 0;
    static final int O_RDWR = 2;
    static final int O_CREAT = 0x40;
    static final int O_EXCL = 0x80;
    static final int O_CLOEXEC = 0x80000;
    static final int LOCK_SH = 1;
    static final int LOCK_EX = 2;
    static final int LOCK_NB = 4;
    static final int SEEK_END = 2;
    static final int SEEK_DATA = 3;
    static final int SEEK_HOLE = 4;
    static final int FALLOC_KEEP_SIZE = 1;
    static final int FALLOC_PUNCH_HOLE = 2;
    static final int FALLOC_ZERO_RANGE = 0x10;

    static final int ENOENT = 2;
    static final int EINTR = 4;
    static final int ENXIO = 6;
    static final int EAGAIN = 11;
    static final int EACCES = 13;
    static final int EBUSY = 16;
    static final int EINVAL = 22;
    static final int EFBIG = 27;
    static final int ENOSPC = 28;
    static final int EROFS = 30;
    static final int EOPNOTSUPP = 95;
    static final int EDQUOT = 122;

    private static int users;

    private Posix() {}

    /** Binds the calls, if nobody has yet; who called this calls {@link #unbind} when done. */
    static synchronized void bind() {
        if (users == 0) Native.register(Posix.class, Platform.C_LIBRARY_NAME);
        users++;
    }

    /** Lets JNA forget this class after its last user: it would hold on to the classes of a bundle that is gone. */
    static synchronized void unbind() {
        if (--users > 0) return;
        Native.getLibraryOptions(Posix.class).clear(); // JNA caches them for ever, and they refer to the class
        Native.unregister(Posix.class);
    }

    static native int open(String path, int flags, int mode) throws LastErrorException;

    static native int close(int fd) throws LastErrorException;

    static native int flock(int fd, int operation) throws LastErrorException;

    static native int ftruncate(int fd, long length) throws LastErrorException;

    static native int fallocate(int fd, int mode, long offset, long length) throws LastErrorException;

    static native long lseek(int fd, long offset, int whence) throws LastErrorException;

    static native long pread(int fd, Pointer into, long length, long offset) throws LastErrorException;

    static native long pwrite(int fd, Pointer from, long length, long offset) throws LastErrorException;
}
