package org.dblock.nbd;

import java.io.IOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.channels.Channel;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.UnaryOperator;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceListener;
import org.dblock.api.device.Export;
import org.dblock.api.device.FrontEnd;
import org.osgi.framework.BundleContext;
import org.osgi.framework.BundleException;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Modified;
import org.osgi.service.metatype.annotations.Designate;

/**
 * The NBD server: the front end {@code nbd}, which serves all its devices on the same sockets.
 *
 * <p>Three properties of the framework (or of the system) change where clients come from; a launcher sets them, for
 * they tell what the process was started with. With either of the last two, the sockets of the settings are not opened.
 *
 * <ul>
 *   <li>{@value #HOME}: the gateway's folder; its {@code sockets/nbd.sock} is the default socket.
 *   <li>{@value #INHERITED}{@code =true}: standard input is a listening socket (what {@code LISTEN_FDS} passes as
 *       descriptor 3, moved by {@code exec java 0<&3 3<&-}); it is the only one that is served.
 *   <li>{@value #STDIO}{@code =EXPORT}: standard input is the one client, a socket or a pipe (then replies go to
 *       standard output); it is served as soon as EXPORT, its default export, is there. When it leaves, or after 30 s
 *       without that export, the framework is stopped.
 * </ul>
 */
@Component(
        service = {FrontEnd.class, DeviceListener.class},
        immediate = true,
        configurationPid = Settings.PID,
        property = FrontEnd.NAME + "=" + NbdServer.NAME)
@Designate(ocd = Settings.class)
public final class NbdServer implements FrontEnd, DeviceListener {
    static final String NAME = "nbd";
    static final String HOME = "dblock.home";
    static final String INHERITED = "dblock.nbd.inherited";
    static final String STDIO = "dblock.nbd.stdio";

    private static final Logger LOG = System.getLogger(NbdServer.class.getName());
    private static final long STOP_NANOS = TimeUnit.SECONDS.toNanos(3);
    private static final int STDIO_SECONDS = 30;
    /** How long after its start a server that was started for a client lets it wait for its export. */
    private static final long GRACE_NANOS = TimeUnit.SECONDS.toNanos(8);

    private final UnaryOperator<String> properties;
    private final boolean ownSockets;
    private volatile Settings settings;
    private volatile List<Listener> listeners = List.of();
    private final Map<String, NbdExport> exports = new ConcurrentSkipListMap<>();
    private final Set<Session> sessions = ConcurrentHashMap.newKeySet();
    private final BufferPool pool = new BufferPool();
    private volatile Spinners spinners;
    private final AtomicLong clients = new AtomicLong();
    private final String defaultExport;
    private final long graceEnd;
    private final CountDownLatch defaultIsThere = new CountDownLatch(1);
    private final Runnable stopGateway;
    private volatile boolean closing;

    /** Opens the sockets. */
    @Activate
    public NbdServer(BundleContext context, Settings settings) throws BlockException {
        this(context::getProperty, () -> stop(context), settings);
    }

    NbdServer(UnaryOperator<String> properties, Runnable stopGateway, Settings settings) throws BlockException {
        this.properties = properties;
        this.stopGateway = stopGateway;
        use(settings);
        String stdio = properties.apply(STDIO);
        defaultExport = stdio == null ? "" : stdio;
        boolean activated = "true".equals(properties.apply(INHERITED));
        graceEnd = System.nanoTime() + (activated ? GRACE_NANOS : 0);
        ownSockets = stdio == null && !activated;
        try {
            if (stdio != null) serveStandardInput();
            else if (activated) start(List.of(Listener.inherited(inherited())));
            else listen();
        } catch (BlockException e) {
            LOG.log(Level.ERROR, "no NBD server: " + e.getMessage());
            throw e;
        }
    }

    private void use(Settings now) {
        settings = now;
        spinners = new Spinners(
                Runtime.getRuntime().availableProcessors(), TimeUnit.MICROSECONDS.toNanos(now.spinMicros()));
    }

    /** Takes over other settings: for new clients; those that are connected stay, also when the sockets change. */
    @Modified
    void modified(Settings now) {
        Settings before = settings;
        use(now);
        boolean same = before.socket().equals(now.socket())
                && before.listen().equals(now.listen())
                && before.allowRemote() == now.allowRemote();
        if (same || !ownSockets) return;
        listeners.forEach(Listener::close);
        listeners = List.of();
        try {
            listen();
        } catch (BlockException e) {
            LOG.log(Level.ERROR, "new clients can't connect: " + e.getMessage());
        }
    }

    private void listen() throws BlockException {
        String home = properties.apply(HOME);
        String socket = settings.socket().strip();
        if (socket.isEmpty())
            socket = Path.of(home == null ? "dblock" : home, "sockets", "nbd.sock")
                    .toAbsolutePath()
                    .toString();
        List<Listener> opened = new ArrayList<>();
        try {
            if (!socket.equals("none")) opened.add(Listener.unix(Path.of(socket).toAbsolutePath()));
            String tcp = settings.listen().strip();
            if (!tcp.isEmpty()) opened.add(Listener.tcp(tcp, settings.allowRemote()));
        } catch (BlockException e) {
            opened.forEach(Listener::close);
            throw e;
        }
        start(opened);
    }

    private void start(List<Listener> opened) {
        listeners = opened;
        for (Listener listener : opened) {
            listener.start(channel -> accept(channel, listener.where()));
            LOG.log(Level.INFO, "NBD server listens on " + listener.where());
        }
    }

    private static ServerSocketChannel inherited() throws BlockException {
        try {
            if (System.inheritedChannel() instanceof ServerSocketChannel channel) return channel;
        } catch (IOException e) {
            throw new BlockException(Reason.IO, "standard input: " + e.getMessage(), e);
        }
        throw new BlockException(
                Reason.INVALID, INHERITED + "=true, but standard input is no listening socket: start with 0<&3");
    }

    private void serveStandardInput() throws BlockException {
        Pipes client;
        try {
            Channel channel = System.inheritedChannel();
            client = channel instanceof SocketChannel socket
                    ? new Pipes(socket, new Thread())
                    : Pipes.join(System.in, System.out);
            System.setOut(System.err); // whatever else prints must not print into the replies
        } catch (IOException e) {
            throw new BlockException(Reason.IO, "standard input: " + e.getMessage(), e);
        }
        Thread thread = new Thread(() -> serveOne(client), "nbd-stdio");
        thread.setDaemon(true);
        thread.start();
    }

    private void serveOne(Pipes client) {
        try (SocketChannel channel = client.channel()) {
            if (!defaultIsThere.await(STDIO_SECONDS, TimeUnit.SECONDS))
                LOG.log(Level.ERROR, "no device '" + defaultExport + "' is exported: nothing is served");
            else {
                Session session = new Session(this, channel, "nbd client on standard input", pool, spinners);
                sessions.add(session);
                session.run();
                while (!session.await(STOP_NANOS)) Thread.onSpinWait();
                client.output().join();
            }
        } catch (IOException | InterruptedException e) {
            LOG.log(Level.ERROR, "standard input can't be served", e);
        }
        stopGateway.run();
    }

    private static void stop(BundleContext context) {
        try {
            context.getBundle(0).stop();
        } catch (BundleException e) {
            LOG.log(Level.ERROR, "the gateway doesn't stop", e);
        }
    }

    private void accept(SocketChannel channel, String where) {
        try {
            if (closing || sessions.size() >= settings.maxConnections()) {
                LOG.log(
                        Level.WARNING,
                        "a client on " + where + " is refused: " + sessions.size()
                                + " are connected, which is maxConnections");
                channel.close();
                return;
            }
            if (channel.getLocalAddress() instanceof InetSocketAddress) {
                channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
                channel.setOption(StandardSocketOptions.SO_KEEPALIVE, true);
            } else {
                // more than a piece of a read: with the usual 208 KiB the thread sleeps twice for each
                channel.setOption(StandardSocketOptions.SO_SNDBUF, 4 * Transmission.PIECE);
            }
            String peer = Wire.peer(channel);
            String name = "nbd client " + clients.incrementAndGet() + (peer.isEmpty() ? "" : " from " + peer) + " on "
                    + where;
            Session session = new Session(this, channel, name, pool, spinners);
            sessions.add(session);
            session.start();
        } catch (IOException | RuntimeException | Error e) {
            LOG.log(Level.WARNING, "a client on " + where + " can't be served", e);
            try {
                channel.close();
            } catch (IOException closed) {
                // it is lost anyway
            }
        }
    }

    Settings settings() {
        return settings;
    }

    boolean closing() {
        return closing;
    }

    /** The export of that name; the empty one is the default export's: that of stdio mode, or the only one. */
    NbdExport find(String name) {
        NbdExport found = lookUp(name);
        try {
            // a client that has this gateway started by its connecting comes before the devices
            for (long left; found == null && (left = graceEnd - System.nanoTime()) > 0; found = lookUp(name))
                TimeUnit.NANOSECONDS.sleep(Math.min(left, 20_000_000));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        return found;
    }

    private NbdExport lookUp(String name) {
        if (!name.isEmpty()) return exports.get(name);
        if (!defaultExport.isEmpty()) return exports.get(defaultExport);
        Collection<NbdExport> all = exports.values();
        return all.size() == 1 ? all.iterator().next() : null;
    }

    /** The names of the exports. */
    Collection<String> names() {
        return exports.keySet();
    }

    void left(Session session) {
        sessions.remove(session);
    }

    void remove(NbdExport export) {
        exports.remove(export.device().name(), export);
    }

    /** The URI of an export; of the first socket if there are several. */
    String address(String export) {
        List<Listener> now = listeners;
        if (now.isEmpty()) return defaultExport.isEmpty() ? "nowhere: no socket is open" : "standard input";
        return now.get(0).uri(export);
    }

    /** {@inheritDoc} The one option is {@code readOnly}: true or false. */
    @Override
    public Export export(Device device, Map<String, String> options) throws BlockException {
        boolean readOnly = false;
        for (Map.Entry<String, String> option : options.entrySet()) {
            if (!option.getKey().equals("readOnly"))
                throw new BlockException(
                        Reason.INVALID, "nbd export option '" + option.getKey() + "': the only one is readOnly");
            if (!option.getValue().equals("true") && !option.getValue().equals("false"))
                throw new BlockException(
                        Reason.INVALID, "nbd export option readOnly=" + option.getValue() + ": must be true or false");
            readOnly = option.getValue().equals("true");
        }
        NbdExport export = new NbdExport(this, device, readOnly);
        if (exports.putIfAbsent(device.name(), export) != null)
            throw new BlockException(Reason.EXISTS, "device '" + device.name() + "' is exported by nbd already");
        if (device.name().equals(defaultExport)) defaultIsThere.countDown();
        return export;
    }

    /** A device is back after a swap: the threads that serve it are replaced. */
    @Override
    public void changed(Device device, Device.State state) {
        NbdExport export = exports.get(device.name());
        if (state == Device.State.ONLINE && export != null) export.poke();
    }

    /** Closes the sockets and ends what core has not ended. */
    @Deactivate
    public void close() {
        closing = true;
        listeners.forEach(Listener::close);
        drain(sessions, STOP_NANOS);
    }

    /** Ends sessions: in peace for so long, then at once. */
    static void drain(Collection<Session> sessions, long nanos) {
        List<Session> all = List.copyOf(sessions);
        all.forEach(Session::finish);
        long end = System.nanoTime() + nanos;
        try {
            for (Session session : all) if (!session.await(Math.max(0, end - System.nanoTime()))) session.cut();
        } catch (InterruptedException e) {
            all.forEach(Session::cut);
            Thread.currentThread().interrupt();
        }
    }
}
