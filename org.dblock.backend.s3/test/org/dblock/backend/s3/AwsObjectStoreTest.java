package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What answers of a server mean, asked through the SDK. */
class AwsObjectStoreTest {
    private ServerSocket server;
    private volatile String answer;

    @BeforeEach
    void serve() throws IOException {
        server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        Thread thread = new Thread(this::answer);
        thread.setDaemon(true);
        thread.start();
        System.setProperty("aws.disableEc2Metadata", "true");
        System.setProperty("aws.accessKeyId", "test");
        System.setProperty("aws.secretAccessKey", "test");
    }

    @AfterEach
    void end() throws IOException {
        server.close();
        System.clearProperty("aws.disableEc2Metadata");
        System.clearProperty("aws.accessKeyId");
        System.clearProperty("aws.secretAccessKey");
    }

    private void answer() {
        while (true) {
            try (Socket socket = server.accept()) {
                InputStream in = socket.getInputStream();
                // to the end of the request's header
                for (int seen = 0, c; seen < 4 && (c = in.read()) >= 0; )
                    seen = c == (seen % 2 == 0 ? '\r' : '\n') ? seen + 1 : 0;
                socket.getOutputStream().write(answer.getBytes(StandardCharsets.US_ASCII));
                socket.shutdownOutput();
            } catch (IOException e) {
                if (server.isClosed()) return;
            }
        }
    }

    private AwsObjectStore store(String... more) throws IOException {
        VolumeSpec spec = VolumeSpec.of("v", 0)
                .withOption("bucket", "b")
                .withOption("endpoint", "http://127.0.0.1:" + server.getLocalPort())
                .withOption("pathStyle", true);
        for (int i = 0; i < more.length; i += 2) spec = spec.withOption(more[i], more[i + 1]);
        return new AwsObjectStore(spec.options(S3Options.class));
    }

    @Test
    void anAnswerThatBreaksOffIsTroubleAndNotTheObjectsEnd() {
        answer = "HTTP/1.1 206 Partial Content\r\nContent-Length: 8192\r\nConnection: close\r\n\r\nonly this";
        assertThatThrownBy(() -> store().get("k", 0, ByteBuffer.allocate(8192)))
                .isInstanceOf(IOException.class)
                .isNotInstanceOf(ObjectStore.Missing.class);
    }

    @Test
    void onlyTheStoresOwnWordMeansThatAnObjectIsMissing() {
        String proxy = "<html>no such backend</html>";
        answer =
                "HTTP/1.1 404 Not Found\r\nContent-Length: " + proxy.length() + "\r\nConnection: close\r\n\r\n" + proxy;
        assertThatThrownBy(() -> store().get("k", 0, ByteBuffer.allocate(10)))
                .isInstanceOf(IOException.class)
                .isNotInstanceOf(ObjectStore.Missing.class)
                .hasMessageContaining("404");
        String xml = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>no</Message></Error>";
        answer = "HTTP/1.1 404 Not Found\r\nContent-Type: application/xml\r\nContent-Length: " + xml.length()
                + "\r\nConnection: close\r\n\r\n" + xml;
        assertThatThrownBy(() -> store().get("k", 0, ByteBuffer.allocate(10))).isInstanceOf(ObjectStore.Missing.class);
    }

    @Test
    void withoutCredentialsItSaysWhatToSet() {
        System.clearProperty("aws.accessKeyId");
        assertThatThrownBy(() -> store("profile", "nobody").list("", "", 1))
                .isInstanceOf(IOException.class)
                .satisfies(e -> assertThat(e.getMessage())
                        .contains("AWS_ACCESS_KEY_ID")
                        .contains("profile 'nobody'")
                        .doesNotContain("\n")
                        .hasSizeLessThan(400));
    }
}
