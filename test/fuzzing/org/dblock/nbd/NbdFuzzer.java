package org.dblock.nbd;

import java.io.EOFException;
import java.io.IOException;
import java.lang.management.BufferPoolMXBean;
import java.lang.management.ManagementFactory;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

/**
 * What Jazzer calls: one input is what one client sends before it closes its side. Its first byte picks the way: the whole
 * handshake, or, after a right handshake, what follows in one of the shapes of replies on a volume that blocks or not.
 *
 * <p>Fails on whatever the server logs as its own failure, on requests let through that a volume must not see, on replies
 * that break the protocol, and on anything left behind: clients, threads, descriptors, memory.
 */
public final class NbdFuzzer {
    /** The handshake, and each mode on each volume. */
    static final int WAYS = 1 + 2 * Transmission.Mode.values().length;

    private static final int SIZE = 1 << 20;
    private static final ExecutorService READER = Executors.newSingleThreadExecutor(task -> {
        Thread thread = new Thread(task, "fuzz-reader");
        thread.setDaemon(true);
        return thread;
    });

    private static NbdServer server;
    private static FakeDevice quick;
    private static FakeDevice slow;
    private static ServerSocketChannel pairs;
    private static final BufferPool POOL = new BufferPool();
    private static volatile Throwable failure;
    private static int runs;
    /** How often the heap is looked at, which costs a collection. */
    private static final int HEAP_RUNS = 20_000;
    /** How much more of it may be in use than after the first {@link #HEAP_RUNS}, however many follow. */
    private static final long HEAP_GROWTH = 4 << 20;

    private static long heapAtFirst;

    private NbdFuzzer() {}

    /** Begins. */
    public static void fuzzerInitialize() throws Exception {
        Logger log = Logger.getLogger("org.dblock.nbd");
        log.setUseParentHandlers(false);
        log.setLevel(Level.SEVERE);
        log.addHandler(new Handler() {
            @Override
            public void publish(LogRecord entry) {
                failure = new AssertionError(entry.getMessage(), entry.getThrown());
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        });
        server = new NbdServer(name -> null, () -> {}, TestSettings.of("none"));
        quick = new FakeDevice("a", SIZE, 512);
        slow = new FakeDevice("b", SIZE, 512).blocking();
        for (FakeDevice each : new FakeDevice[] {quick, slow}) {
            each.remembers = false;
            each.fill(8192, 65536);
            server.export(each, Map.of());
        }
        Path folder = Files.createTempDirectory("fuzz");
        pairs = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        pairs.bind(UnixDomainSocketAddress.of(folder.resolve("s")));
        // in the reverse order
        folder.toFile().deleteOnExit();
        folder.resolve("s").toFile().deleteOnExit();
    }

    static Transmission.Mode mode(int way) {
        return Transmission.Mode.values()[(way - 1) / 2];
    }

    /** Runs one input. */
    public static void fuzzerTestOneInput(byte[] input) throws Exception {
        if (input.length == 0) return;
        int way = (input[0] & 0xff) % WAYS;
        Session session;
        Future<Void> replies;
        try (SocketChannel far = SocketChannel.open(pairs.getLocalAddress())) {
            SocketChannel near = pairs.accept();
            session = new Session(server, near, "fuzz", POOL, new Spinners(1, 0));
            ByteBuffer sent = ByteBuffer.allocate(8192);
            if (way > 0) handshake(sent, way);
            sent.put(input, 1, Math.min(input.length - 1, sent.remaining())).flip();
            replies = READER.submit(() -> {
                try {
                    check(far, way);
                } catch (EOFException e) {
                    // whoever breaks the protocol may be cut off amid a reply
                }
                return null;
            });
            while (sent.hasRemaining()) far.write(sent);
            far.shutdownOutput();
            session.run();
            replies.get();
        }
        if (failure != null) throw new AssertionError("the server failed", failure);
        if (quick.violation != null || slow.violation != null)
            throw new AssertionError("let through: " + quick.violation + ", " + slow.violation);
        if (!quick.clients.isEmpty() || !slow.clients.isEmpty()) throw new AssertionError("a client was left behind");
        if (++runs % 1000 == 0) checkLeaks();
        if (runs % HEAP_RUNS == 0) checkHeap();
    }

    private static void handshake(ByteBuffer sent, int way) {
        Transmission.Mode mode = mode(way);
        String name = way % 2 == 0 ? "a" : "b";
        sent.putInt(3);
        if (mode == Transmission.Mode.STRUCTURED) option(sent, Nbd.OPT_STRUCTURED_REPLY, new byte[0]);
        if (mode == Transmission.Mode.EXTENDED) option(sent, Nbd.OPT_EXTENDED_HEADERS, new byte[0]);
        if (mode != Transmission.Mode.SIMPLE)
            option(sent, Nbd.OPT_SET_META_CONTEXT, TestClient.contextData(name, "base:allocation"));
        option(sent, Nbd.OPT_GO, TestClient.infoData(name, 3));
    }

    private static void option(ByteBuffer sent, int option, byte[] data) {
        sent.putLong(Nbd.OPTION_MAGIC).putInt(option).putInt(data.length).put(data);
    }

    /** Reads all replies, and checks them where their lengths are in them. */
    private static void check(SocketChannel channel, int way) throws IOException {
        ByteBuffer rest = ByteBuffer.allocate(64 << 10);
        if (way > 0 && mode(way) != Transmission.Mode.SIMPLE) {
            boolean extended = mode(way) == Transmission.Mode.EXTENDED;
            receive(channel, 18);
            for (int acks = 0; acks < 3; ) {
                ByteBuffer header = receive(channel, 20);
                if (header.getLong() != Nbd.OPTION_REPLY_MAGIC) throw new AssertionError("option reply");
                if (header.getInt(12) == Nbd.REP_ACK) acks++;
                receive(channel, header.getInt(16));
            }
            while (chunk(channel, extended)) {}
        }
        while (channel.read(rest.clear()) >= 0) {}
    }

    private static boolean chunk(SocketChannel channel, boolean extended) throws IOException {
        ByteBuffer magic = ByteBuffer.allocate(4);
        if (channel.read(magic) < 0) return false;
        while (magic.hasRemaining()) if (channel.read(magic) < 0) throw new EOFException("amid a reply");
        if (!extended && magic.getInt(0) == Nbd.SIMPLE_REPLY_MAGIC) {
            receive(channel, 12);
            return true;
        }
        if (magic.getInt(0) != (extended ? Nbd.EXTENDED_REPLY_MAGIC : Nbd.STRUCTURED_REPLY_MAGIC))
            throw new AssertionError("reply magic " + magic.getInt(0));
        ByteBuffer header = receive(channel, extended ? 28 : 16);
        long length = extended ? header.getLong(20) : header.getInt(12);
        if (length < 0 || length > SIZE + 64) throw new AssertionError("chunk of " + length + " bytes");
        receive(channel, (int) length);
        return true;
    }

    private static ByteBuffer receive(SocketChannel channel, int length) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(length);
        while (bytes.hasRemaining()) if (channel.read(bytes) < 0) throw new EOFException("amid a reply");
        return bytes.flip();
    }

    private static void checkHeap() {
        System.gc();
        long used = ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed();
        if (heapAtFirst == 0) heapAtFirst = used;
        System.err.println("heap in use after " + runs + " runs: " + used + " bytes");
        if (used > heapAtFirst + HEAP_GROWTH)
            throw new AssertionError("left behind: " + (used - heapAtFirst) + " bytes of heap since run " + HEAP_RUNS);
    }

    private static void checkLeaks() {
        long direct = ManagementFactory.getPlatformMXBeans(BufferPoolMXBean.class).stream()
                .filter(pool -> pool.getName().equals("direct"))
                .mapToLong(BufferPoolMXBean::getMemoryUsed)
                .sum();
        int descriptors = new java.io.File("/proc/self/fd").list().length;
        int threads = Thread.activeCount();
        if (direct > 256 << 20 || descriptors > 200 || threads > 100)
            throw new AssertionError("left behind: " + direct + " bytes of direct memory, " + descriptors
                    + " descriptors, " + threads + " threads");
    }
}
