package org.dblock.dist;

import java.util.logging.LogManager;
import org.osgi.framework.FrameworkEvent;

/** The gateway's log on the console: one line an entry. */
public final class Console extends LogManager {
    private static final String FORMAT = "%1$tF %1$tT.%1$tL %4$-7s %3$s: %5$s%6$s%n";

    /** For the platform, which makes the log manager by name. */
    public Console() {}

    /** Makes this the process's log manager: to be called before anything is logged. */
    static void configure() {
        System.setProperty("java.util.logging.manager", Console.class.getName());
        if (System.getProperty("java.util.logging.SimpleFormatter.format") == null)
            System.setProperty("java.util.logging.SimpleFormatter.format", FORMAT);
    }

    static void frameworkEvent(FrameworkEvent event) {
        if (event.getType() != FrameworkEvent.ERROR && event.getType() != FrameworkEvent.WARNING) return;
        System.getLogger(event.getBundle().getSymbolicName())
                .log(
                        event.getType() == FrameworkEvent.ERROR
                                ? System.Logger.Level.ERROR
                                : System.Logger.Level.WARNING,
                        () -> "" + event.getThrowable().getMessage(),
                        event.getThrowable());
    }

    /** Does nothing: the platform calls it first thing at shutdown, and what is said while stopping would be lost. */
    @Override
    public void reset() {}
}
