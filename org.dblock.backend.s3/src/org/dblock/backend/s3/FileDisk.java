package org.dblock.backend.s3;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/** A journal in a file, with a lock file beside it that is held until the journal is closed. */
final class FileDisk implements Disk {
    private final Path path;
    private final FileChannel lockChannel;
    private FileChannel channel;

    FileDisk(Path path) throws IOException {
        this.path = path;
        Files.createDirectories(path.getParent());
        Path lockPath = path.resolveSibling(path.getFileName() + ".lock");
        lockChannel = FileChannel.open(lockPath, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        if (!locked()) {
            lockChannel.close();
            throw new BlockException(
                    Reason.IN_USE, "journal " + path + " is in use: this host has the volume open already");
        }
        if (Files.exists(path)) channel = open();
    }

    private boolean locked() throws IOException {
        try {
            FileLock lock = lockChannel.tryLock();
            return lock != null;
        } catch (OverlappingFileLockException e) {
            return false;
        }
    }

    private FileChannel open() throws IOException {
        return FileChannel.open(path, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
    }

    @Override
    public long size() throws IOException {
        return channel == null ? 0 : channel.size();
    }

    @Override
    public void replace(long bytes, boolean keep) throws IOException {
        if (channel != null) {
            channel.close();
            channel = null;
            Path aside = path.resolveSibling(path.getFileName() + "." + System.currentTimeMillis() + ".aside");
            if (keep) Files.move(path, aside, StandardCopyOption.ATOMIC_MOVE);
            else Files.delete(path);
        }
        FileChannel fresh = open();
        try {
            // written, not reserved: an unwritten extent would cost a commit of the file system at each sync
            ByteBuffer zeroes = ByteBuffer.allocateDirect(1 << 20);
            for (long at = 0; at < bytes; ) {
                zeroes.clear().limit((int) Math.min(zeroes.capacity(), bytes - at));
                at += fresh.write(zeroes, at);
            }
            fresh.force(true);
        } catch (IOException e) {
            fresh.close();
            Files.deleteIfExists(path);
            throw new BlockException(
                    Reason.NO_SPACE, "journal " + path + " of " + bytes + " bytes can't be made: " + e, e);
        }
        channel = fresh;
        try (FileChannel folder = FileChannel.open(path.getParent(), StandardOpenOption.READ)) {
            folder.force(true);
        }
    }

    @Override
    public void write(ByteBuffer from, long position) throws IOException {
        while (from.hasRemaining()) position += channel.write(from, position);
    }

    @Override
    public void read(ByteBuffer into, long position) throws IOException {
        while (into.hasRemaining()) {
            int n = channel.read(into, position);
            if (n < 0) throw new EOFException("journal " + path + " ends at " + position);
            position += n;
        }
    }

    @Override
    public void sync() throws IOException {
        channel.force(false);
    }

    @Override
    public void delete() throws IOException {
        if (channel != null) channel.close();
        channel = null;
        Files.deleteIfExists(path);
    }

    @Override
    public void close() {
        try {
            if (channel != null) channel.close();
            lockChannel.close();
        } catch (IOException e) {
            System.getLogger(FileDisk.class.getName()).log(System.Logger.Level.WARNING, "closing " + path, e);
        }
    }
}
