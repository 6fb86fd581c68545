package org.dblock.dist;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The exported distribution as a process, in homes of its own. */
class DistributionTest {
    private static final Path SCRIPT =
            Path.of("../cnf/generated/dist/dblock/dblock").toAbsolutePath().normalize();
    /** A busy machine is slow, not wrong. */
    private static final int SECONDS = 60;

    @TempDir
    Path folder;

    private Path home;
    private Path log;
    private Process gateway;

    @BeforeAll
    static void needsTheExport() {
        assertThat(SCRIPT).as("made by the goal export").isExecutable();
    }

    @BeforeEach
    void choosePlaces() {
        home = folder.resolve("home");
        log = folder.resolve("log");
    }

    @AfterEach
    void endTheGateway() throws Exception {
        if (gateway != null) gateway.destroyForcibly().waitFor();
    }

    @Test
    void aFreshHomeServesTheDemonstrationDeviceAndSaysHowToUseIt() throws Exception {
        start();

        try (NbdClient client = connect("demo")) {
            assertThat(client.size()).isEqualTo(1 << 30);
            byte[] block = block(1);
            client.write(4096, block);
            assertThat(client.read(4096, 4096)).isEqualTo(block);
        }
        awaitLog("nbdinfo 'nbd+unix:///demo?socket=" + home.resolve("sockets/nbd.sock") + "'");
        assertThat(home.resolve("etc/org.dblock.device-demo.config")).exists();
    }

    @Test
    void theConsoleShowsNoWarning() throws Exception {
        start();
        connect("demo").close();
        assertThat(command("list").status()).isZero();
        stop();

        assertThat(Files.readString(log)).doesNotContainIgnoringCase("warn").doesNotContain("Exception", "ERROR");
    }

    @Test
    void aNewHomeAndItsSocketsAreTheirOwnersOnly() throws Exception {
        start();
        connect("demo").close();

        assertThat(permissions("")).isEqualTo("rwx------");
        assertThat(permissions("sockets")).isEqualTo("rwx------");
        assertThat(permissions("sockets/nbd.sock")).isEqualTo("rw-------");
        assertThat(permissions("sockets/shell.sock")).isEqualTo("rw-------");
    }

    @Test
    void aDeviceThatACommandMadeIsThereAgainAfterARestartWithItsContents() throws Exception {
        start();
        mustSucceed("create", "kept", "file", "16M");
        byte[] block = block(2);
        try (NbdClient client = connect("kept")) {
            client.write(8192, block);
        }
        stop();
        start();

        try (NbdClient client = connect("kept")) {
            assertThat(client.read(8192, 4096)).isEqualTo(block);
        }
    }

    @Test
    void afterAKillEveryAcknowledgedWriteIsThere() throws Exception {
        start();
        mustSucceed("create", "kept", "file", "16M");
        try (NbdClient client = connect("kept")) {
            for (int i = 0; i < 256; i++) client.write(i * 4096L, block(i));
            gateway.destroyForcibly().waitFor();
        }
        start();

        try (NbdClient client = connect("kept")) {
            for (int i = 0; i < 256; i++)
                assertThat(client.read(i * 4096L, 4096)).as("block " + i).isEqualTo(block(i));
        }
    }

    @Test
    void aDeletedDefinitionIsForgottenAlsoIfNothingRanWhenItWasDeleted() throws Exception {
        start();
        connect("demo").close();
        stop();
        Files.delete(home.resolve("etc/org.dblock.device-demo.config"));
        start();

        mustSucceed("create", "other", "ramdisk", "1M"); // so all devices that are configured are known
        assertThat(mustSucceed("list")).contains("other").doesNotContain("demo");
        assertThat(home.resolve("etc/org.dblock.device-demo.config")).doesNotExist();
    }

    @Test
    void aFileInEtcMakesADeviceAndItsDeletionRemovesIt() throws Exception {
        start();
        connect("demo").close();
        Path file = home.resolve("etc/org.dblock.device-byfile.config");
        Files.writeString(file, "name=\"byfile\"\nbackend=\"ramdisk\"\nsize=\"2M\"\nexports=[\"nbd\"]\n", UTF_8);
        connect("byfile").close();

        Files.delete(file);

        long deadline = deadline();
        while (mustSucceed("list").contains("byfile"))
            if (System.nanoTime() > deadline) fail("it is still listed: " + mustSucceed("list"));
    }

    @Test
    void anUnknownCommandFailsWithItsNameAndAnotherStatus() throws Exception {
        start();
        connect("demo").close();

        Result result = command("frobnicate");
        assertThat(result.status()).isNotZero();
        assertThat(result.text()).contains("frobnicate");
    }

    @Test
    void aCommandWithoutAGatewaySaysHowToStartOne() throws Exception {
        Result result = command("list");
        assertThat(result.status()).isNotZero();
        assertThat(result.text()).contains("dblock run --home " + home);
    }

    @Test
    void aSecondGatewayInTheSameHomeIsRefused() throws Exception {
        start();
        connect("demo").close();

        Process second = process("run", "--home", home.toString());
        String text = new String(second.getInputStream().readAllBytes(), UTF_8);
        assertThat(second.waitFor()).isNotZero();
        assertThat(text).contains("another gateway runs in " + home);
        connect("demo").close();
    }

    @Test
    void aGatewayThatCannotStartSaysWhyAndFails() throws Exception {
        Files.createDirectories(home.resolve("cache"));
        Files.createFile(home.resolve("cache/framework")); // a folder, elsewhere
        start();

        assertThat(gateway.waitFor(SECONDS, TimeUnit.SECONDS)).as("ends").isTrue();
        assertThat(gateway.exitValue()).isEqualTo(1);
        assertThat(Files.readString(log)).contains("dblock: can't run in " + home, "cache/framework");
    }

    private void start() throws IOException {
        gateway = new ProcessBuilder(SCRIPT.toString(), "run", "--home", home.toString())
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()))
                .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
                .start();
    }

    private void stop() throws Exception {
        gateway.destroy();
        assertThat(gateway.waitFor(SECONDS, TimeUnit.SECONDS))
                .as("ended in time")
                .isTrue();
        assertThat(gateway.exitValue()).as(Files.readString(log)).isZero();
    }

    /** Waits until an export is served. */
    private NbdClient connect(String export) throws Exception {
        long deadline = deadline();
        while (true) {
            try {
                return new NbdClient(home.resolve("sockets/nbd.sock"), export);
            } catch (IOException e) {
                if (!gateway.isAlive() || System.nanoTime() > deadline)
                    throw new AssertionError("no export " + export + "; the log: " + Files.readString(log), e);
                Thread.sleep(20);
            }
        }
    }

    private void awaitLog(String text) throws Exception {
        long deadline = deadline();
        while (!Files.readString(log).contains(text)) {
            if (System.nanoTime() > deadline) fail("'" + text + "' is not in the log: " + Files.readString(log));
            Thread.sleep(20);
        }
    }

    private static long deadline() {
        return System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
    }

    /** Sends a command as soon as the gateway takes it. */
    private String mustSucceed(String... words) throws Exception {
        long deadline = deadline();
        while (!Files.exists(home.resolve("sockets/shell.sock")) && System.nanoTime() < deadline) Thread.sleep(20);
        Result result = command(words);
        assertThat(result.status())
                .as(String.join(" ", words) + ": " + result.text())
                .isZero();
        return result.text();
    }

    private Result command(String... words) throws Exception {
        Process process = process(words);
        String text = new String(process.getInputStream().readAllBytes(), UTF_8);
        return new Result(process.waitFor(), text);
    }

    private Process process(String... words) throws IOException {
        List<String> command = new ArrayList<>(List.of(SCRIPT.toString()));
        command.addAll(Arrays.asList(words));
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().put("DBLOCK_HOME", home.toString());
        return builder.redirectInput(
                        ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
                .start();
    }

    private String permissions(String name) throws IOException {
        return PosixFilePermissions.toString(Files.getPosixFilePermissions(home.resolve(name)));
    }

    private static byte[] block(int number) {
        byte[] block = new byte[4096];
        Arrays.fill(block, (byte) (number * 37 + 1));
        return block;
    }

    private record Result(int status, String text) {}
}
