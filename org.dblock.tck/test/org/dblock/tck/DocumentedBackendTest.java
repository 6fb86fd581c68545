package org.dblock.tck;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.ToolProvider;
import org.dblock.api.BlockStore;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The backend that docs/write-a-backend.md shows, taken out of that very text, keeps the contract. */
class DocumentedBackendTest extends BlockVolumeContract {
    private static String source;
    private static URLClassLoader loader;

    @TempDir
    static Path folder;

    @BeforeAll
    static void compile() throws IOException {
        Matcher code = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL)
                .matcher(Files.readString(Path.of("../docs/write-a-backend.md")));
        assertTrue(code.find());
        source = code.group(1);
        Path file = Files.writeString(folder.resolve("HeapStore.java"), source);
        String[] arguments = {
            "-Xlint:all,-classfile",
            "-Werror",
            "--release",
            "17",
            "-cp",
            System.getProperty("java.class.path"),
            "-d",
            folder.toString(),
            file.toString()
        };
        assertEquals(0, ToolProvider.getSystemJavaCompiler().run(null, null, null, arguments));
        loader = new URLClassLoader(new URL[] {folder.toUri().toURL()});
    }

    @AfterAll
    static void close() throws IOException {
        loader.close();
    }

    @Override
    protected BlockStore newStore() throws ReflectiveOperationException {
        return (BlockStore)
                loader.loadClass("example.heap.HeapStore").getConstructor().newInstance();
    }

    @Test
    void theExampleHasAtMostFortyLines() {
        long lines = source.lines().count();
        assertTrue(lines <= 40, lines + " lines");
        source.lines().forEach(line -> assertTrue(line.length() <= 120, line));
    }
}
