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
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.stream.Stream;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/** A journal in a file, with a lock file beside it that is held until the journal is closed. */
final class FileDisk implements Disk {
    private static final System.Logger LOG = System.getLogger(FileDisk.class.getName());
    private static final String ASIDE = ".aside";

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
            if (keep) putAside();
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

    private void putAside() throws IOException {
        Path aside = path.resolveSibling(path.getFileName() + "." + System.currentTimeMillis() + ASIDE);
        Files.move(path, aside, StandardCopyOption.ATOMIC_MOVE);
        LOG.log(System.Logger.Level.WARNING, "journal {0} is put aside as {1}", path, aside);
    }

    /** The files that were put aside. */
    private static List<Path> aside(Path journal) throws IOException {
        if (!Files.isDirectory(journal.getParent())) return List.of();
        String begin = journal.getFileName() + ".";
        try (Stream<Path> files = Files.list(journal.getParent())) {
            return files.filter(file -> {
                        String name = file.getFileName().toString();
                        return name.startsWith(begin) && name.endsWith(ASIDE);
                    })
                    .sorted()
                    .toList();
        }
    }

    /**
     * Deletes what was put aside of a journal more than so many days before, and says so; of the others it says where
     * they are and when they go.
     *
     * @param days 0: they stay
     * @param now milliseconds since 1970
     */
    static void expire(String volume, Path journal, int days, long now) {
        try {
            for (Path file : aside(journal)) expire(volume, journal, file, days, now);
        } catch (IOException e) {
            LOG.log(System.Logger.Level.WARNING, "what was put aside of " + journal + " stays", e);
        }
    }

    private static void expire(String volume, Path journal, Path file, int days, long now) throws IOException {
        String name = file.getFileName().toString();
        long since;
        try {
            since = Long.parseLong(
                    name.substring(journal.getFileName().toString().length() + 1)
                            .replace(ASIDE, ""));
        } catch (NumberFormatException e) {
            return; // somebody has renamed it: it is theirs
        }
        Instant end = Instant.ofEpochMilli(since).plus(days, ChronoUnit.DAYS);
        boolean over = days > 0 && end.toEpochMilli() <= now;
        String what = "volume '" + volume + "': " + file + ", a journal that was put aside at "
                + Instant.ofEpochMilli(since) + ", ";
        if (over) Files.delete(file);
        LOG.log(
                System.Logger.Level.WARNING,
                what
                        + (over
                                ? "is deleted after " + days + " days"
                                : days > 0
                                        ? "is kept, and deleted when the volume is opened after " + end
                                        : "is kept until somebody deletes it"));
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
        for (Path file : aside(path)) Files.delete(file);
    }

    @Override
    public void close() {
        try {
            if (channel != null) channel.close();
            lockChannel.close();
        } catch (IOException e) {
            LOG.log(System.Logger.Level.WARNING, "closing " + path, e);
        }
    }
}
