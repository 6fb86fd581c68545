package org.dblock.shell;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import java.util.stream.Stream;
import org.dblock.api.BlockStore;
import org.dblock.api.device.Backend;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleEvent;
import org.osgi.framework.FrameworkUtil;
import org.osgi.framework.SynchronousBundleListener;
import org.osgi.framework.launch.Framework;
import org.osgi.framework.launch.FrameworkFactory;

/** Installing, updating and removing backends in a framework that watches its deploy folder. */
@Timeout(240)
class BundleCommandsTest {
    @TempDir
    Path home;

    @TempDir
    Path elsewhere;

    private final FakeDevices devices = new FakeDevices();
    private Framework framework;
    private Commands commands;

    @BeforeEach
    void start() throws Exception {
        Files.createDirectories(home.resolve("deploy"));
        Map<String, String> configuration = new HashMap<>();
        configuration.put(
                "org.osgi.framework.storage", home.resolve("cache/framework").toString());
        configuration.put("org.osgi.framework.bsnversion", "multiple"); // as the distribution's
        configuration.put("felix.fileinstall.dir", home.resolve("deploy").toString());
        configuration.put("felix.fileinstall.poll", "100");
        configuration.put(
                "felix.fileinstall.tmpdir", home.resolve("cache/fileinstall").toString());
        configuration.put("felix.fileinstall.noInitialDelay", "true");
        framework = ServiceLoader.load(FrameworkFactory.class)
                .findFirst()
                .orElseThrow()
                .newFramework(configuration);
        framework.start();
        framework.getBundleContext().addBundleListener((SynchronousBundleListener) event -> {
            Bundle bundle = event.getBundle();
            if (event.getType() == BundleEvent.STARTED
                    && !bundle.getSymbolicName().equals("test.core")
                    && bundle.getSymbolicName().startsWith("test."))
                bundle.getBundleContext()
                        .registerService(
                                Runnable.class,
                                () -> {},
                                FrameworkUtil.asDictionary(Map.of(BlockStore.BACKEND, bundle.getSymbolicName())));
        });
        framework
                .getBundleContext()
                .installBundle(Class.forName("org.apache.felix.fileinstall.internal.FileInstall")
                        .getProtectionDomain()
                        .getCodeSource()
                        .getLocation()
                        .toString())
                .start();
        commands = new Commands(devices, framework.getBundleContext(), home);
    }

    @AfterEach
    void stop() throws Exception {
        framework.stop();
        framework.waitForStop(60_000);
    }

    private String run(String... words) throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        PrintStream stream = new PrintStream(out, true, StandardCharsets.UTF_8);
        commands.run(
                commands.find(words[0]),
                List.of(words).subList(1, words.length),
                stream,
                elsewhere,
                false,
                new CountDownLatch(1));
        return out.toString(StandardCharsets.UTF_8);
    }

    private void jar(String file, String headers) throws IOException {
        Manifest manifest = new Manifest(
                new java.io.ByteArrayInputStream(("Manifest-Version: 1.0\nBundle-ManifestVersion: 2\n" + headers + "\n")
                        .getBytes(StandardCharsets.UTF_8)));
        try (var jar = new JarOutputStream(Files.newOutputStream(elsewhere.resolve(file)), manifest)) {
            jar.flush();
        }
    }

    private List<String> installed() {
        return Arrays.stream(framework.getBundleContext().getBundles())
                .filter(b -> b.getSymbolicName().startsWith("test."))
                .map(b -> b.getSymbolicName() + " " + b.getVersion() + (b.getState() == Bundle.ACTIVE ? "" : " down"))
                .toList();
    }

    private List<String> leftInCache() throws IOException {
        try (Stream<Path> files = Files.list(home.resolve("cache"))) {
            return files.map(f -> f.getFileName().toString())
                    .filter(f -> f.endsWith(".jar"))
                    .toList();
        }
    }

    @Test
    void aBackendIsInstalledUpdatedAndRemoved() throws Exception {
        jar("one.jar", "Bundle-SymbolicName: test.my;singleton:=true\nBundle-Version: 1.0.0\n");
        jar("two.jar", "Bundle-SymbolicName: test.my\nBundle-Version: 2.0.0\n");
        devices.backends.add(new Backend("my", "test.my", "1.0.0", "", List.of()));

        assertThat(run("install-backend", "one.jar")).isEqualTo("installed test.my 1.0.0, backend my\n");
        assertThat(installed()).containsExactly("test.my 1.0.0");
        assertThatThrownBy(() -> run("install-backend", "two.jar"))
                .hasMessage("test.my 1.0.0 is installed already: update-backend replaces it");

        assertThat(run("update-backend", elsewhere.resolve("two.jar").toString()))
                .isEqualTo("updated test.my 2.0.0, backend my\n");
        assertThat(installed()).containsExactly("test.my 2.0.0");

        assertThat(run("remove-backend", "my")).isEqualTo("removed test.my\n");
        assertThat(installed()).isEmpty();
        assertThat(leftInCache()).isEmpty();
    }

    /** A jar in the watched folder, and one of the distribution. */
    @Test
    void aJarThatDoesNotRunIsRefusedAndTheOldOneStays() throws Exception {
        jar("good.jar", "Bundle-SymbolicName: test.my\nBundle-Version: 1.0.0\n");
        jar("bad.jar", "Bundle-SymbolicName: test.my\nBundle-Version: 1.0.0\nRequire-Bundle: absent\n");
        framework
                .getBundleContext()
                .installBundle("dist", Files.newInputStream(elsewhere.resolve("good.jar")))
                .start();
        assertThatThrownBy(() -> run("update-backend", "bad.jar"))
                .hasMessageContaining("test.my 1.0.0 doesn't run, so the old one stays")
                .hasMessageContaining("absent");
        assertThat(installed()).containsExactly("test.my 1.0.0");
        framework.getBundleContext().getBundle("dist").uninstall();

        run("install-backend", "good.jar");
        byte[] deployed = Files.readAllBytes(home.resolve("deploy/test.my.jar"));
        assertThatThrownBy(() -> run("update-backend", "bad.jar")).hasMessageContaining("so the old one stays");
        assertThat(installed()).containsExactly("test.my 1.0.0");
        assertThat(home.resolve("deploy/test.my.jar")).hasBinaryContent(deployed);
        assertThat(leftInCache()).isEmpty();
    }

    @Test
    void theOldBundleStopsOnlyWhenTheNewOneRuns() throws Exception {
        jar("part.jar", "Bundle-SymbolicName: test.part\nBundle-Version: 1.0.0\n");
        Bundle old =
                framework.getBundleContext().installBundle("dist", Files.newInputStream(elsewhere.resolve("part.jar")));
        old.start();
        List<String> events = new CopyOnWriteArrayList<>();
        framework.getBundleContext().addBundleListener((SynchronousBundleListener) event -> {
            if (event.getType() == BundleEvent.STARTED) events.add("started");
            if (event.getType() == BundleEvent.STOPPING) events.add("stopping " + (event.getBundle() == old));
        });
        run("update-backend", "part.jar");
        assertThat(events).containsExactly("started", "stopping true");
        assertThat(installed()).containsExactly("test.part 1.0.0");
    }

    @Test
    void theNameOfADeployedJarMayBeAny() throws Exception {
        jar("one.jar", "Bundle-SymbolicName: test.my\nBundle-Version: 1.0.0\n");
        jar("two.jar", "Bundle-SymbolicName: test.my\nBundle-Version: 2.0.0\n");
        Files.copy(elsewhere.resolve("one.jar"), home.resolve("deploy/my ä jar.jar"));
        while (installed().isEmpty()) Thread.sleep(50);
        assertThat(run("update-backend", "two.jar")).startsWith("updated test.my 2.0.0");
        assertThat(installed()).containsExactly("test.my 2.0.0");
        run("remove-backend", "test.my");
        assertThat(installed()).isEmpty();
    }

    @Test
    void twoUpdatesAtOnceLeaveOneBundle() throws Exception {
        jar("part.jar", "Bundle-SymbolicName: test.part\nBundle-Version: 1.0.0\n");
        framework
                .getBundleContext()
                .installBundle("dist", Files.newInputStream(elsewhere.resolve("part.jar")))
                .start();
        CountDownLatch both = new CountDownLatch(2);
        framework.getBundleContext().addBundleListener((SynchronousBundleListener) event -> {
            if (event.getType() != BundleEvent.STARTED) return;
            both.countDown();
            try {
                both.await(1, TimeUnit.SECONDS); // for the other one, if it doesn't wait for this
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        });
        List<Exception> failures = new CopyOnWriteArrayList<>();
        List<Thread> updates = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            Thread update = new Thread(() -> {
                try {
                    run("update-backend", "part.jar");
                } catch (Exception e) {
                    failures.add(e);
                }
            });
            update.start();
            updates.add(update);
        }
        for (Thread each : updates) each.join();
        assertThat(failures).isEmpty();
        assertThat(installed()).containsExactly("test.part 1.0.0");
    }

    /** Two cores at a time would both serve each device. */
    @Test
    void whatIsNoBackendIsUpdatedInPlace() throws Exception {
        for (String version : List.of("1.0.0", "1.1.0")) {
            jar("core.jar", "Bundle-SymbolicName: test.core\nBundle-Version: 1.0.0\n");
            Bundle core = framework
                    .getBundleContext()
                    .installBundle("dist", Files.newInputStream(elsewhere.resolve("core.jar")));
            core.start();
            List<String> events = new CopyOnWriteArrayList<>();
            SynchronousBundleListener listener = event -> {
                if (event.getType() == BundleEvent.STARTED) events.add("started " + (event.getBundle() == core));
                if (event.getType() == BundleEvent.STOPPING) events.add("stopping " + (event.getBundle() == core));
            };
            framework.getBundleContext().addBundleListener(listener);
            jar("core.jar", "Bundle-SymbolicName: test.core\nBundle-Version: " + version + "\n");
            run("update-backend", "core.jar");
            framework.getBundleContext().removeBundleListener(listener);
            assertThat(events).containsExactly("stopping true", "started true");
            assertThat(installed()).containsExactly("test.core " + version);
            core.uninstall();
        }
    }

    @Test
    void aJarIsTakenFromAUrl() throws Exception {
        jar("one.jar", "Bundle-SymbolicName: test.url\n");
        devices.backends.add(new Backend("url", "test.url", "0.0.0", "", List.of()));
        assertThat(run("install-backend", elsewhere.resolve("one.jar").toUri().toString()))
                .isEqualTo("installed test.url 0.0.0, backend url\n");
    }

    @Test
    void aJarThatBringsNoBackendIsReported() throws Exception {
        jar("one.jar", "Bundle-SymbolicName: test.nothing\n");
        assertThat(run("install-backend", "one.jar")).endsWith("it has brought no backend so far\n");
    }

    @Test
    void aBundleOfTheDistributionIsUpdatedInPlaceOrBesideItself() throws Exception {
        jar("part.jar", "Bundle-SymbolicName: test.part\nBundle-Version: 1.0.0\n");
        framework
                .getBundleContext()
                .installBundle("dist", Files.newInputStream(elsewhere.resolve("part.jar")))
                .start();
        assertThat(run("update-backend", "part.jar")).startsWith("updated, until the gateway ends, test.part 1.0.0");
        jar("part.jar", "Bundle-SymbolicName: test.part\nBundle-Version: 1.1.0\n");
        assertThat(run("update-backend", "part.jar")).startsWith("installed beside 1.0.0: test.part 1.1.0");
        assertThat(installed()).containsExactlyInAnyOrder("test.part 1.0.0", "test.part 1.1.0");
        assertThat(run("remove-backend", "test.part")).isEqualTo("removed test.part\n");
        assertThatThrownBy(() -> run("remove-backend", "test.part")).hasMessageContaining("part of the distribution");
    }

    @Test
    void whatIsNoBackendIsRefused() throws Exception {
        Files.writeString(elsewhere.resolve("text.jar"), "no zip");
        jar("plain.jar", "X: y\n");
        jar("new.jar", "Bundle-SymbolicName: test.new\n");
        assertThatThrownBy(() -> run("install-backend", "absent.jar"))
                .hasMessage("no file " + elsewhere.resolve("absent.jar"));
        assertThatThrownBy(() -> run("install-backend", "text.jar")).hasMessageContaining("text.jar is no jar");
        assertThatThrownBy(() -> run("install-backend", "plain.jar"))
                .hasMessage("plain.jar is no OSGi bundle: its manifest has no Bundle-SymbolicName");
        assertThatThrownBy(() -> run("update-backend", "new.jar"))
                .hasMessage("test.new isn't installed: install-backend does that");
        assertThatThrownBy(() -> run("remove-backend", "fill")).hasMessage("no backend 'fill': did you mean file?");
        assertThat(leftInCache()).isEmpty();
    }
}
