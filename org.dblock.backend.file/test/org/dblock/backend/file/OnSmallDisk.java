package org.dblock.backend.file;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.dblock.api.BlockStore;
import org.dblock.tck.BlockVolumeContract;

/**
 * The contract suite on a file system that may be filled up; {@code test/small-disk} mounts some and runs this on each.
 * The system property {@code dblock.disk} names its folder.
 */
class OnSmallDisk extends BlockVolumeContract {
    private final Path disk = Path.of(System.getProperty("dblock.disk"));
    private final Path filler = disk.resolve("filler");

    @Override
    protected BlockStore newStore() {
        return new FileBlockStore(disk.resolve("volumes"));
    }

    @Override
    protected void release(BlockStore store) throws IOException {
        try (var files = Files.list(disk.resolve("volumes"))) {
            for (Path each : (Iterable<Path>) files::iterator) Files.delete(each);
        }
    }

    @Override
    protected AutoCloseable full(BlockStore store) throws IOException {
        for (int piece = 1 << 20; piece >= 4096; piece /= 2) fill(piece);
        return () -> Files.delete(filler);
    }

    /** Writes pieces of that size until no more fits. */
    private void fill(int piece) throws IOException {
        try (FileChannel file = FileChannel.open(
                filler, StandardOpenOption.CREATE, StandardOpenOption.WRITE, StandardOpenOption.APPEND)) {
            while (true) {
                file.write(ByteBuffer.allocate(piece));
                file.force(true);
            }
        } catch (IOException e) {
            if (Files.size(filler) == 0) throw e;
        }
    }
}
