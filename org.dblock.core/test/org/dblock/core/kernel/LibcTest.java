package org.dblock.core.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.sun.jna.LastErrorException;
import com.sun.jna.NativeLibrary;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

class LibcTest {
    /** How many bytes there are to read from a file. */
    private static final long FIONREAD = 0x541b;

    private final Libc libc = new Libc();

    @Test
    void aRepeatedIoctlDoesTheSameEachTime() {
        NativeLibrary library = NativeLibrary.getProcess();
        int fd = library.getFunction("memfd_create").invokeInt(new Object[] {"test", 1});
        ByteBuffer argument = Libc.struct(Integer.BYTES);
        Libc.Repeated call = new Libc.Repeated(fd, FIONREAD, Libc.addressOf(argument));
        for (int size : new int[] {5, 7000}) {
            library.getFunction("ftruncate").invokeInt(new Object[] {fd, (long) size});
            assertEquals(0, libc.again(call));
            assertEquals(size, argument.getInt(0));
        }
        libc.adopt(fd);
        libc.close(fd);
        assertEquals(-1, libc.again(call), "the file is closed");
    }

    @Test
    void aRepeatedIoctlThatFailsTellsWhyByTheOrdinaryOne() {
        Libc.Repeated call = new Libc.Repeated(-1, FIONREAD, 0);
        assertEquals(-1, libc.again(call));
        LastErrorException error =
                assertThrows(LastErrorException.class, () -> libc.ioctl(call.fd, call.command, call.argument));
        assertEquals(9, error.getErrorCode(), "EBADF");
    }

    @Test
    void patienceIsAPolicyOfTheThreadAlone() throws Exception {
        int[] policies = new int[3];
        Thread thread = new Thread(() -> {
            libc.patient(true);
            policies[0] = policy();
            libc.patient(false);
            policies[1] = policy();
            libc.patient(true);
        });
        thread.start();
        thread.join();
        policies[2] = policy();
        assertEquals("3 0 0", policies[0] + " " + policies[1] + " " + policies[2], "SCHED_BATCH is 3");
    }

    private static int policy() {
        return NativeLibrary.getProcess().getFunction("sched_getscheduler").invokeInt(new Object[] {0});
    }
}
