package org.dblock.dist;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.stream.Stream;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;
import org.osgi.framework.BundleException;
import org.osgi.framework.Constants;
import org.osgi.framework.FrameworkEvent;
import org.osgi.framework.launch.Framework;
import org.osgi.framework.launch.FrameworkFactory;
import org.osgi.framework.startlevel.BundleStartLevel;
import org.osgi.framework.wiring.BundleWiring;

/**
 * Starts a framework with the bundles in this jar's folder, and stops it in order when the process is told to end.
 *
 * <p>System properties: {@code dblock.home}, the gateway's folder; {@code dblock.defaults}, a folder whose files a new
 * home's {@code etc} gets; {@code dblock.stop.seconds}, how long stopping may take; {@code dblock.interactive}, whether
 * there is a person at the console who gets a shell.
 */
public final class Main {
    /** Levels are started one after the other and stopped backwards: clients' ways in last, and first to go. */
    private static final int LIBRARIES = 1, SERVICES = 2, BACKENDS = 3, CORE = 4, FRONT_ENDS = 5, FOLDERS = 6;

    private static final String FRAMEWORK = "framework.jar";
    private static final String SHELL = "org.apache.felix.gogo.jline";

    private static volatile boolean failed;
    private static FileLock lock; // held as long as this process lives

    private Main() {}

    /** Runs until the framework or the process is told to stop; the status is 0 if all stopped in time. */
    public static void main(String[] arguments) throws Exception {
        IoFlusher.become();
        Console.configure();
        Path home = Path.of(System.getProperty("dblock.home", "dblock"))
                .toAbsolutePath()
                .normalize();
        Framework framework;
        try {
            makeFolders(home);
            if (!lock(home)) {
                System.err.println("dblock: another gateway runs in " + home + "; stop it, or choose another --home");
                System.exit(1);
            }
            framework = start(home);
        } catch (Exception e) { // of the framework too: half a gateway would run on, and nobody would restart it
            StringBuilder why = new StringBuilder("dblock: can't run in " + home);
            for (Throwable each = e; each != null; each = each.getCause())
                why.append(": ").append(each);
            System.err.println(why);
            failed = true;
            System.exit(1);
            return;
        }
        FrameworkEvent end = framework.waitForStop(0);
        failed |= end.getType() == FrameworkEvent.ERROR;
        System.exit(0); // the shutdown hook knows the status
    }

    /** A new home is its owner's only, and so are the sockets in any home. */
    private static void makeFolders(Path home) throws IOException {
        var owner = PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------"));
        Files.createDirectories(home.getParent());
        if (!Files.exists(home)) Files.createDirectory(home, owner);
        boolean fresh = !Files.exists(home.resolve("etc"));
        for (String folder : List.of("etc", "deploy", "state/config", "volumes", "cache"))
            Files.createDirectories(home.resolve(folder));
        if (!Files.exists(home.resolve("sockets"))) Files.createDirectory(home.resolve("sockets"), owner);
        String defaults = System.getProperty("dblock.defaults");
        if (!fresh || defaults == null) return;
        try (Stream<Path> files = Files.list(Path.of(defaults))) {
            for (Path file : files.toList())
                Files.copy(file, home.resolve("etc").resolve(file.getFileName()));
        }
    }

    /** Keeps a second gateway out of this home. */
    private static boolean lock(Path home) throws IOException {
        Path file = home.resolve("state/lock");
        lock = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE)
                .tryLock();
        return lock != null;
    }

    private static Framework start(Path home) throws Exception {
        Map<String, String> configuration = new HashMap<>();
        configuration.put("dblock.home", home.toString());
        configuration.put(
                Constants.FRAMEWORK_STORAGE, home.resolve("cache/framework").toString());
        configuration.put(Constants.FRAMEWORK_STORAGE_CLEAN, Constants.FRAMEWORK_STORAGE_CLEAN_ONFIRSTINIT);
        // an update runs the new bundle beside the old one for a moment
        configuration.put(Constants.FRAMEWORK_BSNVERSION, Constants.FRAMEWORK_BSNVERSION_MULTIPLE);
        configuration.put(Constants.FRAMEWORK_BEGINNING_STARTLEVEL, Integer.toString(FOLDERS));
        configuration.put("gosh.home", home.toString());
        configuration.put("felix.cm.dir", home.resolve("state/config").toString());
        configuration.put("felix.fileinstall.dir", home.resolve("etc") + "," + home.resolve("deploy"));
        configuration.put("felix.fileinstall.poll", "300");
        configuration.put("felix.fileinstall.noInitialDelay", "true");
        configuration.put("felix.fileinstall.subdir.mode", "skip");
        configuration.put("felix.fileinstall.enableConfigSave", "false");
        configuration.put("felix.fileinstall.log.level", "3");
        configuration.put(
                "felix.fileinstall.tmpdir", home.resolve("cache/fileinstall").toString());

        Framework framework = ServiceLoader.load(FrameworkFactory.class)
                .findFirst()
                .orElseThrow()
                .newFramework(configuration);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(framework), "dblock shutdown"));
        framework.init();
        install(framework.getBundleContext());
        framework.start();
        if (Boolean.getBoolean("dblock.interactive")) startShell(framework.getBundleContext());
        return framework;
    }

    /** Starts the interactive shell, whose line editor finds its terminals only by the context class loader. */
    private static void startShell(BundleContext context) throws BundleException {
        Bundle shell = bundle(context, SHELL), editor = bundle(context, "org.jline");
        ClassLoader loader = Thread.currentThread().getContextClassLoader();
        Thread.currentThread()
                .setContextClassLoader(editor.adapt(BundleWiring.class).getClassLoader());
        try {
            shell.start();
        } finally {
            Thread.currentThread().setContextClassLoader(loader);
        }
    }

    private static Bundle bundle(BundleContext context, String name) {
        return Stream.of(context.getBundles())
                .filter(bundle -> name.equals(bundle.getSymbolicName()))
                .findFirst()
                .orElseThrow();
    }

    private static void install(BundleContext context) throws Exception {
        context.addFrameworkListener(Console::frameworkEvent);
        Path folder = Path.of(Main.class
                        .getProtectionDomain()
                        .getCodeSource()
                        .getLocation()
                        .toURI())
                .getParent();
        boolean interactive = Boolean.getBoolean("dblock.interactive");
        try (Stream<Path> jars = Files.list(folder)) {
            for (Path jar : jars.filter(file -> file.toString().endsWith(".jar"))
                    .sorted()
                    .toList()) {
                String name = jar.getFileName().toString();
                if (name.equals(FRAMEWORK) || (!interactive && name.contains("jline"))) continue;
                Bundle bundle = context.installBundle("reference:" + jar.toUri());
                bundle.adapt(BundleStartLevel.class).setStartLevel(level(bundle.getSymbolicName()));
                if (!bundle.getSymbolicName().equals(SHELL)) bundle.start();
            }
        }
    }

    private static int level(String name) {
        return switch (name) {
            case "org.dblock.dist", "org.apache.felix.scr" -> SERVICES;
            case "org.dblock.core" -> CORE;
            case "org.dblock.nbd", "org.dblock.shell", SHELL -> FRONT_ENDS;
            case "org.apache.felix.fileinstall" -> FOLDERS;
            default -> name.startsWith("org.dblock.backend.") ? BACKENDS : LIBRARIES;
        };
    }

    private static void stop(Framework framework) {
        int seconds = Integer.getInteger("dblock.stop.seconds", 30);
        try {
            framework.stop();
            if (framework.waitForStop(seconds * 1000L).getType() == FrameworkEvent.WAIT_TIMEDOUT) {
                System.err.println("dblock: not everything stopped within " + seconds + " s; leaving all the same");
                failed = true;
            }
        } catch (BundleException | InterruptedException e) {
            System.err.println("dblock: " + e);
            failed = true;
        }
        // a signal's default status is 128 and more, which a service supervisor takes for a failure
        Runtime.getRuntime().halt(failed ? 1 : 0);
    }
}
