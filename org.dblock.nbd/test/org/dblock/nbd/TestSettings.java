package org.dblock.nbd;

import java.lang.annotation.Annotation;

/** Settings for tests: the defaults, with a Unix socket of the test's. */
@SuppressWarnings("all")
record TestSettings(
        String socket, String listen, boolean allowRemote, int maxConnections, int handshakeSeconds, int stallSeconds)
        implements Settings {

    static TestSettings of(String socket) {
        return new TestSettings(socket, "", false, 128, 10, 30);
    }

    TestSettings withListen(String address) {
        return new TestSettings(socket, address, allowRemote, maxConnections, handshakeSeconds, stallSeconds);
    }

    TestSettings withRemote() {
        return new TestSettings(socket, listen, true, maxConnections, handshakeSeconds, stallSeconds);
    }

    TestSettings withConnections(int most) {
        return new TestSettings(socket, listen, allowRemote, most, handshakeSeconds, stallSeconds);
    }

    TestSettings withSeconds(int handshake, int stall) {
        return new TestSettings(socket, listen, allowRemote, maxConnections, handshake, stall);
    }

    @Override
    public int spinMicros() {
        return 50;
    }

    @Override
    public Class<? extends Annotation> annotationType() {
        return Settings.class;
    }
}
