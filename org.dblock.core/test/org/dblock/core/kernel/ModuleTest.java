package org.dblock.core.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The module keeps what its header promises: the first of its own suites, in a virtual machine. {@code .ci/run} has
 * all.
 */
class ModuleTest {
    private static final String SUITES =
            Path.of("../kernel-module/test/run").toAbsolutePath().normalize().toString();

    @TempDir
    Path folder;

    @Test
    void theModuleKeepsWhatItsHeaderPromises() throws Exception {
        String missing = run("what is missing", 1, SUITES, "missing").strip();
        assumeTrue(missing.isEmpty(), "the kernel module is not tested here: " + missing.replace("\n", "; "));
        run("the suite abi", 30, SUITES, "6.1", "short", "abi");
    }

    /** A command's output; an error if it fails. */
    private String run(String what, int minutes, String... command) throws Exception {
        Path output = folder.resolve("output");
        Process process = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(output.toFile())
                .start();
        try {
            assertTrue(process.waitFor(minutes, TimeUnit.MINUTES), () -> what + " does not end");
            assertEquals(0, process.exitValue(), Files.readString(output));
        } finally {
            process.descendants().forEach(ProcessHandle::destroy);
            process.destroy();
        }
        return Files.readString(output);
    }
}
