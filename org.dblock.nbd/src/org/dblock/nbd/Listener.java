package org.dblock.nbd;

import java.io.IOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.net.StandardSocketOptions;
import java.net.UnixDomainSocketAddress;
import java.net.UnknownHostException;
import java.nio.channels.AsynchronousCloseException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.function.Consumer;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/** A listening socket with its thread, which hands each client on. */
final class Listener implements AutoCloseable {
    private static final Logger LOG = System.getLogger(Listener.class.getName());
    /** The length of a Unix socket's path that every Linux takes. */
    private static final int MOST_PATH = 107;

    private final ServerSocketChannel channel;
    private final String where;
    private final Path socket;
    private final FileChannel lock;

    private Listener(ServerSocketChannel channel, String where, Path socket, FileChannel lock) {
        this.channel = channel;
        this.where = where;
        this.socket = socket;
        this.lock = lock;
    }

    /**
     * Listens on a Unix socket that only this user may connect to. What a dead gateway left there is replaced.
     *
     * @throws BlockException {@link Reason#IN_USE} when somebody serves it
     */
    static Listener unix(Path path) throws BlockException {
        if (path.toString().getBytes(java.nio.charset.StandardCharsets.UTF_8).length > MOST_PATH)
            throw new BlockException(
                    Reason.INVALID,
                    "socket " + path + ": a Unix socket's path has at most " + MOST_PATH
                            + " bytes; set socket to a shorter one");
        FileChannel lock = null;
        try {
            Path folder = path.toAbsolutePath().getParent();
            if (!Files.isDirectory(folder)) {
                if (folder.getParent() != null) Files.createDirectories(folder.getParent());
                Files.createDirectory(
                        folder, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
            }
            UnixDomainSocketAddress address = UnixDomainSocketAddress.of(path);
            if (answers(address)) throw inUse(path);
            // two gateways that start at the same moment: one gets the lock, and its kernel frees it however it ends
            lock = FileChannel.open(
                    path.resolveSibling(path.getFileName() + ".lock"),
                    StandardOpenOption.CREATE,
                    StandardOpenOption.WRITE);
            if (lock.tryLock() == null) throw inUse(path);
            if (Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
                if (!Files.readAttributes(
                                path, java.nio.file.attribute.BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS)
                        .isOther())
                    throw new BlockException(Reason.EXISTS, "socket " + path + ": there is a file that is no socket");
                Files.delete(path);
            }
            ServerSocketChannel channel = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
            channel.bind(address, 128);
            Files.setPosixFilePermissions(path, PosixFilePermissions.fromString("rw-------"));
            return new Listener(channel, path.toString(), path, lock);
        } catch (BlockException e) {
            close(lock);
            throw e;
        } catch (OverlappingFileLockException e) {
            close(lock);
            throw inUse(path);
        } catch (IOException e) {
            close(lock);
            throw new BlockException(Reason.IO, "socket " + path + ": " + e, e);
        }
    }

    private static BlockException inUse(Path path) {
        return new BlockException(
                Reason.IN_USE,
                "socket " + path + " is served by another gateway: stop that one, or set another socket");
    }

    private static boolean answers(UnixDomainSocketAddress address) {
        try (SocketChannel probe = SocketChannel.open(address)) {
            return probe.isConnected();
        } catch (IOException e) {
            return false;
        }
    }

    private static void close(FileChannel lock) {
        try {
            if (lock != null) lock.close();
        } catch (IOException e) {
            // it is only a lock
        }
    }

    /**
     * Listens on TCP.
     *
     * @param text {@code PORT}, {@code HOST:PORT} or {@code [IPV6]:PORT}
     * @param remote whether the address may be another than loopback
     */
    static Listener tcp(String text, boolean remote) throws BlockException {
        InetSocketAddress address = parse(text);
        if (!remote && !address.getAddress().isLoopbackAddress())
            throw new BlockException(
                    Reason.INVALID,
                    "listen '" + text + "' can be reached from elsewhere, and NBD knows no passwords: use 127.0.0.1 or"
                            + " [::1], or set allowRemote=true if that is what you want");
        try {
            ServerSocketChannel channel = ServerSocketChannel.open();
            channel.setOption(StandardSocketOptions.SO_REUSEADDR, true);
            channel.bind(address, 128);
            return new Listener(channel, describe(channel), null, null);
        } catch (IOException e) {
            throw new BlockException(Reason.IN_USE, "listen '" + text + "': " + e.getMessage(), e);
        }
    }

    /** Takes over a socket that listens already. */
    static Listener inherited(ServerSocketChannel channel) throws BlockException {
        return new Listener(channel, describe(channel), null, null);
    }

    private static String describe(ServerSocketChannel channel) throws BlockException {
        try {
            return channel.getLocalAddress()
                    .toString()
                    .replace("/", channel.getLocalAddress() instanceof InetSocketAddress ? "" : "/");
        } catch (IOException e) {
            throw new BlockException(Reason.IO, "this socket has no address: " + e.getMessage(), e);
        }
    }

    private static InetSocketAddress parse(String text) throws BlockException {
        int colon = text.lastIndexOf(':');
        String host = colon < 0 ? "127.0.0.1" : text.substring(0, colon);
        try {
            int port = Integer.parseInt(text.substring(colon + 1));
            if (host.isEmpty() || host.indexOf(':') >= 0 && !host.startsWith("[")) throw new NumberFormatException();
            return new InetSocketAddress(InetAddress.getByName(host), port);
        } catch (IllegalArgumentException | UnknownHostException e) {
            throw new BlockException(
                    Reason.INVALID, "listen '" + text + "': write 10809, 127.0.0.1:10809 or [::1]:10809", e);
        }
    }

    /** Begins to accept. */
    void start(Consumer<SocketChannel> clients) {
        Thread thread = new Thread(() -> accept(clients), "nbd-listen " + where);
        thread.setDaemon(true);
        thread.start();
    }

    private void accept(Consumer<SocketChannel> clients) {
        while (channel.isOpen()) {
            try {
                clients.accept(channel.accept());
            } catch (AsynchronousCloseException e) {
                return;
            } catch (ClosedChannelException e) {
                return;
            } catch (IOException | RuntimeException | Error e) {
                LOG.log(Level.WARNING, "a client of " + where + " is lost", e);
                try {
                    Thread.sleep(100); // out of file descriptors, most likely
                } catch (InterruptedException end) {
                    return;
                }
            }
        }
    }

    /** The socket's path, or host and port. */
    String where() {
        return where;
    }

    /** The URI of an export. */
    String uri(String export) {
        return where.startsWith("/") ? "nbd+unix:///" + export + "?socket=" + where : "nbd://" + where + "/" + export;
    }

    @Override
    public void close() {
        try {
            channel.close();
            if (socket != null) Files.deleteIfExists(socket);
        } catch (IOException e) {
            LOG.log(Level.WARNING, "closing " + where, e);
        }
        close(lock);
    }
}
