package org.dblock.shell;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.felix.gogo.runtime.CommandProcessorImpl;
import org.apache.felix.gogo.runtime.threadio.ThreadIOImpl;
import org.apache.felix.service.command.Function;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The shell's socket, with real Gogo behind it. */
@Timeout(120)
class ShellSocketTest {
    @TempDir
    Path home;

    private static final ThreadIOImpl threadIo = new ThreadIOImpl();

    private final CommandProcessorImpl processor = new CommandProcessorImpl(threadIo);
    private final CountDownLatch slow = new CountDownLatch(1);
    private final CountDownLatch slowEntered = new CountDownLatch(1);
    private final CountDownLatch slowUninterrupted = new CountDownLatch(1);
    private Path path;
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
        Commands commands = new Commands(FakeDevices.withDemo(), null, home);
        for (Command command : commands.all()) add(command.name(), (s, words) -> commands.run(command, s, words));
        add("echo", (session, words) -> {
            System.out.println(words);
            System.err.println("folder " + session.currentDir());
            return null;
        });
        add("big", (session, words) -> "x".repeat(1_000_000));
        add("fail", (session, words) -> {
            throw new IllegalStateException("on purpose");
        });
        add("slow", (session, words) -> {
            slowEntered.countDown();
            slow.await();
            slowUninterrupted.countDown();
            return "done";
        });
        socket = new ShellSocket(home, processor, threadIo, 60_000);
        path = home.resolve("sockets/shell.sock");
    }

    private void add(String name, Function function) {
        processor.addCommand("dblock", function, name);
    }

    @AfterEach
    void close() throws Exception {
        slow.countDown();
        socket.deactivate();
        processor.stop();
    }

    @Test
    void onlyTheOwnerMayConnect() throws IOException {
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(path)))
                .isEqualTo("rw-------");
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(path.getParent())))
                .isEqualTo("rwx------");
    }

    @Test
    void aFolderThatIsOpenToOthersIsClosed(@TempDir Path other) throws Exception {
        Files.createDirectory(other.resolve("sockets"));
        Files.setPosixFilePermissions(other.resolve("sockets"), PosixFilePermissions.fromString("rwxrwxrwx"));
        new ShellSocket(other, processor, threadIo, 60_000).deactivate();
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(other.resolve("sockets"))))
                .isEqualTo("rwx------");
    }

    @Test
    void aSecondGatewayIsRefusedAndTheFirstServesOn() throws IOException {
        assertThatThrownBy(() -> new ShellSocket(home, processor, threadIo, 60_000))
                .hasMessageContaining("another gateway serves " + path.getParent());
        assertThat(new Peer().ask("version").status).isZero();
    }

    @Test
    void aStaleSocketIsReplaced(@TempDir Path other) throws Exception {
        Files.createDirectories(other.resolve("sockets"));
        try (ServerSocketChannel died = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            died.bind(UnixDomainSocketAddress.of(other.resolve("sockets/shell.sock")));
        }
        assertThat(other.resolve("sockets/shell.sock")).exists();
        ShellSocket next = new ShellSocket(other, processor, threadIo, 60_000);
        path = other.resolve("sockets/shell.sock");
        assertThat(new Peer().ask("version").status).isZero();
        next.deactivate();
        assertThat(path).doesNotExist();
    }

    @Test
    void aPathThatIsTooLongIsExplained() {
        Path deep = home.resolve("x".repeat(100));
        assertThatThrownBy(() -> new ShellSocket(deep, processor, threadIo, 60_000))
                .hasMessageContaining("longer than the 107 bytes");
    }

    @Test
    void wordsArriveAsTheyAre() throws IOException {
        List<String> words = List.of(
                "", " a  b ", "'", "\"x", "$HOME", "a|b", "{", "(1+2)", "*", "~", "a=b", "#", "--", "ü😀", "\n", ";");
        List<String> call = new ArrayList<>(List.of("echo"));
        call.addAll(words);
        assertThat(new Peer().ask(call.toArray(String[]::new)).out).isEqualTo(words + "\n");
    }

    @Test
    void outputErrorsAndStatusAreKeptApart() throws IOException {
        try (Peer peer = new Peer()) {
            peer.send('C', words("/some/where", ""));
            assertThat(peer.ask("echo", "a")).isEqualTo(new Answer("[a]\n", "folder /some/where\n", 0));
            assertThat(peer.ask("info", "dmeo"))
                    .isEqualTo(new Answer("", "dblock: no device 'dmeo': did you mean demo?\n", 1));
            assertThat(peer.ask("fail"))
                    .isEqualTo(new Answer("", "dblock: java.lang.IllegalStateException: on purpose\n", 1));
            assertThat(peer.ask("resize", "demo").status).isEqualTo(2);
            assertThat(peer.ask("resizee", "demo"))
                    .isEqualTo(new Answer("", "dblock: no command 'resizee': did you mean resize?\n", 2));
            assertThat(peer.ask().status).isEqualTo(2);
        }
    }

    @Test
    void aLineIsGogo() throws IOException {
        try (Peer peer = new Peer()) {
            assertThat(peer.line("x = demo; info $x --json").out).startsWith("{\"name\":\"demo\"");
            assertThat(peer.line("echo $x").out)
                    .as("lines of a connection share a session")
                    .isEqualTo("[demo]\n");
            assertThat(peer.line("info $y{").status).isEqualTo(1);
            assertThat(peer.line("nonsense")).isEqualTo(new Answer("", "dblock: Command not found: nonsense\n", 1));
        }
        try (Peer peer = new Peer()) {
            assertThat(peer.line("echo $x").out).as("and others don't").doesNotContain("demo");
        }
    }

    @Test
    void longOutputArrivesWhole() throws IOException {
        assertThat(new Peer().ask("big").out).isEqualTo("x".repeat(1_000_000) + "\n");
    }

    @Test
    void clientsAreServedInParallelAndSilentOnesDisturbNobody() throws Exception {
        List<Peer> silent = new ArrayList<>();
        for (int i = 0; i < 20; i++) silent.add(new Peer());
        silent.get(0).channel.write(ByteBuffer.wrap(new byte[] {'A', 0}));
        silent.get(1).send('A', words("slow"));
        silent.get(2).send('A', words("big")); // and never reads
        assertThat(slowEntered.await(60, TimeUnit.SECONDS)).isTrue();
        assertThat(new Peer().ask("version").status).isZero();
        for (Peer peer : silent) peer.close();
    }

    @Test
    void aClientThatNeverAsksIsLetGo(@TempDir Path other) throws Exception {
        ShellSocket hasty = new ShellSocket(other, processor, threadIo, 200);
        path = other.resolve("sockets/shell.sock");
        try (Peer peer = new Peer()) {
            peer.channel.write(ByteBuffer.wrap(new byte[] {'A', 0}));
            peer.awaitEnd();
        }
        hasty.deactivate();
    }

    @Test
    void aRequestThatIsTooLongIsRefused() throws IOException {
        try (Peer peer = new Peer()) {
            peer.channel.write(
                    ByteBuffer.allocate(5).put((byte) 'A').putInt(1 << 30).flip());
            Answer answer = peer.answer();
            assertThat(answer.status).isEqualTo(2);
            assertThat(answer.err).contains("at most 65536 bytes");
            peer.awaitEnd();
        }
    }

    @Test
    void garbageEndsItsConnectionOnly() throws IOException {
        for (String garbage : List.of("GET / HTTP/1.1\r\n\r\n", "\0\0\0\0\0", "A\0\0\0\1x", "C\0\0\0\0", "A\uffff")) {
            try (Peer peer = new Peer()) {
                peer.channel.write(ByteBuffer.wrap(garbage.getBytes(StandardCharsets.ISO_8859_1)));
                peer.channel.shutdownOutput();
                peer.awaitEnd();
            }
        }
        assertThat(new Peer().ask("version").status).isZero();
    }

    @Test
    void aSecondRequestBeforeTheEndOfTheFirstEndsTheConnection() throws Exception {
        try (Peer peer = new Peer()) {
            peer.send('A', words("slow"));
            assertThat(slowEntered.await(60, TimeUnit.SECONDS)).isTrue();
            peer.send('A', words("version"));
            peer.awaitEnd();
        }
    }

    @Test
    void aWatchEndsWhenItsClientGoes() throws Exception {
        try (Peer peer = new Peer()) {
            peer.send('A', words("stats", "demo", "--watch", "0.1"));
            ByteBuffer some = ByteBuffer.allocate(3000);
            while (some.hasRemaining()) peer.channel.read(some);
            assertThat(commandThreads()).isPositive();
        }
        for (int i = 0; i < 600 && commandThreads() > 0; i++) Thread.sleep(50);
        assertThat(commandThreads()).isZero();
    }

    @Test
    void aCommandWhoseClientIsGoneIsNotInterrupted() throws Exception {
        try (Peer peer = new Peer()) {
            peer.send('A', words("slow"));
            assertThat(slowEntered.await(60, TimeUnit.SECONDS)).isTrue();
        }
        socket.deactivate();
        Thread.sleep(200); // time for an interrupt that must not come
        slow.countDown();
        assertThat(slowUninterrupted.await(60, TimeUnit.SECONDS)).isTrue();
    }

    @Test
    void aBackgroundCommandIsNotInterruptedEither() throws Exception {
        try (Peer peer = new Peer()) {
            assertThat(peer.line("slow &").status).isZero();
            assertThat(slowEntered.await(60, TimeUnit.SECONDS)).isTrue();
        }
        Thread.sleep(500); // time for an interrupt that must not come
        slow.countDown();
        assertThat(slowUninterrupted.await(60, TimeUnit.SECONDS)).isTrue();
    }

    private static long commandThreads() {
        return Thread.getAllStackTraces().keySet().stream()
                .filter(t -> t.getName().equals("dblock-shell-command"))
                .count();
    }

    private static byte[] words(String... words) {
        return words.length == 0 ? new byte[0] : (String.join("\0", words) + "\0").getBytes(StandardCharsets.UTF_8);
    }

    private record Answer(String out, String err, int status) {}

    /** A client that speaks the frames by hand. */
    private final class Peer implements AutoCloseable {
        final SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);

        Peer() throws IOException {
            channel.connect(UnixDomainSocketAddress.of(path));
        }

        Answer ask(String... words) throws IOException {
            send('A', words(words));
            return answer();
        }

        Answer line(String line) throws IOException {
            send('L', line.getBytes(StandardCharsets.UTF_8));
            return answer();
        }

        void send(char kind, byte[] payload) throws IOException {
            channel.write(ByteBuffer.allocate(5 + payload.length)
                    .put((byte) kind)
                    .putInt(payload.length)
                    .put(payload)
                    .flip());
        }

        Answer answer() throws IOException {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            ByteArrayOutputStream err = new ByteArrayOutputStream();
            while (true) {
                ByteBuffer header = read(5);
                byte[] payload = read(header.getInt(1)).array();
                switch (header.get(0)) {
                    case 'O' -> out.writeBytes(payload);
                    case 'E' -> err.writeBytes(payload);
                    case 'X' -> {
                        return new Answer(
                                out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8), payload[0]);
                    }
                    default -> throw new AssertionError("frame " + header.get(0));
                }
            }
        }

        /** Takes what comes until the gateway ends the connection; a reset if it left something unread. */
        void awaitEnd() {
            try {
                ByteBuffer some = ByteBuffer.allocate(4096);
                while (channel.read(some) >= 0) some.clear();
            } catch (IOException e) {
                // a reset
            }
        }

        private ByteBuffer read(int length) throws IOException {
            ByteBuffer bytes = ByteBuffer.allocate(length);
            while (bytes.hasRemaining()) assertThat(channel.read(bytes)).isPositive();
            return bytes;
        }

        @Override
        public void close() throws IOException {
            channel.close();
        }
    }
}
