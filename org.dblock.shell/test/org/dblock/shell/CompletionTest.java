package org.dblock.shell;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PipedInputStream;
import java.io.PipedOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.apache.felix.gogo.runtime.CommandProcessorImpl;
import org.apache.felix.gogo.runtime.threadio.ThreadIOImpl;
import org.jline.reader.Candidate;
import org.jline.reader.LineReader;
import org.jline.reader.LineReaderBuilder;
import org.jline.terminal.impl.ExternalTerminal;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Completion in an interactive session, at a terminal. */
@Timeout(120)
class CompletionTest {
    @TempDir
    Path home;

    private String typed(String keys) throws IOException {
        PipedOutputStream keyboard = new PipedOutputStream();
        LineReader reader = LineReaderBuilder.builder()
                .terminal(new ExternalTerminal(
                        "test",
                        "xterm",
                        new PipedInputStream(keyboard),
                        OutputStream.nullOutputStream(),
                        StandardCharsets.UTF_8))
                .completer((r, line, candidates) -> candidates.add(new Candidate("of-somebody-else")))
                .build();
        Commands commands = new Commands(FakeDevices.withDemo(), null, home);
        Completion completion = new Completion(commands);
        var session = new CommandProcessorImpl(new ThreadIOImpl())
                .createSession(
                        InputStream.nullInputStream(),
                        OutputStream.nullOutputStream(),
                        OutputStream.nullOutputStream());
        completion.afterExecute(session, "a session without a reader", (Object) null);
        session.put(".reader", reader);
        completion.afterExecute(session, "its profile", (Object) null);
        completion.afterExecute(session, "its first line", (Object) null);
        keyboard.write((keys + "\n").getBytes(StandardCharsets.UTF_8));
        return reader.readLine().strip();
    }

    @Test
    void namesOptionsAndValuesOfOurCommandsAreCompleted() throws IOException {
        assertThat(typed("create x ra\t10G --vol\tv")).isEqualTo("create x ramdisk 10G --volume v");
        assertThat(typed("dblock:create x file 10G --al\tfu\t")).isEqualTo("dblock:create x file 10G --allocate full");
    }

    @Test
    void whatIsNotOursIsLeftToTheShell() throws IOException {
        assertThat(typed("other of\t")).isEqualTo("other of-somebody-else");
        assertThat(typed("of\t")).isEqualTo("of-somebody-else");
    }
}
