package org.dblock.shell;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.apache.felix.gogo.runtime.CommandProcessorImpl;
import org.apache.felix.gogo.runtime.threadio.ThreadIOImpl;
import org.dblock.dist.Client;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What {@code ./dblock COMMAND …} does, from its words to its status. */
@Timeout(120)
class ClientTest {
    private static final ThreadIOImpl threadIo = new ThreadIOImpl();

    @TempDir
    Path home;

    private final CommandProcessorImpl processor = new CommandProcessorImpl(threadIo);
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();
    private final ByteArrayOutputStream err = new ByteArrayOutputStream();
    private FakeDevices devices;
    private ShellSocket socket;

    @BeforeAll
    static void divertSystemOut() {
        threadIo.start();
    }

    @AfterAll
    static void restoreSystemOut() {
        threadIo.stop();
    }

    @BeforeEach
    void listen() throws IOException {
        devices = FakeDevices.withDemo();
        Commands commands = new Commands(devices, null, home);
        for (Command command : commands.all())
            processor.addCommand(
                    "dblock",
                    (org.apache.felix.service.command.Function) (s, words) -> commands.run(command, s, words),
                    command.name());
        socket = new ShellSocket(home, processor, threadIo, 60_000);
    }

    @AfterEach
    void close() throws Exception {
        socket.deactivate();
        processor.stop();
    }

    private int run(InputStream in, String... words) {
        out.reset();
        err.reset();
        return Client.run(home, List.of(words), in, new PrintStream(out), new PrintStream(err));
    }

    private int run(String... words) {
        return run(InputStream.nullInputStream(), words);
    }

    private static String text(ByteArrayOutputStream bytes) {
        return bytes.toString(StandardCharsets.UTF_8);
    }

    @Test
    void aCommandIsDone() {
        assertThat(run("create", "x", "file", "10G", "--volume", "it's $a | b.img"))
                .isZero();
        assertThat(text(out)).isEqualTo("created x, 10G on file\n  nbd://x\n");
        assertThat(text(err)).isEmpty();
        assertThat(devices.devices.get("x").spec().volume()).isEqualTo("it's $a | b.img");
    }

    @Test
    void failuresGoToTheErrorOutputAndTheStatus() {
        assertThat(run("info", "dmeo")).isEqualTo(1);
        assertThat(text(err)).isEqualTo("dblock: no device 'dmeo': did you mean demo?\n");
        assertThat(text(out)).isEmpty();
        assertThat(run("info")).isEqualTo(2);
        assertThat(text(err)).isEqualTo("dblock: info: NAME is missing: the device\nUsage: info NAME [--json]\n");
        assertThat(run()).isEqualTo(2);
    }

    @Test
    void aLineIsRunByGogo() {
        assertThat(run("-c", "x = demo; info $x --json")).isZero();
        assertThat(text(out)).startsWith("{\"name\":\"demo\"");
        assertThat(run("-c", "list", "demo")).isEqualTo(2);
    }

    @Test
    void aShellRunsLinesInOneSession() {
        InputStream lines = new ByteArrayInputStream(
                "x = demo\n\npark $x\nresume $x\nexit\nlist\n".getBytes(StandardCharsets.UTF_8));
        assertThat(run(lines, "shell")).isZero();
        assertThat(text(out)).contains("demo is parked", "demo is online").doesNotContain("NAME");
        assertThat(run(new ByteArrayInputStream("list\ninfo x".getBytes(StandardCharsets.UTF_8)), "shell"))
                .isEqualTo(1);
    }

    @Test
    void aCommandThatIsTooLongIsRefused() {
        assertThat(run("info", "x".repeat(70_000))).isEqualTo(2);
        assertThat(text(err)).contains("at most 65536");
    }

    @Test
    void withoutAGatewayItSaysHowToStartOne() throws Exception {
        socket.deactivate();
        assertThat(run("list")).isEqualTo(3);
        assertThat(text(err)).contains("no gateway answers at " + home, "no such file", "dblock run --home " + home);
        listen();
    }

    @Test
    void aGatewayThatEndsMeanwhileIsReported() throws Exception {
        socket.deactivate();
        Path path = home.resolve("sockets/shell.sock");
        try (ServerSocketChannel dying = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            dying.bind(UnixDomainSocketAddress.of(path));
            Thread end = new Thread(() -> {
                try (var client = dying.accept()) {
                    client.read(java.nio.ByteBuffer.allocate(1000));
                } catch (IOException e) {
                    throw new AssertionError(e);
                }
            });
            end.start();
            assertThat(run("list")).isEqualTo(3);
            end.join();
        }
        assertThat(text(err)).startsWith("dblock: ").contains("gateway");
        Files.delete(path);
        listen();
    }
}
