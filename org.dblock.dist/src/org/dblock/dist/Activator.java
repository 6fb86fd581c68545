package org.dblock.dist;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Enumeration;
import org.osgi.framework.BundleActivator;
import org.osgi.framework.BundleContext;
import org.osgi.framework.InvalidSyntaxException;
import org.osgi.framework.ServiceReference;
import org.osgi.service.cm.Configuration;
import org.osgi.service.cm.ConfigurationAdmin;
import org.osgi.service.log.LogEntry;
import org.osgi.service.log.LogLevel;
import org.osgi.service.log.LogReaderService;

/**
 * Prepares what the framework's own services find, before any component runs: shows their log on the console, and
 * forgets the configurations whose files in {@code etc} are gone since the last run.
 */
public final class Activator implements BundleActivator {
    /** What FileInstall notes in the configurations that it makes of files. */
    private static final String FILE = "felix.fileinstall.filename";

    /** For the framework. */
    public Activator() {}

    @Override
    public void start(BundleContext context) throws IOException, InvalidSyntaxException {
        ServiceReference<LogReaderService> log = context.getServiceReference(LogReaderService.class);
        if (log != null) show(context.getService(log));
        ServiceReference<ConfigurationAdmin> admin = context.getServiceReference(ConfigurationAdmin.class);
        if (admin != null) forgetDeletedFiles(context.getService(admin));
    }

    @Override
    public void stop(BundleContext context) {}

    private static void show(LogReaderService log) {
        log.addLogListener(Activator::show);
        for (Enumeration<LogEntry> entries = log.getLog(); entries.hasMoreElements(); ) show(entries.nextElement());
    }

    private static void show(LogEntry entry) {
        LogLevel level = entry.getLogLevel();
        // framework events reach the console by the launcher
        if (level.compareTo(LogLevel.WARN) > 0 || entry.getLoggerName().startsWith("Events.")) return;
        System.getLogger(entry.getBundle().getSymbolicName())
                .log(
                        level == LogLevel.WARN ? System.Logger.Level.WARNING : System.Logger.Level.ERROR,
                        entry.getMessage()::toString,
                        entry.getException());
    }

    /** FileInstall notices a file's removal only while it runs; Config Admin would remember it for ever. */
    private static void forgetDeletedFiles(ConfigurationAdmin admin) throws IOException, InvalidSyntaxException {
        Configuration[] made = admin.listConfigurations("(" + FILE + "=*)");
        if (made == null) return;
        for (Configuration configuration : made) {
            String file = configuration.getProperties().get(FILE).toString();
            Path path = file.startsWith("file:") ? Path.of(URI.create(file)) : Path.of(file);
            if (!Files.exists(path)) configuration.delete();
        }
    }
}
