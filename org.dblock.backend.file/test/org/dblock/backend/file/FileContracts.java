package org.dblock.backend.file;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.dblock.api.BlockStore;
import org.dblock.api.VolumeSpec;
import org.dblock.tck.BlockVolumeContract;
import org.junit.jupiter.api.io.TempDir;

/** The contract suite on files, opened in every way. */
abstract class FileContracts extends BlockVolumeContract {
    @TempDir
    Path folder;

    @Override
    protected BlockStore newStore() throws IOException {
        return new FileBlockStore(folder);
    }

    static class SparseTest extends FileContracts {}

    static class LargeBlocksTest extends FileContracts {
        @Override
        protected VolumeSpec spec(String volume, long size) {
            return super.spec(volume, size).withBlockSize(4096);
        }
    }

    static class PreallocatedTest extends FileContracts {
        @Override
        protected VolumeSpec spec(String volume, long size) {
            return super.spec(volume, size).withOption("preallocate", true);
        }
    }

    static class DirectTest extends FileContracts {
        @Override
        protected BlockStore newStore() throws IOException {
            // temporary folders may lie in memory, where there is no O_DIRECT
            if (!folder.startsWith(Path.of("generated").toAbsolutePath()))
                folder = Files.createTempDirectory(Path.of("generated").toAbsolutePath(), "direct");
            return super.newStore();
        }

        @Override
        protected void release(BlockStore store) throws IOException {
            try (var files = Files.list(folder)) {
                for (Path each : (Iterable<Path>) files::iterator) Files.delete(each);
            }
            Files.deleteIfExists(folder);
            Files.createDirectories(folder);
        }

        @Override
        protected VolumeSpec spec(String volume, long size) {
            return super.spec(volume, size).withOption("direct", "true");
        }
    }
}
