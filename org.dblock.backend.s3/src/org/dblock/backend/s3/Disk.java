package org.dblock.backend.s3;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;

/** The local file of one volume's journal, locked against other processes. Thread-safe. */
interface Disk extends Closeable {
    /** In bytes; 0: there is no journal. */
    long size() throws IOException;

    /**
     * Makes a new file of written zeroes in place of what is there.
     *
     * @param keep whether what is there is put aside, where it is kept for some time, and never read by a gateway again
     */
    void replace(long bytes, boolean keep) throws IOException;

    void write(ByteBuffer from, long position) throws IOException;

    void read(ByteBuffer into, long position) throws IOException;

    /** Makes all earlier writes survive a crash of the host. */
    void sync() throws IOException;

    /** Removes the file, and those that were put aside. */
    void delete() throws IOException;

    @Override
    void close();
}
