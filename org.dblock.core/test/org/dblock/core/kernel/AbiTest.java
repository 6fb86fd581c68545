package org.dblock.core.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.reflect.Field;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Every number in {@link Abi} is the one that a C compiler makes of the module's header. */
class AbiTest {
    private static final Path INCLUDE = Path.of("../kernel-module/include/uapi").toAbsolutePath();

    @TempDir
    Path folder;

    @Test
    void constantsAreThoseOfTheHeader() throws Exception {
        assertTrue(Files.exists(INCLUDE.resolve("dblock.h")), "no dblock.h in " + INCLUDE);
        Map<String, String> expressions = new LinkedHashMap<>();
        Map<String, String> values = new LinkedHashMap<>();
        for (Field field : Abi.class.getDeclaredFields()) {
            if (field.isSynthetic()) continue;
            String type = field.getType() == int.class ? "(int)" : "";
            if (field.getType() == String.class) continue;
            expressions.put(field.getName(), "(long long)" + type + "DBLOCK_" + field.getName());
            values.put(field.getName(), String.valueOf(field.get(null)));
        }
        for (Class<?> struct : Abi.class.getDeclaredClasses()) {
            String name = "struct dblock_" + struct.getSimpleName().toLowerCase(Locale.ROOT);
            for (Field field : struct.getDeclaredFields()) {
                String key = struct.getSimpleName() + "." + field.getName();
                String member = field.getName().toLowerCase(Locale.ROOT);
                expressions.put(
                        key,
                        field.getName().equals("SIZEOF")
                                ? "(long long)sizeof(" + name + ")"
                                : "(long long)offsetof(" + name + ", " + member + ")");
                values.put(key, String.valueOf(field.get(null)));
            }
        }
        assertTrue(values.size() > 100, "reflection has found " + values.size() + " constants only");
        assertEquals(String.join("\n", lines(values)), String.join("\n", run(expressions)));
    }

    private static Iterable<String> lines(Map<String, String> values) {
        return values.entrySet().stream()
                .map(each -> each.getKey() + " " + each.getValue())
                .toList();
    }

    private Iterable<String> run(Map<String, String> expressions) throws Exception {
        StringBuilder program = new StringBuilder(
                "#include <stdio.h>\n#include <stddef.h>\n#include \"dblock.h\"\nint main(void)\n{\n");
        expressions.forEach((key, value) -> program.append("\tprintf(\"%s %lld\\n\", \"")
                .append(key)
                .append("\", ")
                .append(value)
                .append(");\n"));
        Path source = folder.resolve("abi.c"), binary = folder.resolve("abi"), output = folder.resolve("output");
        Files.writeString(source, program.append("\treturn 0;\n}\n"));
        assumeTrue(
                new ProcessBuilder("sh", "-c", "command -v cc").start().waitFor() == 0,
                "there is no C compiler (cc) to compare the constants with the header");
        assertEquals(
                0,
                exec(output, "cc", "-o", binary.toString(), "-I", INCLUDE.toString(), source.toString()),
                () -> text(output));
        assertEquals(0, exec(output, binary.toString()));
        return Files.readAllLines(output);
    }

    private static int exec(Path output, String... command) throws Exception {
        Process process = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(output.toFile())
                .start();
        assertTrue(process.waitFor(5, TimeUnit.MINUTES), command[0] + " does not end");
        return process.exitValue();
    }

    private static String text(Path file) {
        try {
            return Files.readString(file);
        } catch (java.io.IOException e) {
            return e.toString();
        }
    }
}
