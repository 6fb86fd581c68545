package org.dblock.nbd;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.SocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.TreeMap;

/** A client that speaks the protocol by hand, right or wrong. */
final class TestClient implements AutoCloseable {
    /** A reply to an option. */
    record OptionReply(int option, int type, byte[] data) {
        String text() {
            return new String(data, StandardCharsets.UTF_8);
        }
    }

    /** The reply to a request, its chunks put together. */
    static final class Reply {
        long cookie;
        int error;
        String message = "";
        /** Data and holes by offset; a hole is an array of its length, all zeroes. */
        final TreeMap<Long, byte[]> content = new TreeMap<>();

        final List<String> chunks = new ArrayList<>();
        final List<long[]> extents = new ArrayList<>();
        byte[] simpleData = new byte[0];

        byte[] data() {
            if (content.isEmpty()) return simpleData;
            ByteArrayOutputStream all = new ByteArrayOutputStream();
            long at = content.firstKey();
            for (var part : content.entrySet()) {
                if (part.getKey() != at) throw new AssertionError("gap or overlap at " + at + ": " + chunks);
                all.writeBytes(part.getValue());
                at += part.getValue().length;
            }
            return all.toByteArray();
        }
    }

    final SocketChannel channel;
    Transmission.Mode mode = Transmission.Mode.SIMPLE;
    int flags;
    long size;
    private long cookie = 1000;

    TestClient(SocketAddress address) throws IOException {
        channel = SocketChannel.open(address);
    }

    // ---- bytes

    void send(ByteBuffer bytes) {
        try {
            while (bytes.hasRemaining()) channel.write(bytes);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    void sendHex(String hex) {
        send(ByteBuffer.wrap(HexFormat.of().parseHex(hex.replaceAll("\\s", ""))));
    }

    ByteBuffer receive(int length) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(length);
        while (bytes.hasRemaining()) if (channel.read(bytes) < 0) throw new EOFException();
        return bytes.flip();
    }

    String receiveHex(int length) throws IOException {
        return HexFormat.of().formatHex(receive(length).array());
    }

    /** Whether the server has closed: waits for it, and drops what comes before. */
    boolean closed() {
        try {
            ByteBuffer bytes = ByteBuffer.allocate(4096);
            while (channel.read(bytes.clear()) >= 0) {}
        } catch (IOException e) {
            // reset: closed as well
        }
        return true;
    }

    // ---- handshake

    /** Reads the greeting and answers it. */
    TestClient greet(int clientFlags) throws IOException {
        receive(18);
        send(ByteBuffer.allocate(4).putInt(clientFlags).flip());
        return this;
    }

    void option(int option, byte[] data) {
        send(ByteBuffer.allocate(16 + data.length)
                .putLong(Nbd.OPTION_MAGIC)
                .putInt(option)
                .putInt(data.length)
                .put(data)
                .flip());
    }

    OptionReply optionReply() throws IOException {
        ByteBuffer header = receive(20);
        if (header.getLong() != Nbd.OPTION_REPLY_MAGIC) throw new AssertionError("bad magic");
        int option = header.getInt();
        int type = header.getInt();
        return new OptionReply(option, type, receive(header.getInt()).array());
    }

    /** Sends an option and takes its replies, up to the final one. */
    List<OptionReply> ask(int option, byte[] data) throws IOException {
        option(option, data);
        List<OptionReply> replies = new ArrayList<>();
        do replies.add(optionReply());
        while (last(replies).type() != Nbd.REP_ACK && last(replies).type() >= 0);
        return replies;
    }

    static OptionReply last(List<OptionReply> replies) {
        return replies.get(replies.size() - 1);
    }

    static byte[] infoData(String name, int... wanted) {
        byte[] text = name.getBytes(StandardCharsets.UTF_8);
        ByteBuffer data = ByteBuffer.allocate(6 + text.length + 2 * wanted.length);
        data.putInt(text.length).put(text).putShort((short) wanted.length);
        for (int each : wanted) data.putShort((short) each);
        return data.array();
    }

    static byte[] contextData(String name, String... queries) {
        ByteArrayOutputStream data = new ByteArrayOutputStream();
        for (Object each : new Object[] {name, queries.length, queries}) {
            if (each instanceof Integer number) data.writeBytes(integer(number));
            else
                for (String text : each instanceof String one ? new String[] {one} : (String[]) each) {
                    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
                    data.writeBytes(integer(bytes.length));
                    data.writeBytes(bytes);
                }
        }
        return data.toByteArray();
    }

    static byte[] integer(int value) {
        return ByteBuffer.allocate(4).putInt(value).array();
    }

    /** The whole handshake, with base:allocation where the mode allows it. */
    TestClient go(String name, Transmission.Mode wanted) throws IOException {
        greet(3);
        mode = wanted;
        if (wanted == Transmission.Mode.STRUCTURED) accepted(ask(Nbd.OPT_STRUCTURED_REPLY, new byte[0]));
        if (wanted == Transmission.Mode.EXTENDED) accepted(ask(Nbd.OPT_EXTENDED_HEADERS, new byte[0]));
        if (wanted != Transmission.Mode.SIMPLE)
            accepted(ask(Nbd.OPT_SET_META_CONTEXT, contextData(name, "base:allocation")));
        List<OptionReply> replies = ask(Nbd.OPT_GO, infoData(name, Nbd.INFO_BLOCK_SIZE));
        accepted(replies);
        ByteBuffer export = ByteBuffer.wrap(replies.get(0).data());
        if (export.getShort() != Nbd.INFO_EXPORT) throw new AssertionError("no INFO_EXPORT");
        size = export.getLong();
        flags = export.getShort();
        return this;
    }

    private static void accepted(List<OptionReply> replies) {
        if (last(replies).type() != Nbd.REP_ACK)
            throw new AssertionError(last(replies).text());
    }

    // ---- transmission

    /** Sends a request and returns its cookie. */
    long request(int type, int commandFlags, long offset, long length, byte[] payload) {
        int all = commandFlags;
        boolean extended = mode == Transmission.Mode.EXTENDED;
        if (extended && type == Nbd.CMD_WRITE) all |= Nbd.CMD_FLAG_PAYLOAD_LEN;
        return raw(type, all, offset, length, payload);
    }

    /** The same with just these flags. */
    long raw(int type, int commandFlags, long offset, long length, byte[] payload) {
        boolean extended = mode == Transmission.Mode.EXTENDED;
        ByteBuffer request = ByteBuffer.allocate(32 + payload.length);
        request.putInt(extended ? Nbd.EXTENDED_REQUEST_MAGIC : Nbd.REQUEST_MAGIC);
        request.putShort((short) commandFlags)
                .putShort((short) type)
                .putLong(++cookie)
                .putLong(offset);
        if (extended) request.putLong(length);
        else request.putInt((int) length);
        send(request.put(payload).flip());
        return cookie;
    }

    /** Takes the next whole reply; of a simple read, with that many bytes if it succeeded. */
    Reply reply(int dataLength) throws IOException {
        Reply reply = new Reply();
        for (; ; ) {
            int magic = receive(4).getInt();
            if (magic == Nbd.SIMPLE_REPLY_MAGIC) {
                if (mode == Transmission.Mode.EXTENDED) throw new AssertionError("simple reply in extended mode");
                ByteBuffer rest = receive(12);
                reply.error = rest.getInt();
                reply.cookie = rest.getLong();
                if (dataLength > 0 && mode != Transmission.Mode.SIMPLE && reply.error == 0)
                    throw new AssertionError("simple reply to a read");
                if (reply.error == 0) reply.simpleData = receive(dataLength).array();
                reply.chunks.add("simple");
                return reply;
            }
            boolean extended = magic == Nbd.EXTENDED_REPLY_MAGIC;
            if (!extended && magic != Nbd.STRUCTURED_REPLY_MAGIC) throw new AssertionError("bad magic " + magic);
            ByteBuffer header = receive(extended ? 28 : 16);
            int replyFlags = header.getShort();
            int type = header.getShort() & 0xffff;
            long of = header.getLong();
            if (reply.cookie != 0 && reply.cookie != of) throw new AssertionError("chunks of two replies");
            reply.cookie = of;
            if (extended) header.getLong();
            ByteBuffer payload = receive(extended ? (int) header.getLong() : header.getInt());
            chunk(reply, type, payload);
            if ((replyFlags & Nbd.REPLY_FLAG_DONE) != 0) return reply;
        }
    }

    private static void chunk(Reply reply, int type, ByteBuffer payload) {
        switch (type) {
            case Nbd.REPLY_TYPE_NONE -> reply.chunks.add("none");
            case Nbd.REPLY_TYPE_OFFSET_DATA -> {
                long offset = payload.getLong();
                byte[] data = new byte[payload.remaining()];
                payload.get(data);
                reply.content.put(offset, data);
                reply.chunks.add("data " + offset + " " + data.length);
            }
            case Nbd.REPLY_TYPE_OFFSET_HOLE -> {
                long offset = payload.getLong();
                int length = payload.getInt();
                reply.content.put(offset, new byte[length]);
                reply.chunks.add("hole " + offset + " " + length);
            }
            case Nbd.REPLY_TYPE_BLOCK_STATUS -> {
                if (payload.getInt() != Nbd.BASE_ALLOCATION_ID) throw new AssertionError("context id");
                while (payload.hasRemaining())
                    reply.extents.add(new long[] {payload.getInt() & 0xffffffffL, payload.getInt()});
                reply.chunks.add("status");
            }
            case Nbd.REPLY_TYPE_BLOCK_STATUS_EXT -> {
                if (payload.getInt() != Nbd.BASE_ALLOCATION_ID) throw new AssertionError("context id");
                int count = payload.getInt();
                while (payload.hasRemaining()) reply.extents.add(new long[] {payload.getLong(), payload.getLong()});
                if (count != reply.extents.size()) throw new AssertionError("descriptor count " + count);
                reply.chunks.add("status");
            }
            case Nbd.REPLY_TYPE_ERROR -> {
                reply.error = payload.getInt();
                byte[] text = new byte[payload.getShort()];
                payload.get(text);
                reply.message = new String(text, StandardCharsets.UTF_8);
                reply.chunks.add("error");
            }
            default -> throw new AssertionError("chunk type " + type);
        }
    }

    /** One request and its reply. */
    Reply call(int type, int commandFlags, long offset, long length, byte... payload) throws IOException {
        long asked = request(type, commandFlags, offset, length, payload);
        Reply reply = reply(type == Nbd.CMD_READ ? (int) length : 0);
        if (reply.cookie != asked) throw new AssertionError("cookie " + reply.cookie + ", not " + asked);
        return reply;
    }

    Reply read(long offset, int length) throws IOException {
        return call(Nbd.CMD_READ, 0, offset, length);
    }

    int write(long offset, byte[] data) throws IOException {
        return call(Nbd.CMD_WRITE, 0, offset, data.length, data).error;
    }

    void disconnect() {
        request(Nbd.CMD_DISC, 0, 0, 0, new byte[0]);
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }
}
