package org.dblock.nbd;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;

/** Writes inputs to begin with: each option and each command, right, for {@link NbdFuzzer}. */
final class Seeds {
    private Seeds() {}

    public static void main(String[] arguments) throws IOException {
        Path folder = Path.of(arguments[0]);
        for (int option : new int[] {
            Nbd.OPT_EXPORT_NAME, Nbd.OPT_ABORT, Nbd.OPT_LIST, Nbd.OPT_STRUCTURED_REPLY, Nbd.OPT_EXTENDED_HEADERS, 5
        }) {
            byte[] data = option == Nbd.OPT_EXPORT_NAME ? "a".getBytes() : new byte[0];
            write(folder, "option-" + option, 0, option(option, data));
        }
        for (int option : new int[] {Nbd.OPT_INFO, Nbd.OPT_GO})
            write(folder, "option-" + option, 0, option(option, TestClient.infoData("a", 0, 1, 2, 3)));
        for (int option : new int[] {Nbd.OPT_LIST_META_CONTEXT, Nbd.OPT_SET_META_CONTEXT})
            write(folder, "option-" + option, 0, option(Nbd.OPT_STRUCTURED_REPLY, new byte[0]),
                    option(option, TestClient.contextData("a", "base:allocation", "base:")),
                    option(Nbd.OPT_GO, TestClient.infoData("a", 3)));
        for (int way = 1; way < NbdFuzzer.WAYS; way++)
            for (int command = 0; command <= Nbd.CMD_BLOCK_STATUS; command++)
                write(folder, "command-" + way + "-" + command, way, commands(NbdFuzzer.mode(way), command));
    }

    private static void write(Path folder, String name, int way, ByteBuffer... parts) throws IOException {
        ByteBuffer all = ByteBuffer.allocate(4096).put((byte) way);
        if (way == 0) all.putInt(3);
        for (ByteBuffer part : parts) all.put(part);
        byte[] bytes = new byte[all.flip().remaining()];
        all.get(bytes);
        Files.write(folder.resolve(name), bytes);
    }

    private static ByteBuffer option(int option, byte[] data) {
        return ByteBuffer.allocate(16 + data.length)
                .putLong(Nbd.OPTION_MAGIC)
                .putInt(option)
                .putInt(data.length)
                .put(data)
                .flip();
    }

    private static ByteBuffer commands(Transmission.Mode mode, int command) {
        ByteBuffer all = ByteBuffer.allocate(3000);
        boolean extended = mode == Transmission.Mode.EXTENDED;
        for (int length : new int[] {512, 1024}) {
            boolean write = command == Nbd.CMD_WRITE;
            all.putInt(extended ? Nbd.EXTENDED_REQUEST_MAGIC : Nbd.REQUEST_MAGIC);
            all.putShort((short) (extended && write ? Nbd.CMD_FLAG_PAYLOAD_LEN : 0)).putShort((short) command);
            all.putLong(length).putLong(command == Nbd.CMD_FLUSH ? 0 : 4096);
            int asked = command == Nbd.CMD_FLUSH ? 0 : write ? length : 64 * length;
            if (extended) all.putLong(asked);
            else all.putInt(asked);
            if (write) all.put(new byte[length]);
        }
        return all.flip();
    }
}
