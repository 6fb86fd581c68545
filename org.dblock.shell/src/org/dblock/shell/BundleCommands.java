package org.dblock.shell;

import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.jar.JarFile;
import java.util.jar.Manifest;
import java.util.stream.Stream;
import org.dblock.api.BlockException;
import org.dblock.api.BlockStore;
import org.dblock.api.Reason;
import org.dblock.api.device.Backend;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;
import org.osgi.framework.BundleException;
import org.osgi.framework.Constants;
import org.osgi.framework.ServiceReference;
import org.osgi.framework.Version;
import org.osgi.framework.wiring.FrameworkWiring;

/**
 * The commands that install, update and remove the bundles of backends: they move jars into and out of the folder that
 * the gateway watches, so a jar put there by hand is the same thing. One at a time: of two updates, each would leave
 * its new bundle to the other.
 */
final class BundleCommands {
    /** How long the watcher and the framework may take until a bundle runs. */
    private static final long PATIENCE_SECONDS = 30;

    private static final String SINGLETON = Constants.SINGLETON_DIRECTIVE + ":=true";

    private final Gateway gateway;
    private final BundleContext context;
    private final Path deploy;
    private final Path cache;

    BundleCommands(Gateway gateway, BundleContext context, Path home) {
        this.gateway = gateway;
        this.context = context;
        deploy = home.resolve("deploy");
        cache = home.resolve("cache");
    }

    List<Command> commands() {
        Parameter jar = Parameter.argument("JAR", Type.text("FILE|URL"), "the backend's bundle: a file or a URL");
        return List.of(
                Command.of("install-backend", "Install a backend from its jar", this::install)
                        .with(jar)
                        .withExample("install-backend ./my-backend.jar"),
                Command.of("update-backend", "Replace a backend's bundle while its devices wait", this::update)
                        .with(jar)
                        .withExample("update-backend ./my-backend.jar"),
                Command.of("remove-backend", "Remove a backend that was installed; its devices park", this::remove)
                        .with(Parameter.argument("BACKEND", gateway.backendName(), "its name, or its bundle's"))
                        .withExample("remove-backend my"));
    }

    private synchronized void install(Call call) throws Exception {
        try (Download jar = Download.of(call, cache)) {
            Optional<Bundle> there = bundle(jar.name);
            if (there.isPresent())
                throw new BlockException(
                        Reason.EXISTS,
                        jar.name + " " + there.get().getVersion()
                                + " is installed already: update-backend replaces it");
            deploy(call, jar, deploy.resolve(jar.name + ".jar"), "installed");
        }
    }

    private synchronized void update(Call call) throws Exception {
        try (Download jar = Download.of(call, cache)) {
            Bundle old = bundle(jar.name)
                    .orElseThrow(() -> new BlockException(
                            Reason.NOT_FOUND, jar.name + " isn't installed: install-backend does that"));
            Optional<Path> file = deployed(jar.name);
            if (file.isEmpty() && hasBackend(old) && !old.getVersion().equals(jar.version)) {
                deploy(call, jar, deploy.resolve(jar.name + ".jar"), "installed beside " + old.getVersion() + ":");
                return;
            }
            Optional<Bundle> next = startBeside(jar, old);
            if (file.isPresent()) {
                try {
                    deploy(call, jar, file.get(), "updated");
                } finally {
                    if (next.isPresent()) remove(next.get());
                }
                return;
            }
            // part of the distribution
            if (next.isPresent()) {
                remove(old);
            } else {
                try (InputStream in = Files.newInputStream(jar.file)) {
                    old.update(in);
                }
            }
            started(call, jar, "updated, until the gateway ends,", next.orElse(old));
        }
    }

    /**
     * Starts the new bundle while the old one serves: what doesn't run is refused, and devices wait no longer than
     * their volumes take to change hands. Empty where the framework doesn't allow both, and for what is no backend,
     * such as core, of which there can't be two at work: those are updated in place.
     */
    private Optional<Bundle> startBeside(Download jar, Bundle old) throws Exception {
        if (!hasBackend(old)
                || jar.singleton
                || old.getHeaders("").get(Constants.BUNDLE_SYMBOLICNAME).contains(SINGLETON)) return Optional.empty();
        Bundle next;
        try (InputStream in = Files.newInputStream(jar.file)) {
            next = context.installBundle("dblock:" + jar.name + ":" + UUID.randomUUID(), in);
        } catch (BundleException e) {
            if (e.getType() == BundleException.DUPLICATE_BUNDLE_ERROR) return Optional.empty();
            throw e;
        }
        String problem = "";
        try {
            next.start();
            if (!waited(() -> hasBackend(next))) problem = "it brings no backend";
        } catch (BundleException e) {
            problem = e.getMessage();
        }
        if (problem.isEmpty()) return Optional.of(next);
        remove(next);
        throw new BlockException(
                Reason.INVALID, jar.name + " " + jar.version + " doesn't run, so the old one stays: " + problem);
    }

    private static boolean hasBackend(Bundle bundle) {
        ServiceReference<?>[] services = bundle.getRegisteredServices();
        return services != null
                && Stream.of(services).anyMatch(service -> service.getProperty(BlockStore.BACKEND) != null);
    }

    /** Uninstalls a bundle with its classes. */
    private void remove(Bundle bundle) throws BundleException {
        bundle.uninstall();
        context.getBundle(Constants.SYSTEM_BUNDLE_LOCATION)
                .adapt(FrameworkWiring.class)
                .refreshBundles(Set.of(bundle));
    }

    private synchronized void remove(Call call) throws Exception {
        String name = call.arguments().text("BACKEND");
        String symbolicName = gateway.devices().backends().stream()
                .filter(b -> b.name().equals(name))
                .map(Backend::bundle)
                .findFirst()
                .orElse(name);
        Optional<Path> file = deployed(symbolicName);
        if (file.isPresent()) {
            Files.delete(file.get());
            if (!waited(() -> bundlesFrom(file.get()).findAny().isEmpty()))
                throw new BlockException(
                        Reason.TIMED_OUT,
                        file.get() + " is deleted, but " + symbolicName + " is still there: does the gateway watch "
                                + deploy + "?");
            call.say("removed " + symbolicName);
        } else if (bundle(symbolicName).isPresent()) {
            throw new BlockException(
                    Reason.UNSUPPORTED,
                    symbolicName + " is part of the distribution: only what is in " + deploy + " is removed");
        } else {
            throw new BlockException(
                    Reason.NOT_FOUND,
                    Names.unknown(
                            "backend",
                            name,
                            gateway.devices().backends().stream()
                                    .map(Backend::name)
                                    .toList()));
        }
    }

    /** Moves the jar to where it is watched for, in one step, so that nobody sees half of it. */
    private void deploy(Call call, Download jar, Path target, String done) throws Exception {
        Files.createDirectories(deploy);
        long before =
                bundlesFrom(target).mapToLong(Bundle::getLastModified).max().orElse(-1);
        Files.move(jar.file, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        if (!waited(() -> bundlesFrom(target).anyMatch(b -> b.getLastModified() > before)))
            throw new BlockException(
                    Reason.TIMED_OUT,
                    target + " is there, but nobody installed it: does the gateway watch " + deploy + "?");
        started(call, jar, done, bundlesFrom(target).findAny().orElseThrow());
    }

    /** Waits until the jar's bundle runs, and says what it brought or what it lacks. */
    private void started(Call call, Download jar, String done, Bundle bundle) throws Exception {
        if (!waited(
                () -> bundle.getState() == Bundle.ACTIVE && bundle.getVersion().equals(jar.version))) {
            String why = "it did not start in " + PATIENCE_SECONDS + " s";
            try {
                bundle.start();
            } catch (BundleException e) {
                why = e.getMessage();
            }
            throw new BlockException(
                    Reason.IO, jar.name + " " + jar.version + " is installed, but doesn't run: " + why);
        }
        List<String> names = List.of();
        for (int i = 0; i < 20 && names.isEmpty(); i++) { // its service may follow a moment later
            names = gateway.devices().backends().stream()
                    .filter(b -> b.bundle().equals(jar.name))
                    .map(Backend::name)
                    .toList();
            if (names.isEmpty()) Thread.sleep(100);
        }
        call.say(done + " " + jar.name + " " + jar.version
                + (names.isEmpty() ? "; it has brought no backend so far" : ", backend " + String.join(", ", names)));
    }

    /** The jar in the watched folder that holds the bundle. */
    private Optional<Path> deployed(String symbolicName) throws IOException {
        if (!Files.isDirectory(deploy)) return Optional.empty();
        try (Stream<Path> files = Files.list(deploy)) {
            for (Path file : files.filter(f -> f.toString().endsWith(".jar")).toList()) {
                try {
                    if (Download.symbolicName(file).equals(symbolicName)) return Optional.of(file);
                } catch (IOException e) {
                    // somebody else's broken jar
                }
            }
        }
        return Optional.empty();
    }

    private Optional<Bundle> bundle(String symbolicName) {
        return bundles().filter(b -> symbolicName.equals(b.getSymbolicName())).findFirst();
    }

    private Stream<Bundle> bundlesFrom(Path file) {
        String path = file.toFile().toURI().getRawPath(); // as the watcher writes it
        String end = path.substring(path.lastIndexOf('/'));
        return bundles()
                .filter(b ->
                        b.getLocation().startsWith("file:") && b.getLocation().endsWith(end));
    }

    private Stream<Bundle> bundles() {
        return Arrays.stream(context.getBundles());
    }

    private interface Condition {
        boolean holds();
    }

    private static boolean waited(Condition condition) throws InterruptedException {
        long end = System.nanoTime() + PATIENCE_SECONDS * 1_000_000_000;
        while (!condition.holds()) {
            if (System.nanoTime() > end) return false;
            Thread.sleep(50);
        }
        return true;
    }

    /**
     * A copy of the jar that the caller named, in the gateway's cache, which is on the same file system as the target.
     */
    private static final class Download implements AutoCloseable {
        final Path file;
        final String name;
        final Version version;
        final boolean singleton;

        private Download(Path file, Manifest manifest) {
            this.file = file;
            singleton = manifest.getMainAttributes()
                    .getValue(Constants.BUNDLE_SYMBOLICNAME)
                    .contains(SINGLETON);
            name = symbolicName(manifest);
            version = Version.parseVersion(manifest.getMainAttributes().getValue(Constants.BUNDLE_VERSION));
        }

        static Download of(Call call, Path cache) throws IOException {
            String source = call.arguments().text("JAR");
            Files.createDirectories(cache);
            Path copy = Files.createTempFile(cache, "install", ".jar");
            try {
                try (InputStream in = open(source, call.folder())) {
                    Files.copy(in, copy, StandardCopyOption.REPLACE_EXISTING);
                }
                return new Download(copy, manifest(copy, source));
            } catch (IOException | RuntimeException e) {
                Files.deleteIfExists(copy);
                throw e;
            }
        }

        private static InputStream open(String source, Path folder) throws IOException {
            if (source.matches("(?i)(https?|file):.*"))
                return URI.create(source).toURL().openStream();
            Path file = folder.resolve(source).normalize();
            if (!Files.isRegularFile(file)) throw new BlockException(Reason.NOT_FOUND, "no file " + file);
            return Files.newInputStream(file);
        }

        static String symbolicName(Path file) throws IOException {
            return symbolicName(manifest(file, file.toString()));
        }

        private static String symbolicName(Manifest manifest) {
            return manifest.getMainAttributes()
                    .getValue(Constants.BUNDLE_SYMBOLICNAME)
                    .split(";")[0]
                    .strip();
        }

        private static Manifest manifest(Path file, String source) throws IOException {
            try (JarFile jar = new JarFile(file.toFile())) {
                Manifest manifest = jar.getManifest();
                if (manifest != null && manifest.getMainAttributes().getValue(Constants.BUNDLE_SYMBOLICNAME) != null)
                    return manifest;
            } catch (java.util.zip.ZipException e) {
                throw new BlockException(Reason.INVALID, source + " is no jar: " + e.getMessage(), e);
            }
            throw new BlockException(
                    Reason.INVALID,
                    source + " is no OSGi bundle: its manifest has no " + Constants.BUNDLE_SYMBOLICNAME);
        }

        @Override
        public void close() throws IOException {
            Files.deleteIfExists(file);
        }
    }
}
