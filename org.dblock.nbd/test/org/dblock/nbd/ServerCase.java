package org.dblock.nbd;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.BooleanSupplier;
import org.dblock.api.device.Export;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.io.TempDir;

/** A server on a Unix socket with fake devices, for one test. */
abstract class ServerCase {
    static final int MIB = 1 << 20;

    @TempDir
    Path folder;

    NbdServer server;
    Export export;
    private final List<AutoCloseable> toClose = new ArrayList<>();

    /** Starts it with one export, named demo. */
    FakeDevice serve(FakeDevice device) throws Exception {
        return serve(device, Map.of(), TestSettings.of(socket().toString()));
    }

    FakeDevice serve(FakeDevice device, Map<String, String> options, TestSettings settings) throws Exception {
        server = new NbdServer(name -> null, () -> {}, settings);
        export = server.export(device, options);
        return device;
    }

    static FakeDevice demo() {
        return new FakeDevice("demo", 8 * MIB, 512);
    }

    Path socket() {
        return folder.resolve("s/nbd.sock");
    }

    TestClient connect() throws IOException {
        TestClient client = new TestClient(UnixDomainSocketAddress.of(socket()));
        toClose.add(client);
        return client;
    }

    TestClient connect(Transmission.Mode mode) throws IOException {
        return connect().go("demo", mode);
    }

    /** Polls until something is true. */
    static void eventually(String what, BooleanSupplier condition) throws InterruptedException {
        long end = System.nanoTime() + 60_000_000_000L;
        while (!condition.getAsBoolean()) {
            assertThat(System.nanoTime()).as(what).isLessThan(end);
            Thread.sleep(5);
        }
    }

    @AfterEach
    void stop() throws Exception {
        for (AutoCloseable each : toClose) each.close();
        if (server != null) server.close();
    }
}
