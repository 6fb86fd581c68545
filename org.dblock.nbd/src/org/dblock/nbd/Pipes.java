package org.dblock.nbd;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * A socket made out of a pair of streams, so that there is one way to serve a client; two threads carry the bytes.
 *
 * @param channel reads what comes from the input, and its bytes go to the output
 * @param output the thread that ends when the last byte is out
 */
record Pipes(SocketChannel channel, Thread output) {

    /** Joins two streams. */
    static Pipes join(InputStream in, OutputStream out) throws IOException {
        Path folder = Files.createTempDirectory("dblock-nbd");
        Path path = folder.resolve("stdio");
        try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            server.bind(UnixDomainSocketAddress.of(path));
            SocketChannel far = SocketChannel.open(server.getLocalAddress());
            SocketChannel near = server.accept();
            carry("nbd-stdin", () -> {
                byte[] bytes = new byte[64 << 10];
                for (int n; (n = in.read(bytes)) > 0; )
                    for (ByteBuffer piece = ByteBuffer.wrap(bytes, 0, n); piece.hasRemaining(); ) far.write(piece);
                far.shutdownOutput();
            });
            Thread output = carry("nbd-stdout", () -> {
                ByteBuffer bytes = ByteBuffer.allocate(64 << 10);
                while (far.read(bytes.clear()) >= 0) {
                    out.write(bytes.array(), 0, bytes.position());
                    out.flush();
                }
                out.close();
            });
            return new Pipes(near, output);
        } finally {
            Files.deleteIfExists(path);
            Files.delete(folder);
        }
    }

    private interface Carrier {
        void run() throws IOException;
    }

    private static Thread carry(String name, Carrier carrier) {
        Thread thread = new Thread(
                () -> {
                    try {
                        carrier.run();
                    } catch (IOException e) {
                        // an end is gone, and the connection with it
                    }
                },
                name);
        thread.setDaemon(true);
        thread.start();
        return thread;
    }
}
