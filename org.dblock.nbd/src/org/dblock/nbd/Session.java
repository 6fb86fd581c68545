package org.dblock.nbd;

import java.io.IOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.channels.SocketChannel;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.dblock.api.device.Client;
import org.dblock.api.device.Connection;

/** One client, from its first byte to its last; a thread of its own. */
final class Session implements Runnable, Client {
    private static final Logger LOG = System.getLogger(Session.class.getName());

    private final NbdServer server;
    private final String name;
    private final Wire wire;
    private final CountDownLatch done = new CountDownLatch(1);
    private NbdExport export;
    private Connection connection;
    private volatile Transmission transmission;
    private volatile boolean ending;
    /** The device's size where it has changed since the client connected, else 0. */
    private volatile long size;

    /** Takes over a channel; {@link #run} does the rest. */
    Session(NbdServer server, SocketChannel channel, String name, BufferPool pool, Spinners spinners)
            throws IOException {
        this.server = server;
        this.name = name;
        wire = new Wire(
                channel,
                pool,
                spinners,
                TimeUnit.SECONDS.toNanos(server.settings().stallSeconds()));
    }

    /** Starts the thread. */
    void start() {
        Thread thread = new Thread(this, name);
        thread.setDaemon(true);
        thread.start();
    }

    @Override
    public void run() {
        wire.own();
        boolean moves = false;
        try {
            moves = serve();
        } catch (Disconnected e) {
            // a client may leave without a word; what breaks the protocol or a limit is worth a line
            LOG.log(e.getCause() == null ? Level.WARNING : Level.DEBUG, name + " is cut off: " + e.getMessage());
            wire.cut();
        } catch (RuntimeException | Error e) {
            LOG.log(Level.ERROR, name + " is cut off: the server failed", e);
            wire.cut();
        } finally {
            if (moves) start();
            else end();
        }
    }

    private boolean serve() throws Disconnected {
        if (transmission == null) {
            int seconds = server.settings().handshakeSeconds();
            wire.deadline(
                    System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds),
                    "its handshake took more than " + seconds + " s");
            Handshake handshake = new Handshake(wire, server, this);
            try {
                if (!handshake.run()) return false;
            } finally {
                connection = handshake.connection();
            }
            wire.noDeadline();
            transmission = handshake.transmission();
            if (size != 0) transmission.resized(size);
            if (!handshake.export().enter(this)) ending = true;
            else export = handshake.export();
            if (ending) finish();
        }
        return transmission.run();
    }

    private void end() {
        try {
            wire.close();
            if (connection != null) connection.close();
        } catch (RuntimeException | Error e) {
            LOG.log(Level.ERROR, name + ": its end failed", e);
        } finally {
            if (export != null) export.leave(this);
            server.left(this);
            done.countDown();
        }
    }

    /** Reads nothing more; what came is answered, not begun any more, and the client is let go. */
    void finish() {
        ending = true;
        Transmission now = transmission;
        if (now != null) now.shutDown();
        wire.finish();
    }

    /** Ends it at once. */
    void cut() {
        wire.cut();
    }

    /** Makes its thread look whether the volume was swapped. */
    void poke() {
        wire.poke();
    }

    /** Waits for its end. */
    boolean await(long nanos) throws InterruptedException {
        return done.await(nanos, TimeUnit.NANOSECONDS);
    }

    @Override
    public String describe() {
        return name;
    }

    @Override
    public void resized(long bytes) {
        size = bytes;
        Transmission now = transmission;
        if (now != null) now.resized(bytes);
    }

    @Override
    public void gone(String why) {
        LOG.log(Level.WARNING, name + " is let go: " + why);
        finish();
    }
}
