package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What the SDK, as it is set up here, makes of what servers answer. */
class AwsObjectStoreTest {
    private interface Answer {
        void to(HttpExchange exchange) throws IOException;
    }

    private final AtomicInteger requests = new AtomicInteger();
    private final ExecutorService threads = Executors.newCachedThreadPool();
    private volatile Answer answer;
    private volatile HttpExchange last;
    private HttpServer server;
    private AwsObjectStore store;

    @BeforeEach
    void start() throws Exception {
        System.setProperty("aws.disableEc2Metadata", "true");
        System.setProperty("aws.accessKeyId", "key");
        System.setProperty("aws.secretAccessKey", "secret");
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.setExecutor(threads);
        server.createContext("/", exchange -> {
            requests.incrementAndGet();
            last = exchange;
            exchange.getRequestBody().readAllBytes();
            try (exchange) {
                answer.to(exchange);
            }
        });
        server.start();
        store = open("http://127.0.0.1:" + server.getAddress().getPort(), "");
    }

    private static AwsObjectStore open(String endpoint, String profile) throws IOException {
        return new AwsObjectStore(VolumeSpec.of("v", 0)
                .withOption("profile", profile)
                .withOption("bucket", "disks")
                .withOption("endpoint", endpoint)
                .withOption("pathStyle", true)
                .options(S3Options.class));
    }

    @AfterEach
    void stop() {
        store.close();
        server.stop(0);
        threads.shutdown();
        System.clearProperty("aws.disableEc2Metadata");
        System.clearProperty("aws.accessKeyId");
        System.clearProperty("aws.secretAccessKey");
    }

    private static Answer failing(int status, String code) {
        byte[] body = ("<?xml version=\"1.0\"?><Error><Code>" + code + "</Code><Message>m</Message></Error>")
                .getBytes(StandardCharsets.UTF_8);
        return exchange -> {
            boolean none = exchange.getRequestMethod().equals("HEAD");
            exchange.getResponseHeaders().add("Content-Type", "application/xml");
            exchange.sendResponseHeaders(status, none ? -1 : body.length);
            if (!none) exchange.getResponseBody().write(body);
        };
    }

    private static Answer holding(byte[] body, int announced) {
        return exchange -> {
            exchange.getResponseHeaders().add("Content-Range", "bytes 0-" + (announced - 1) + "/" + announced);
            exchange.sendResponseHeaders(206, announced);
            exchange.getResponseBody().write(body);
        };
    }

    private boolean put() throws IOException {
        return store.putIfAbsent("k", ByteBuffer.wrap(new byte[10_000]));
    }

    private ByteBuffer get() throws IOException {
        ByteBuffer into = ByteBuffer.allocate(100);
        store.get("k", 0, into);
        return into.flip();
    }

    @Test
    void aPutCreatesAndSaysSoOnTheWire() throws Exception {
        answer = exchange -> exchange.sendResponseHeaders(200, -1);
        assertThat(put()).isTrue();
        assertThat(requests).hasValue(1);
        assertThat(last.getRequestHeaders().getFirst("If-None-Match")).isEqualTo("*");
        assertThat(last.getRequestHeaders()).containsKey("Content-MD5");
        // what servers other than Amazon's choke on
        assertThat(last.getRequestHeaders()).doesNotContainKeys("Expect", "Transfer-Encoding", "x-amz-trailer");
        assertThat(last.getRequestHeaders().getFirst("Content-Length")).isEqualTo("10000");
    }

    @Test
    void aKeyThatExistsIsNoFailure() throws Exception {
        answer = failing(412, "PreconditionFailed");
        assertThat(put()).isFalse();
    }

    @Test
    void everyOtherRefusalIsAFailureInOneSentenceAndIsNotRepeatedHere() {
        String[][] cases = {
            {"409", "ConditionalRequestConflict", "status 409, ConditionalRequestConflict"},
            {"500", "InternalError", "status 500, InternalError"},
            {"503", "SlowDown", "status 503, SlowDown"},
            {"403", "ExpiredToken", "the credentials have expired"},
            {"403", "RequestTimeTooSkewed", "the clocks of this host and the store differ"},
            {"403", "InvalidAccessKeyId", "the credentials are wrong"},
            {"404", "NoSuchBucket", "there is no bucket disks"},
        };
        for (String[] each : cases) {
            answer = failing(Integer.parseInt(each[0]), each[1]);
            requests.set(0);
            assertThatThrownBy(this::put)
                    .isInstanceOf(IOException.class)
                    .isNotInstanceOf(ObjectStore.Missing.class)
                    .hasMessageContaining("put disks/k: ")
                    .hasMessageContaining(each[2])
                    .hasMessageNotContaining("\n");
            assertThatThrownBy(this::get)
                    .isNotInstanceOf(ObjectStore.Missing.class)
                    .hasMessageContaining(each[2]);
            assertThatThrownBy(() -> store.list("k", "", 1)).hasMessageContaining(each[2]);
            assertThatThrownBy(() -> store.delete(List.of("k"))).hasMessageContaining(each[2]);
            assertThat(requests).as(each[1]).hasValue(4);
        }
    }

    @Test
    void onlyTheStoresOwnWordMeansThatAnObjectIsMissing() {
        answer = failing(404, "NoSuchKey");
        assertThatThrownBy(this::get).isInstanceOf(ObjectStore.Missing.class);
        byte[] proxy = "<html>no such backend</html>".getBytes(StandardCharsets.US_ASCII);
        answer = exchange -> {
            exchange.sendResponseHeaders(404, proxy.length);
            exchange.getResponseBody().write(proxy);
        };
        assertThatThrownBy(this::get)
                .isInstanceOf(IOException.class)
                .isNotInstanceOf(ObjectStore.Missing.class)
                .hasMessageContaining("404");
    }

    @Test
    void withoutCredentialsItSaysWhatToSet() {
        System.clearProperty("aws.accessKeyId");
        assertThatThrownBy(() -> open("http://127.0.0.1:" + server.getAddress().getPort(), "nobody")
                        .list("", "", 1))
                .isInstanceOf(IOException.class)
                .satisfies(e -> assertThat(e.getMessage())
                        .contains("AWS_ACCESS_KEY_ID")
                        .contains("profile 'nobody'")
                        .doesNotContain("\n")
                        .hasSizeLessThan(400));
    }

    @Test
    void anObjectMayEndBeforeTheRangeDoes() throws Exception {
        answer = holding(new byte[] {1, 2, 3}, 3);
        assertThat(get()).isEqualTo(ByteBuffer.wrap(new byte[] {1, 2, 3}));
        answer = failing(416, "InvalidRange");
        assertThat(get().remaining()).isZero();
    }

    @Test
    void aBodyThatIsCutShortIsAFailureNotAnEnd() {
        answer = exchange -> {
            holding(new byte[10], 80).to(exchange);
            exchange.close();
        };
        assertThatThrownBy(this::get).isInstanceOf(IOException.class);
    }

    @Test
    void aServerThatIgnoresRangesIsRefused() {
        answer = exchange -> {
            exchange.sendResponseHeaders(200, 5000);
            exchange.getResponseBody().write(new byte[5000]);
        };
        assertThatThrownBy(this::get).hasMessageContaining("ignores the range");
    }

    @Test
    void nobodyThereSaysSo() throws Exception {
        int port = server.getAddress().getPort();
        server.stop(0);
        assertThatThrownBy(this::put).isInstanceOf(IOException.class).hasMessage("put disks/k: Connection refused");
        store.close();
        store = open("http://name.invalid:" + port, "");
        assertThatThrownBy(this::put).hasMessageContaining("host name.invalid is unknown");
    }

    @Test
    void connectionsAreUsedAgain() throws Exception {
        List<Integer> ports = new CopyOnWriteArrayList<>();
        answer = exchange -> {
            ports.add(exchange.getRemoteAddress().getPort());
            holding(new byte[100], 100).to(exchange);
        };
        for (int i = 0; i < 10; i++) get();
        assertThat(ports.stream().distinct()).hasSize(1);
    }
}
