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
    private static final int SCHED_OTHER = 0;
    private static final int SCHED_BATCH = 3;
    private static final int[] PRIORITY = {0};

    /** Direct mapping: a tenth of the cost of an interface's. */
    private static final class Calls {
        static native int open(String path, int flags) throws LastErrorException;

        static native int close(int fd) throws LastErrorException;

        static native int ioctl(int fd, long command, long argument) throws LastErrorException;

        static native long mmap(long address, long length, int protection, int flags, int fd, long offset)
                throws LastErrorException;

        static native int munmap(long address, long length) throws LastErrorException;

        static native int sched_getscheduler(int thread) throws LastErrorException;

        static native int sched_setscheduler(int thread, int policy, int[] parameters) throws LastErrorException;

        static native int madvise(long address, long length, int advice) throws LastErrorException;
    }

    /**
     * An ioctl that one thread makes again and again. Goes to libffi straight, with everything prepared: that takes a
     * third of the instructions of direct mapping, but doesn't tell the errno.
     */
    static final class Repeated {
        private static final long IOCTL =
                Pointer.nativeValue(NativeLibrary.getProcess().getFunction("ioctl"));
        /**
         * libffi's {@code ffi_type} of a signed integer of 64 bits, and what it makes of a function with three such.
         */
        private static final ByteBuffer TYPES = struct(6 * Long.BYTES);

        private static final long CALL;

        static {
            long type = addressOf(TYPES) + 3 * Long.BYTES;
            TYPES.putLong(0, type).putLong(8, type).putLong(16, type);
            TYPES.putLong(24, Long.BYTES).putShort(32, (short) Long.BYTES).putShort(34, (short) 12);
            CALL = Native.ffi_prep_cif(0, 3, type, addressOf(TYPES));
        }

        final int fd;
        final long command, argument;
        /** The addresses of the three arguments, the arguments, the result. */
        private final ByteBuffer memory = struct(7 * Long.BYTES);

        private final long address = addressOf(memory);

        Repeated(int fd, long command, long argument) {
            this.fd = fd;
            this.command = command;
            this.argument = argument;
            for (int i = 0; i < 3; i++) memory.putLong(i * Long.BYTES, address + (3 + i) * Long.BYTES);
            memory.putLong(24, fd).putLong(32, command).putLong(40, argument);
        }

        private int call() {
            Native.ffi_call(CALL, IOCTL, address + 6 * Long.BYTES, address);
            return (int) memory.getLong(48);
        }
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

    /** Makes a prepared call; -1 if it fails, and the next one by {@link #ioctl} tells why. */
    int again(Repeated call) {
        return call.call();
    }

    void close(int fd) {
        try {
            Calls.close(fd);
        } finally {
            descriptors.decrementAndGet(); // afterwards the calls may be unregistered
        }
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

    /**
     * Whether this thread, when it is woken, waits for its turn instead of running at once; without effect where
     * somebody has given it a policy of their own, or forbids that it be changed.
     */
    void patient(boolean patient) {
        try {
            int policy = Calls.sched_getscheduler(0);
            if (policy == SCHED_OTHER || policy == SCHED_BATCH)
                Calls.sched_setscheduler(0, patient ? SCHED_BATCH : SCHED_OTHER, PRIORITY);
        } catch (LastErrorException e) {
            // it works without
        }
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
