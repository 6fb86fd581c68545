package org.dblock.core.kernel;

import com.sun.jna.LastErrorException;
import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * The system calls of the kernel front end. Addresses are longs; a call that fails throws a {@link LastErrorException}
 * with its errno. Thread-safe; a call that succeeds allocates nothing.
 */
class Libc {
    static final int EPERM = 1;
    static final int ENOENT = 2;
    static final int ENXIO = 6;
    static final int EINTR = 4;
    static final int EIO = 5;
    static final int EACCES = 13;
    static final int EFAULT = 14;
    static final int EBUSY = 16;
    static final int EEXIST = 17;
    static final int ENODEV = 19;
    static final int EINVAL = 22;
    static final int ENOTTY = 25;
    static final int ENOSPC = 28;
    static final int EPROTO = 71;
    static final int EOPNOTSUPP = 95;
    static final int ENOTCONN = 107;
    static final int ESHUTDOWN = 108;
    static final int ETIMEDOUT = 110;
    static final int EALREADY = 114;
    static final int ESTALE = 116;
    static final int ENOTRECOVERABLE = 131;

    private static final int O_RDWR = 2;
    private static final int O_CLOEXEC = 0x80000;
    private static final int PROT_READ_WRITE = 3;
    private static final int MAP_PRIVATE_ANONYMOUS_NORESERVE = 0x4022;
    private static final int MADV_DONTNEED = 4;

    /** Direct mapping: a tenth of the cost of an interface's. */
    private static final class Calls {
        static native int open(String path, int flags) throws LastErrorException;

        static native int close(int fd) throws LastErrorException;

        static native int ioctl(int fd, long command, long argument) throws LastErrorException;

        static native long mmap(long address, long length, int protection, int flags, int fd, long offset)
                throws LastErrorException;

        static native int munmap(long address, long length) throws LastErrorException;

        static native int madvise(long address, long length, int advice) throws LastErrorException;
    }

    private final AtomicInteger descriptors = new AtomicInteger();

    Libc() {
        Native.register(Calls.class, NativeLibrary.getProcess());
    }

    /** Frees what the mapping of the calls takes: nobody makes one afterwards. */
    void unregister() {
        Native.getLibraryOptions(Calls.class).clear(); // JNA caches them for ever, and they refer to the class
        Native.unregister(Calls.class);
    }

    /** Opens the control device. */
    int openControl() {
        int fd = Calls.open(Abi.CTL_PATH, O_RDWR | O_CLOEXEC);
        descriptors.incrementAndGet();
        return fd;
    }

    /** Counts an open control device that another version of this bundle has left. */
    void adopt(int fd) {
        descriptors.incrementAndGet();
    }

    /** Counts one no longer that stays open for another version of this bundle. */
    void leave(int fd) {
        descriptors.decrementAndGet();
    }

    /** How many control devices are open. */
    int descriptors() {
        return descriptors.get();
    }

    int ioctl(int fd, long command, long argument) {
        return Calls.ioctl(fd, command, argument);
    }

    void close(int fd) {
        descriptors.decrementAndGet();
        Calls.close(fd);
    }

    /** Maps memory of the process's own, which takes none before it is touched. */
    long map(long length) {
        return Calls.mmap(0, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS_NORESERVE, -1, 0);
    }

    void unmap(long address, long length) {
        Calls.munmap(address, length);
    }

    /** Gives the memory of a mapping back, but not its addresses. */
    void trim(long address, long length) {
        Calls.madvise(address, length, MADV_DONTNEED);
    }

    /** A structure's memory, all zeroes. */
    static ByteBuffer struct(int size) {
        return ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder());
    }

    static long addressOf(ByteBuffer direct) {
        return Pointer.nativeValue(Native.getDirectBufferPointer(direct));
    }

    /** A buffer over memory that somebody else keeps mapped. */
    static ByteBuffer buffer(long address, int length) {
        return new Pointer(address).getByteBuffer(0, length);
    }
}
