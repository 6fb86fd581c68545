package org.dblock.dist;

import java.io.EOFException;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** As much of an NBD client as it takes to read and write. */
final class NbdClient implements AutoCloseable {
    private static final int READ = 0, WRITE = 1, DISCONNECT = 2;

    private final SocketChannel channel;
    private final long size;

    NbdClient(Path socket, String export) throws IOException {
        channel = SocketChannel.open(StandardProtocolFamily.UNIX);
        channel.connect(UnixDomainSocketAddress.of(socket));
        receive(18); // both magic numbers and the server's flags
        byte[] name = export.getBytes(StandardCharsets.UTF_8);
        // fixed newstyle without zeroes; EXPORT_NAME
        send(ByteBuffer.allocate(20 + name.length)
                .putInt(3)
                .putLong(0x49484156454f5054L)
                .putInt(1)
                .putInt(name.length)
                .put(name));
        size = receive(10).getLong();
    }

    long size() {
        return size;
    }

    byte[] read(long offset, int length) throws IOException {
        request(READ, offset, length, new byte[0]);
        return receive(length).array();
    }

    void write(long offset, byte[] bytes) throws IOException {
        request(WRITE, offset, bytes.length, bytes);
    }

    private void request(int command, long offset, int length, byte[] bytes) throws IOException {
        send(ByteBuffer.allocate(28 + bytes.length)
                .putInt(0x25609513)
                .putInt(command)
                .putLong(offset)
                .putLong(offset)
                .putInt(length)
                .put(bytes));
        int error = receive(16).getInt(4);
        if (error != 0) throw new IOException("the server answers with error " + error);
    }

    private void send(ByteBuffer buffer) throws IOException {
        buffer.flip();
        while (buffer.hasRemaining()) channel.write(buffer);
    }

    private ByteBuffer receive(int length) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(length);
        while (buffer.hasRemaining()) if (channel.read(buffer) < 0) throw new EOFException("the server hung up");
        return buffer.flip();
    }

    @Override
    public void close() throws IOException {
        try (channel) {
            send(ByteBuffer.allocate(28).putInt(0x25609513).putInt(DISCONNECT).position(28));
        } catch (IOException e) {
            // it has hung up already
        }
    }
}
