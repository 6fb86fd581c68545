package org.dblock.backend.file;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/** What the kernel tells of a file's surroundings, in /proc and /sys. */
final class Host {
    private static final Path DEVICES = Path.of("/sys/dev/block");

    private Host() {}

    /** Who holds a lock of flock(2) on a file, for a message. */
    static String lockHolder(Path file) {
        List<String> holders = new ArrayList<>();
        try (Stream<String> locks = Files.lines(Path.of("/proc/locks"))) {
            String inode = ":" + Files.getAttribute(file, "unix:ino");
            for (String lock : (Iterable<String>) locks::iterator) {
                String[] words = lock.strip().split("\\s+"); // 1: FLOCK ADVISORY WRITE 4711 fd:00:1234 0 EOF
                if (words.length > 5 && words[1].equals("FLOCK") && words[5].endsWith(inode))
                    holders.add(process(Long.parseLong(words[4])));
            }
        } catch (IOException | NumberFormatException e) {
            // then nobody can be named
        }
        return holders.isEmpty() ? "another process" : String.join(", ", holders);
    }

    private static String process(long pid) {
        if (pid == ProcessHandle.current().pid()) return "this gateway";
        try {
            return "process " + pid + " ("
                    + Files.readString(Path.of("/proc/" + pid + "/comm")).strip() + ")";
        } catch (IOException e) {
            return "process " + pid;
        }
    }

    static boolean isBlockDevice(Path file) throws IOException {
        return ((Integer) Files.getAttribute(file, "unix:mode") & 0170000) == 0060000;
    }

    /** The logical block size of a block device. */
    static int blockSize(Path device) throws IOException {
        Path entry = DEVICES.resolve(number((Long) Files.getAttribute(device, "unix:rdev")))
                .toRealPath();
        if (Files.exists(entry.resolve("partition"))) entry = entry.getParent();
        return Integer.parseInt(
                Files.readString(entry.resolve("queue/logical_block_size")).strip());
    }

    /**
     * The dblock device that a file, or a block device, lies on in the end: through file systems, partitions, loop
     * devices, device mapper and RAID.
     */
    static Optional<String> dblockDevice(Path file) throws IOException {
        if (isBlockDevice(file)) return dblockDevice((Long) Files.getAttribute(file, "unix:rdev"));
        Path source = Path.of(Files.getFileStore(file).name()); // unlike st_dev, of use with btrfs
        if (source.isAbsolute() && Files.exists(source) && isBlockDevice(source)) return dblockDevice(source);
        return dblockDevice((Long) Files.getAttribute(file, "unix:dev"));
    }

    private static Optional<String> dblockDevice(long number) throws IOException {
        Path entry = DEVICES.resolve(number(number));
        return Files.exists(entry) ? dblockDisk(entry.toRealPath()) : Optional.empty();
    }

    /** @param entry a block device's folder in /sys */
    static Optional<String> dblockDisk(Path entry) throws IOException {
        if (Files.exists(entry.resolve("partition"))) entry = entry.getParent();
        if (Files.isDirectory(entry.resolve("dblock"))) return Optional.of("/dev/" + entry.getFileName());
        Path image = entry.resolve("loop/backing_file");
        if (Files.exists(image)) {
            Path file = Path.of(Files.readString(image).strip());
            if (Files.exists(file)) return dblockDevice(file);
        }
        if (Files.isDirectory(entry.resolve("slaves"))) {
            try (Stream<Path> below = Files.list(entry.resolve("slaves"))) {
                for (Path each : (Iterable<Path>) below::iterator) {
                    Optional<String> found = dblockDisk(each.toRealPath());
                    if (found.isPresent()) return found;
                }
            }
        }
        return Optional.empty();
    }

    private static String number(long device) {
        long major = device >> 8 & 0xfff | device >> 32 & ~0xfffL;
        long minor = device & 0xff | device >> 12 & ~0xffL;
        return major + ":" + minor;
    }
}
