package org.dblock.dist;

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.Console;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Sends a command to the running gateway's shell socket, prints what comes back, and ends with the command's status: 0
 * done, 1 failed, 2 not written as it must be, 3 no gateway. What is spoken is documented in
 * {@code org.dblock.shell.ShellConnection}.
 */
public final class Client {
    private static final int LONGEST_REQUEST = 1 << 16;
    private static final int USAGE = 2, NO_GATEWAY = 3;

    private final SocketChannel channel;
    private final PrintStream out;
    private final PrintStream err;

    private Client(SocketChannel channel, PrintStream out, PrintStream err) {
        this.channel = channel;
        this.out = out;
        this.err = err;
    }

    /**
     * Runs one command, given as words; {@code -c LINE} runs a line of the Gogo language, and {@code shell} the lines
     * of the standard input. The system property {@code dblock.home} is the gateway's folder.
     */
    public static void main(String[] words) {
        Path home = Path.of(System.getProperty("dblock.home", "dblock")).toAbsolutePath();
        System.exit(run(home, List.of(words), System.in, System.out, System.err));
    }

    /** Runs as {@link #main} does, and returns the status. */
    public static int run(Path home, List<String> words, InputStream in, PrintStream out, PrintStream err) {
        Path socket = home.resolve("sockets").resolve("shell.sock");
        try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
            channel.connect(UnixDomainSocketAddress.of(socket));
            Client client = new Client(channel, out, err);
            client.send('C', words(List.of(Path.of("").toAbsolutePath().toString(), isTerminal() ? "terminal" : "")));
            if (words.equals(List.of("shell"))) return client.shell(in);
            if (!words.isEmpty() && words.get(0).equals("-c")) {
                if (words.size() == 2) return client.request('L', words.get(1).getBytes(StandardCharsets.UTF_8));
                err.println("dblock: -c takes one line: dblock -c 'LINE'");
                return USAGE;
            }
            return client.request('A', words(words));
        } catch (EOFException e) {
            err.println("dblock: the gateway ended before the command did");
            return NO_GATEWAY;
        } catch (IOException | IllegalArgumentException e) {
            err.println("dblock: no gateway answers at " + socket + " ("
                    + (Files.exists(socket) ? e.getMessage() : "no such file") + "); start one: dblock run --home "
                    + home);
            return NO_GATEWAY;
        }
    }

    /** The lines share a session, so variables stay; the status is the last line's. */
    private int shell(InputStream in) throws IOException {
        BufferedReader lines = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8));
        int status = 0;
        while (true) {
            if (isTerminal()) {
                out.print("dblock> ");
                out.flush();
            }
            String line = lines.readLine();
            if (line == null || line.strip().equals("exit")) return status;
            if (!line.isBlank()) status = request('L', line.getBytes(StandardCharsets.UTF_8));
        }
    }

    private int request(char kind, byte[] payload) throws IOException {
        if (payload.length > LONGEST_REQUEST) {
            err.println("dblock: this command is " + payload.length + " bytes long: at most " + LONGEST_REQUEST
                    + " are taken");
            return USAGE;
        }
        send(kind, payload);
        ByteBuffer header = ByteBuffer.allocate(5);
        while (true) {
            read(header.clear());
            byte[] bytes = new byte[header.getInt(1)];
            read(ByteBuffer.wrap(bytes));
            switch (header.get(0)) {
                case 'O' -> print(out, bytes);
                case 'E' -> print(err, bytes);
                case 'X' -> {
                    return bytes[0];
                }
                default -> throw new IOException("it speaks another language: update the older of both");
            }
        }
    }

    private static void print(PrintStream stream, byte[] bytes) {
        stream.write(bytes, 0, bytes.length);
        stream.flush();
    }

    private static byte[] words(List<String> words) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (String word : words) {
            bytes.writeBytes(word.getBytes(StandardCharsets.UTF_8));
            bytes.write(0);
        }
        return bytes.toByteArray();
    }

    private void send(char kind, byte[] payload) throws IOException {
        ByteBuffer frame = ByteBuffer.allocate(5 + payload.length);
        frame.put((byte) kind).putInt(payload.length).put(payload).flip();
        while (frame.hasRemaining()) channel.write(frame);
    }

    private void read(ByteBuffer into) throws IOException {
        while (into.hasRemaining()) if (channel.read(into) < 0) throw new EOFException();
    }

    /** Whether a person reads; from Java 22 on there is a console without a terminal, too. */
    private static boolean isTerminal() {
        Console console = System.console();
        if (console == null) return false;
        try {
            return (Boolean) Console.class.getMethod("isTerminal").invoke(console);
        } catch (NoSuchMethodException e) {
            return true;
        } catch (ReflectiveOperationException e) {
            return false;
        }
    }
}
