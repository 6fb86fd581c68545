package org.dblock.nbd;

import java.util.Map;

/** Serves a fake device without a framework: {@code FakeGateway SOCKET SIZE [blocking]}; to try clients on. */
final class FakeGateway {
    private FakeGateway() {}

    public static void main(String[] arguments) throws Exception {
        NbdServer server = new NbdServer(System::getProperty, () -> System.exit(0), TestSettings.of(arguments[0]));
        FakeDevice device = new FakeDevice("demo", Integer.parseInt(arguments[1]), 512);
        device.remembers = false;
        server.export(arguments.length > 2 ? device.blocking() : device, Map.of());
        Thread.currentThread().join();
    }
}
