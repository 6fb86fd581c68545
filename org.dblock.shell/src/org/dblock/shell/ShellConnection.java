package org.dblock.shell;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.apache.felix.gogo.runtime.CommandNotFoundException;
import org.apache.felix.service.command.CommandProcessor;
import org.apache.felix.service.command.CommandSession;
import org.apache.felix.service.command.Converter;
import org.apache.felix.service.command.Function;
import org.apache.felix.service.threadio.ThreadIO;

/**
 * One client of the shell.
 *
 * <p><b>Frames.</b> Both sides send frames: a byte that says what it is, the length of what follows (4 bytes,
 * big-endian), and that many bytes. Texts are UTF-8; words are texts that each end with a zero byte.
 *
 * <table>
 * <caption>What frames there are</caption>
 * <tr><td>client</td><td>{@code C}</td><td>two words about the client: its working folder; {@code terminal} or nothing</td></tr>
 * <tr><td>client</td><td>{@code A}</td><td>run the command whose name and arguments are these words, as they are</td></tr>
 * <tr><td>client</td><td>{@code L}</td><td>run this line of the Gogo language</td></tr>
 * <tr><td>gateway</td><td>{@code O}</td><td>bytes for the standard output</td></tr>
 * <tr><td>gateway</td><td>{@code E}</td><td>bytes for the standard error</td></tr>
 * <tr><td>gateway</td><td>{@code X}</td><td>the end of the command: one byte, its status</td></tr>
 * </table>
 *
 * A client sends its next request after {@code X}. All requests of a connection share a Gogo session. A frame of the
 * client is at most {@value #LONGEST_REQUEST} bytes long; anything that is not as described ends the connection. When
 * the client closes it, a command that watches ends; any other goes on to its end, unheard: it is never interrupted,
 * for it may be inside a volume.
 */
final class ShellConnection {
    static final int LONGEST_REQUEST = 1 << 16;

    /** The statuses: done, failed, not written as it must be. */
    static final int DONE = 0, FAILED = 1, USAGE = 2;

    private static final String SCOPES = Commands.SCOPE + ":*";

    private final SocketChannel channel;
    private final ThreadIO threadIo;
    private final CommandProcessor processor;
    private final PrintStream out = new PrintStream(new Frames('O'), true, StandardCharsets.UTF_8);
    private final PrintStream err = new PrintStream(new Frames('E'), true, StandardCharsets.UTF_8);
    private final CountDownLatch gone = new CountDownLatch(1);
    private volatile boolean busy;
    private volatile boolean silent = true;
    private CommandSession session;

    ShellConnection(SocketChannel channel, CommandProcessor processor, ThreadIO threadIo) {
        this.channel = channel;
        this.processor = processor;
        this.threadIo = threadIo;
    }

    /** Serves the client until it goes. */
    void run() {
        try (channel;
                CommandSession opened = processor.createSession(InputStream.nullInputStream(), out, err)) {
            session = opened;
            session.put("SCOPE", SCOPES);
            session.put(Commands.CANCELLED, gone);
            serve();
        } catch (IOException | IllegalStateException e) {
            // it is closed all the same; the processor may have stopped
        }
    }

    private void serve() {
        Thread command = null;
        try {
            for (ByteBuffer header = ByteBuffer.allocate(5); ; header.clear()) {
                read(header);
                char kind = (char) header.get(0);
                int length = header.getInt(1);
                if (busy) throw new IOException("a request before the one before has ended");
                if (length < 0 || length > LONGEST_REQUEST) {
                    err.println("dblock: this command is too long: at most " + LONGEST_REQUEST + " bytes are taken");
                    end(USAGE);
                    return;
                }
                ByteBuffer payload = ByteBuffer.allocate(length);
                read(payload);
                silent = false;
                switch (kind) {
                    case 'C' -> greet(words(payload.array()));
                    case 'A' -> command = start(() -> call(words(payload.array())));
                    case 'L' -> command = start(() -> line(new String(payload.array(), StandardCharsets.UTF_8)));
                    default -> throw new IOException("no request begins with byte " + (int) kind);
                }
            }
        } catch (IOException e) {
            // the client is gone, or speaks something else
        } finally {
            close();
            awaitEnd(command);
        }
    }

    /** Ends the connection if nothing has come yet. */
    void closeIfSilent() {
        if (silent) close();
    }

    void close() {
        gone.countDown();
        try {
            channel.close();
        } catch (IOException e) {
            // it is closed all the same
        }
    }

    private void greet(List<String> about) throws IOException {
        if (about.size() != 2) throw new IOException("a client says two words about itself, not " + about.size());
        session.currentDir(Path.of(about.get(0)));
        session.put(Commands.TERMINAL, about.get(1).equals("terminal") ? Boolean.TRUE : null);
    }

    private interface Request {
        void run() throws Exception;
    }

    /** The command runs on a thread of its own, while this one waits for the client to go. */
    private Thread start(Request request) {
        busy = true;
        Thread thread = new Thread(
                () -> {
                    int status = run(request);
                    busy = false;
                    end(status);
                },
                "dblock-shell-command");
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    private int run(Request request) {
        threadIo.setStreams(InputStream.nullInputStream(), out, err);
        try {
            request.run();
            return DONE;
        } catch (UsageException e) {
            err.println("dblock: " + e.getMessage());
            return USAGE;
        } catch (CommandException | CommandNotFoundException e) {
            err.println("dblock: " + e.getMessage());
            return FAILED;
        } catch (Throwable e) { // of whatever command of whatever bundle
            err.println("dblock: " + e);
            return FAILED;
        } finally {
            threadIo.close();
            out.flush();
            err.flush();
        }
    }

    private void call(List<String> words) throws Exception {
        if (words.isEmpty()) throw new UsageException("no command: help lists them");
        String name = words.get(0);
        // a name without a scope may also be a variable of the session, which is no command
        Object command = session.get(name.contains(":") ? name : Commands.SCOPE + ":" + name);
        if (!(command instanceof Function) && !name.contains(":")) command = session.get("*:" + name);
        if (!(command instanceof Function function)) {
            List<String> known = new ArrayList<>();
            if (session.get(".commands") instanceof Iterable<?> all)
                all.forEach(c -> known.add(c.toString().replaceFirst("^" + Commands.SCOPE + ":", "")));
            List<String> near = Names.nearest(name, known);
            throw new UsageException("no command '" + name + "': "
                    + (near.isEmpty() ? "help lists them" : "did you mean " + String.join(" or ", near) + "?"));
        }
        print(function.execute(session, new ArrayList<>(words.subList(1, words.size()))));
    }

    private void line(String line) throws Exception {
        print(session.execute(line));
    }

    private void print(Object result) {
        if (result != null) out.println(session.format(result, Converter.INSPECT));
    }

    private void end(int status) {
        try {
            send('X', new byte[] {(byte) status}, 0, 1);
        } catch (IOException e) {
            close();
        }
    }

    private static List<String> words(byte[] payload) throws IOException {
        List<String> words = new ArrayList<>();
        int start = 0;
        for (int i = 0; i < payload.length; i++) {
            if (payload[i] != 0) continue;
            words.add(new String(payload, start, i - start, StandardCharsets.UTF_8));
            start = i + 1;
        }
        if (start < payload.length) throw new IOException("the last word does not end with a zero byte");
        return words;
    }

    private void read(ByteBuffer into) throws IOException {
        while (into.hasRemaining()) if (channel.read(into) < 0) throw new EOFException();
    }

    private void send(char kind, byte[] bytes, int offset, int length) throws IOException {
        ByteBuffer frame = ByteBuffer.allocate(5 + length).put((byte) kind).putInt(length);
        frame.put(bytes, offset, length).flip();
        synchronized (channel) { // output and errors may come from several threads of a pipe
            while (frame.hasRemaining()) channel.write(frame);
        }
    }

    /** Closing the session interrupts what runs in it, in the background too: so nothing may. */
    private void awaitEnd(Thread command) {
        try {
            if (command != null) command.join();
            while (!session.jobs().isEmpty()) Thread.sleep(100);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** Sends what is written as frames of a kind; lines whole where they come in pieces. */
    private final class Frames extends OutputStream {
        private final char kind;
        private final ByteArrayOutputStream piece = new ByteArrayOutputStream();

        Frames(char kind) {
            this.kind = kind;
        }

        @Override
        public synchronized void write(int b) throws IOException {
            piece.write(b);
            if (b == '\n' || piece.size() >= LONGEST_REQUEST) flush();
        }

        @Override
        public synchronized void write(byte[] bytes, int offset, int length) throws IOException {
            piece.write(bytes, offset, length);
            if (piece.size() >= LONGEST_REQUEST) flush();
        }

        @Override
        public synchronized void flush() throws IOException {
            if (piece.size() == 0) return;
            byte[] all = piece.toByteArray();
            piece.reset();
            send(kind, all, 0, all.length);
        }
    }
}
