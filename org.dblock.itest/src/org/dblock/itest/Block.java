package org.dblock.itest;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.dblock.api.device.Client;
import org.dblock.api.device.Connection;
import org.dblock.api.device.Device;

/** Writes and checks blocks whose contents follow from a number. */
final class Block {
    static final int SIZE = 4096;

    /** A client that needs to know nothing. */
    static final Client CLIENT = () -> "a test";

    private final ByteBuffer buffer = ByteBuffer.allocateDirect(SIZE);

    void write(Connection connection, long block, long number) throws IOException {
        buffer.clear();
        while (buffer.hasRemaining()) buffer.putLong(number * 31 + buffer.position());
        connection.write(buffer.flip(), block * SIZE, false);
    }

    /** Whether a block holds what {@link #write} wrote for that number. */
    boolean holds(Connection connection, long block, long number) throws IOException {
        connection.read(buffer.clear(), block * SIZE);
        buffer.clear();
        while (buffer.hasRemaining()) {
            long expected = number * 31 + buffer.position();
            if (buffer.getLong() != expected) return false;
        }
        return true;
    }

    /** The same on a connection of its own. */
    static void write(Device device, long block, long number) throws IOException {
        try (Connection connection = device.connect(CLIENT)) {
            new Block().write(connection, block, number);
        }
    }

    /** The same on a connection of its own. */
    static boolean holds(Device device, long block, long number) throws IOException {
        try (Connection connection = device.connect(CLIENT)) {
            return new Block().holds(connection, block, number);
        }
    }
}
