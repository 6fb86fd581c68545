package org.dblock.dist;

import com.sun.jna.LastErrorException;
import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Keeps the process from waiting for its own kernel devices: without the flag IO_FLUSHER a thread that needs memory may
 * have to write some out first, to a device that only this process serves.
 *
 * <p>The flag belongs to a thread, and new threads inherit it. So the first thread takes it and runs the same program
 * anew in its place: then every thread has it.
 */
final class IoFlusher {
    private static final Path CONTROL = Path.of("/dev/dblockctl");
    private static final int PR_SET_IO_FLUSHER = 57;
    /** What the kernel makes of the flag in the ninth field of /proc/PID/stat (PF_MEMALLOC_NOIO). */
    private static final long FLAG = 0x80000;

    private IoFlusher() {}

    /** In an own class: what isn't needed is not loaded. */
    private static final class Calls {
        static {
            Native.register(Calls.class, NativeLibrary.getProcess());
        }

        static native int prctl(int option, long a, long b, long c, long d) throws LastErrorException;

        static native int execv(Pointer path, Pointer arguments) throws LastErrorException;
    }

    /** Does nothing where there are no kernel devices, and nothing but warn where the flag is not to be had. */
    static void become() {
        if (!Files.exists(CONTROL)) return;
        try {
            if (isOne()) return;
            Calls.prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
            again();
        } catch (LastErrorException | IOException e) {
            System.err.println(
                    "dblock: this process is no IO_FLUSHER (" + e.getMessage() + "): with memory short, it may"
                            + " wait for its own kernel devices; run it with CAP_SYS_RESOURCE");
        }
    }

    private static boolean isOne() throws IOException {
        String stat = Files.readString(Path.of("/proc/self/stat"));
        // behind the name, which may hold anything: state ppid pgrp session tty tpgid flags
        String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
        return (Long.parseLong(fields[6]) & FLAG) != 0;
    }

    /** Runs this program anew in this process; comes back only with a failure. */
    private static void again() throws IOException {
        byte[] line = Files.readAllBytes(Path.of("/proc/self/cmdline"));
        byte[] path =
                Files.readSymbolicLink(Path.of("/proc/self/exe")).toString().getBytes();
        int count = 0;
        for (byte each : line) if (each == 0) count++;
        try (Memory texts = new Memory(line.length + path.length + 1);
                Memory pointers = new Memory((count + 1L) * Native.POINTER_SIZE)) {
            texts.write(0, line, 0, line.length);
            texts.write(line.length, path, 0, path.length);
            texts.setByte(line.length + path.length, (byte) 0);
            pointers.clear();
            long at = 0;
            for (int i = 0; i < count; i++) {
                pointers.setPointer((long) i * Native.POINTER_SIZE, texts.share(at));
                at += texts.indexOf(at, (byte) 0) + 1;
            }
            Calls.execv(texts.share(line.length), pointers);
        }
    }
}
