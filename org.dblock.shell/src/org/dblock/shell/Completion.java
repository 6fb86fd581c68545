package org.dblock.shell;

import java.util.ArrayList;
import java.util.List;
import org.apache.felix.service.command.CommandSession;
import org.apache.felix.service.command.CommandSessionListener;
import org.jline.reader.Candidate;
import org.jline.reader.Completer;
import org.jline.reader.LineReader;
import org.jline.reader.ParsedLine;
import org.jline.reader.impl.LineReaderImpl;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/**
 * Completes our commands in Gogo's interactive shell, where there is one: it puts itself before the completer of each
 * session's line reader, which knows no values and no options of a backend.
 */
@Component
public final class Completion implements CommandSessionListener {
    /** Gogo's session variable with the line reader; only interactive sessions have it. */
    private static final String READER = ".reader";

    private final Commands commands;

    /** Waits for sessions. */
    @Activate
    public Completion(@Reference Commands commands) {
        this.commands = commands;
    }

    /** A session runs its profile before it reads its first line. */
    @Override
    public void afterExecute(CommandSession session, CharSequence line, Object result) {
        Object reader = session.get(READER);
        if (reader != null) Before.put(reader, commands);
    }

    @Override
    public void afterExecute(CommandSession session, CharSequence line, Exception failure) {}

    @Override
    public void beforeExecute(CommandSession session, CharSequence line) {}

    /** Apart, for a gateway without a terminal has no JLine. */
    static final class Before implements Completer {
        private final Commands commands;
        private final Completer next;

        Before(Commands commands, Completer next) {
            this.commands = commands;
            this.next = next;
        }

        static void put(Object reader, Commands commands) {
            if (!(reader instanceof LineReaderImpl lines)) return;
            Completer there = lines.getCompleter();
            if (there instanceof Before before && before.commands == commands) return;
            lines.setCompleter(new Before(commands, there));
        }

        @Override
        public void complete(LineReader reader, ParsedLine line, List<Candidate> candidates) {
            String name = line.words().get(0).replaceFirst("^" + Commands.SCOPE + ":", "");
            if (line.wordIndex() == 0 || commands.find(name) == null) {
                next.complete(reader, line, candidates);
                return;
            }
            List<String> words = new ArrayList<>(line.words().subList(0, line.wordIndex()));
            words.set(0, name);
            words.add(line.word().substring(0, line.wordCursor()));
            for (String candidate : commands.complete(words)) candidates.add(new Candidate(candidate));
        }
    }
}
