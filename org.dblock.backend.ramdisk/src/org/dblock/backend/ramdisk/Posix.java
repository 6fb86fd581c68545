package org.dblock.backend.ramdisk;

import com.sun.jna.LastErrorException;
import com.sun.jna.Native;
import com.sun.jna.Platform;

/** The few libc calls behind a ramdisk's memory, bound by JNA direct mapping. */
final class Posix {
    static final int MFD_CLOEXEC = 1;
    static final int PROT_READ = 1;
    static final int PROT_WRITE = 2;
    static final int MAP_PRIVATE = 0x02;
    static final int MAP_FIXED = 0x10;
    static final int MAP_ANONYMOUS = 0x20;
    static final int MAP_NORESERVE = 0x4000;
    static final int MADV_REMOVE = 9;

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

    static native int getpagesize();

    static native int memfd_create(String name, int flags) throws LastErrorException;

    static native int close(int fd) throws LastErrorException;

    static native int madvise(long address, long length, int advice) throws LastErrorException;

    static native long mmap(long address, long length, int protection, int flags, int fd, long offset)
            throws LastErrorException;
}
