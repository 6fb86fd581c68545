package org.dblock.shell;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.dblock.api.device.DeviceSpec;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code docs/shell.md} says what the commands are; with DBLOCK_WRITE_DOCS set, this writes it anew. */
class DocumentationTest {
    private static final String BEGIN = "<!-- begin: written by DocumentationTest -->\n";
    private static final String END = "<!-- end -->\n";

    @TempDir
    Path home;

    private Commands commands;

    @BeforeEach
    void demo() throws IOException {
        FakeDevices devices = FakeDevices.withDemo();
        devices.create(DeviceSpec.of("vault", "s3", 1L << 30));
        commands = new Commands(devices, null, home);
    }

    @Test
    void theDocumentListsTheCommandsAsTheyAre() throws IOException {
        Path file = document();
        String text = Files.readString(file);
        String right =
                text.substring(0, text.indexOf(BEGIN) + BEGIN.length()) + table() + text.substring(text.indexOf(END));
        if (System.getenv("DBLOCK_WRITE_DOCS") != null) Files.writeString(file, right);
        else
            assertThat(text).as("stale: run the tests with DBLOCK_WRITE_DOCS=1").isEqualTo(right);
    }

    @Test
    void theExamplesWorkOneAfterTheOther() throws Exception {
        for (Command command : commands.all()) {
            List<String> words = Arrays.asList(command.example().split(" "));
            assertThat(words.get(0)).isEqualTo(command.name());
            command.parse(words.subList(1, words.size()));
            // these want a framework, or a bucket, and have tests of their own
            if (Set.of("install-backend", "update-backend", "remove-backend", "s3-inspect")
                    .contains(command.name())) continue;
            commands.run(
                    command,
                    words.subList(1, words.size()),
                    new PrintStream(PrintStream.nullOutputStream()),
                    home,
                    false,
                    new CountDownLatch(1));
        }
    }

    private String table() {
        StringBuilder table = new StringBuilder();
        table.append("| command | what it does | for example |\n|---|---|---|\n");
        for (Command command : commands.all())
            table.append("| `")
                    .append(command.name())
                    .append("` | ")
                    .append(command.summary())
                    .append(" | `./dblock ")
                    .append(command.example())
                    .append("` |\n");
        for (Command command : commands.all()) {
            table.append("\n### ")
                    .append(command.name())
                    .append("\n\n")
                    .append(command.summary())
                    .append(".\n\n```\n")
                    .append(command.usage())
                    .append("\n```\n\n");
            for (List<Parameter> list : List.of(command.arguments(), command.options()))
                for (Parameter p : list)
                    table.append("- `")
                            .append(p.syntax())
                            .append("`: ")
                            .append(p.description())
                            .append('\n');
        }
        return table.toString().replaceAll("\n\n\n+", "\n\n");
    }

    private static Path document() {
        Path folder = Path.of("").toAbsolutePath();
        while (!Files.exists(folder.resolve("docs/shell.md"))) folder = folder.getParent();
        return folder.resolve("docs/shell.md");
    }
}
