package org.dblock.shell;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.apache.felix.service.command.CommandProcessor;
import org.apache.felix.service.threadio.ThreadIO;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.osgi.framework.BundleContext;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Reference;

/**
 * Serves the shell on the Unix socket {@code sockets/shell.sock} in the gateway's folder: to its owner only, for
 * whoever may give commands may do all that the gateway may. What is spoken there is in {@link ShellConnection}.
 */
@Component(
        service = {},
        immediate = true)
public final class ShellSocket {
    private static final System.Logger LOG = System.getLogger(ShellSocket.class.getName());
    private static final int MOST_CLIENTS = 256;
    private static final int LONGEST_PATH = 107;

    /** How long a client may take to send its first request. */
    private static final long HANDSHAKE_SECONDS = 30;

    private final CommandProcessor processor;
    private final ThreadIO threadIo;
    private final long handshakeMillis;
    private final Path path;
    private final FileChannel lockFile;
    private final ServerSocketChannel server;
    private final Thread acceptor;
    private final Set<ShellConnection> connections = ConcurrentHashMap.newKeySet();
    private final ScheduledExecutorService deadlines = Executors.newSingleThreadScheduledExecutor(task -> {
        Thread thread = new Thread(task, "dblock-shell-deadlines");
        thread.setDaemon(true);
        return thread;
    });

    /**
     * Listens.
     *
     * @param commands so that there is something to serve from the first moment on
     * @throws IOException when another gateway serves this folder, or the socket can't be made
     */
    @Activate
    public ShellSocket(
            BundleContext context,
            @Reference CommandProcessor processor,
            @Reference ThreadIO threadIo,
            @Reference Commands commands)
            throws IOException {
        this(Commands.home(context), processor, threadIo, TimeUnit.SECONDS.toMillis(HANDSHAKE_SECONDS));
    }

    ShellSocket(Path home, CommandProcessor processor, ThreadIO threadIo, long handshakeMillis) throws IOException {
        this.processor = processor;
        this.threadIo = threadIo;
        this.handshakeMillis = handshakeMillis;
        Path folder = home.resolve("sockets");
        path = folder.resolve("shell.sock");
        if (path.toString().getBytes().length > LONGEST_PATH)
            throw new BlockException(
                    Reason.INVALID,
                    "the socket's path " + path + " is longer than the " + LONGEST_PATH
                            + " bytes that Linux takes: choose a" + " gateway folder with a shorter path");
        var owner = PosixFilePermissions.fromString("rwx------");
        Files.createDirectories(folder, PosixFilePermissions.asFileAttribute(owner));
        Files.setPosixFilePermissions(folder, owner); // it may have been there, for more people
        lockFile = lock(folder.resolve("shell.lock"));
        try {
            Files.deleteIfExists(path); // who holds the lock knows that nobody listens
            server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
            server.bind(UnixDomainSocketAddress.of(path), MOST_CLIENTS);
            Files.setPosixFilePermissions(path, PosixFilePermissions.fromString("rw-------"));
        } catch (IOException e) {
            lockFile.close();
            throw e;
        }
        acceptor = new Thread(this::accept, "dblock-shell");
        acceptor.setDaemon(true);
        acceptor.start();
    }

    /** The lock lives as long as this process, or until the file is closed: no other code opens it. */
    private static FileChannel lock(Path file) throws IOException {
        FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        FileLock lock;
        try {
            lock = channel.tryLock();
        } catch (OverlappingFileLockException e) {
            lock = null; // this very process
        }
        if (lock != null) return channel;
        channel.close();
        throw new BlockException(
                Reason.IN_USE,
                "another gateway serves " + file.getParent() + ": stop it, or choose another folder for this one");
    }

    private void accept() {
        while (server.isOpen()) {
            try {
                SocketChannel channel = server.accept();
                if (connections.size() >= MOST_CLIENTS) {
                    LOG.log(
                            System.Logger.Level.WARNING,
                            "a client of the shell is turned away: {0} are connected",
                            MOST_CLIENTS);
                    channel.close();
                    continue;
                }
                ShellConnection connection = new ShellConnection(channel, processor, threadIo);
                connections.add(connection);
                var deadline = deadlines.schedule(connection::closeIfSilent, handshakeMillis, TimeUnit.MILLISECONDS);
                Thread thread = new Thread(
                        () -> {
                            try {
                                connection.run();
                            } finally {
                                connections.remove(connection);
                                deadline.cancel(false);
                            }
                        },
                        "dblock-shell-client");
                thread.setDaemon(true);
                thread.start();
            } catch (ClosedChannelException e) {
                return;
            } catch (IOException e) {
                LOG.log(System.Logger.Level.WARNING, "the shell could not accept a client", e);
                try {
                    Thread.sleep(100); // no descriptors left, most likely: they come back
                } catch (InterruptedException stop) {
                    return;
                }
            }
        }
    }

    /** Stops listening and lets all clients go; commands that are under way finish on their own. */
    @Deactivate
    void deactivate() throws IOException, InterruptedException {
        try {
            server.close();
            acceptor.join(); // so that no client comes after the last was let go
            Files.deleteIfExists(path);
            deadlines.shutdownNow();
            connections.forEach(ShellConnection::close);
        } finally {
            lockFile.close();
        }
    }
}
