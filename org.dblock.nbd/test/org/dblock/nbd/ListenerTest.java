package org.dblock.nbd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.PipedInputStream;
import java.io.PipedOutputStream;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import org.dblock.api.BlockException;
import org.junit.jupiter.api.Test;

/** Where the server listens, and for whom. */
class ListenerTest extends ServerCase {
    @Test
    void theSocketIsForItsUserOnly() throws Exception {
        serve(demo());
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(socket())))
                .isEqualTo("rw-------");
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(socket().getParent())))
                .isEqualTo("rwx------");
        assertThat(export.address()).isEqualTo("nbd+unix:///demo?socket=" + socket());
        server.close();
        assertThat(socket()).doesNotExist();
    }

    @Test
    void theDefaultSocketLiesInTheGatewaysFolder() throws Exception {
        Map<String, String> properties = Map.of(NbdServer.HOME, folder.toString());
        server = new NbdServer(properties::get, () -> {}, TestSettings.of(""));
        assertThat(Files.exists(folder.resolve("sockets/nbd.sock"))).isTrue();
    }

    @Test
    void aStaleSocketIsReplaced() throws Exception {
        Files.createDirectories(socket().getParent());
        try (ServerSocketChannel dead = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            dead.bind(UnixDomainSocketAddress.of(socket()));
        }
        serve(demo());
        assertThat(connect(Transmission.Mode.SIMPLE).read(0, 512).error).isZero();
    }

    @Test
    void aSocketThatIsServedIsRefusedAndKept() throws Exception {
        serve(demo());
        assertThatThrownBy(() -> new NbdServer(name -> null, () -> {}, TestSettings.of(socket().toString())))
                .isInstanceOf(BlockException.class)
                .hasMessageContaining(socket().toString())
                .hasMessageContaining("another gateway");
        assertThat(connect(Transmission.Mode.SIMPLE).read(0, 512).error).isZero();
    }

    @Test
    void aFileThatIsNoSocketIsNotReplaced() throws Exception {
        Files.createDirectories(socket().getParent());
        Files.writeString(socket(), "mine");
        assertThatThrownBy(() -> serve(demo())).hasMessageContaining("no socket");
        assertThat(Files.readString(socket())).isEqualTo("mine");
    }

    @Test
    void aPathTooLongForASocketIsNamed() {
        Path deep = folder.resolve("x".repeat(120));
        assertThatThrownBy(() -> Listener.unix(deep)).hasMessageContaining("at most 107");
    }

    @Test
    void tcpIsServedOnLoopback() throws Exception {
        serve(demo(), Map.of(), TestSettings.of("none").withListen("127.0.0.1:0"));
        String address = export.address();
        assertThat(address).startsWith("nbd://127.0.0.1:").endsWith("/demo");
        int port = Integer.parseInt(address.replaceAll(".*:(\\d+)/.*", "$1"));
        try (TestClient client = new TestClient(new InetSocketAddress("127.0.0.1", port))) {
            assertThat(client.go("demo", Transmission.Mode.STRUCTURED).read(0, 4096).error)
                    .isZero();
        }
    }

    @Test
    void otherAddressesThanLoopbackNeedToBeAllowed() throws Exception {
        TestSettings settings = TestSettings.of("none").withListen("0.0.0.0:0");
        assertThatThrownBy(() -> new NbdServer(name -> null, () -> {}, settings))
                .hasMessageContaining("allowRemote=true");
        server = new NbdServer(name -> null, () -> {}, settings.withRemote());
    }

    @Test
    void addressesThatAreNoneAreNamed() {
        for (String wrong : new String[] {"x", "1:2:3", ":5", "127.0.0.1:99999", "127.0.0.1:"})
            assertThatThrownBy(() -> Listener.tcp(wrong, false)).as(wrong).hasMessageContaining("'" + wrong + "'");
    }

    @Test
    void otherSettingsMoveTheSocketAndKeepTheClients() throws Exception {
        serve(demo());
        TestClient client = connect(Transmission.Mode.SIMPLE);
        Path other = folder.resolve("other/nbd.sock");
        server.modified(TestSettings.of(other.toString()).withConnections(1));
        assertThat(client.read(0, 512).error).isZero();
        assertThat(socket()).doesNotExist();
        assertThat(export.address()).endsWith(other.toString());
        try (TestClient beyond = new TestClient(UnixDomainSocketAddress.of(other))) {
            assertThat(beyond.closed()).isTrue();
        }
    }

    @Test
    void exportOptionsAreChecked() throws Exception {
        serve(demo());
        assertThatThrownBy(() -> server.export(new FakeDevice("b", MIB, 512), Map.of("readonly", "true")))
                .hasMessageContaining("'readonly'");
        assertThatThrownBy(() -> server.export(new FakeDevice("b", MIB, 512), Map.of("readOnly", "yes")))
                .hasMessageContaining("readOnly=yes");
        assertThatThrownBy(() -> server.export(demo(), Map.of())).hasMessageContaining("already");
    }

    @Test
    void pipesAreServedLikeASocket() throws Exception {
        PipedOutputStream toServer = new PipedOutputStream();
        ByteArrayOutputStream fromServer = new ByteArrayOutputStream();
        Pipes pipes = Pipes.join(new PipedInputStream(toServer), fromServer);
        serve(demo());
        Session session = new Session(server, pipes.channel(), "pipes", new BufferPool(), new Spinners(1, 0));
        session.start();
        ByteBuffer sent = ByteBuffer.allocate(4 + 16 + 4 + 28 + 28);
        sent.putInt(3)
                .putLong(Nbd.OPTION_MAGIC)
                .putInt(Nbd.OPT_EXPORT_NAME)
                .putInt(4)
                .put("demo".getBytes());
        sent.putInt(Nbd.REQUEST_MAGIC)
                .putInt(Nbd.CMD_FLUSH)
                .putLong(5)
                .putLong(0)
                .putInt(0);
        sent.putInt(Nbd.REQUEST_MAGIC)
                .putInt(Nbd.CMD_DISC)
                .putLong(6)
                .putLong(0)
                .putInt(0);
        toServer.write(sent.array());
        toServer.flush();
        pipes.output().join();
        ByteBuffer got = ByteBuffer.wrap(fromServer.toByteArray());
        assertThat(got.remaining()).isEqualTo(18 + 10 + 16);
        assertThat(got.getInt(28)).isEqualTo(Nbd.SIMPLE_REPLY_MAGIC);
        assertThat(got.getLong(36)).isEqualTo(5);
    }
}
