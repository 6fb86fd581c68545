package org.dblock.shell;

import java.io.PrintStream;
import java.nio.file.Path;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * One run of a command.
 *
 * @param arguments what it was given
 * @param out where its result goes
 * @param folder what relative paths start at: the caller's folder, not the gateway's
 * @param terminal whether the result is read by a person at a terminal
 * @param cancelled reaches zero when the caller is gone
 */
record Call(Arguments arguments, PrintStream out, Path folder, boolean terminal, CountDownLatch cancelled) {

    /** Prints a text as it is; it ends its own lines. */
    void print(String text) {
        out.print(text);
        out.flush();
    }

    /** Prints a line. */
    void say(String line) {
        print(line + "\n");
    }

    /** Prints as JSON when it was asked for. */
    boolean printedJson(Object value) {
        if (!arguments.flag("json")) return false;
        say(Json.write(value));
        return true;
    }

    /** Waits; false when the caller is gone or nobody reads any more. */
    boolean pause(double seconds) {
        try {
            return !cancelled.await((long) (seconds * 1e9), TimeUnit.NANOSECONDS) && !out.checkError();
        } catch (InterruptedException e) {
            return false; // Ctrl-C in an interactive shell, which has no further use for the interrupt
        }
    }
}
