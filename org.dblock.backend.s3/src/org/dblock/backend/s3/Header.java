package org.dblock.backend.s3;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.UUID;
import java.util.zip.CRC32C;

/** The header of a log object, as docs/s3-format.md describes it. Immutable once it is encoded. */
final class Header {
    /** What an object of the log says. */
    enum Type {
        DATA(1),
        COLLECTED(2),
        TAKEOVER(3),
        RELEASE(4),
        RESIZE(5),
        DELETE(6),
        SNAPSHOT(7),
        FORGET(8);

        final int code;

        Type(int code) {
            this.code = code;
        }

        static Type of(int code) throws Corruption {
            for (Type type : values()) if (type.code == code) return type;
            throw new Corruption("log object of unknown type " + code);
        }
    }

    static final int BLOCK = 4096;
    static final int VERSION = 1;
    static final long MAGIC = 0x31474f4c4b4c4244L; // "DBLKLOG1"
    private static final int FIXED = 112;

    Type type;
    UUID volume;
    long slot;
    long epoch;
    long nonce;
    int previousCrc;
    /** The first record of the journal that it contains; 0: none. */
    long firstRecord;
    /** All records of the journal up to this one are in the log up to this object. */
    long lastRecord;
    /** RESIZE: the size in bytes; TAKEOVER: the slot at which the log goes on; FORGET: the snapshot's slot. */
    long argument;
    /** Milliseconds since 1970. */
    long time;
    /** Who wrote it. */
    String host = "";
    /** SNAPSHOT: its name. */
    String name = "";

    int extents;
    long[] lba = new long[0];
    int[] blocks = new int[0];
    /** Where in the payload, in blocks; {@link ExtentMap#ZEROES}: nowhere. */
    int[] at = new int[0];
    /** COLLECTED: where each was copied from. */
    long[] sourceSlot;

    int[] sourceAt;
    /** The CRC32C of each block of the payload. */
    int[] payloadCrc = new int[0];

    /** Set by {@link #encode} and {@link #decode}. */
    int crc;

    /** The header's own length in blocks. */
    int headerBlocks() {
        int names = bytes(host).length + bytes(name).length;
        int bytes = FIXED + extents * entry() + payloadCrc.length * 4 + names + 4;
        return (bytes + BLOCK - 1) / BLOCK;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private int entry() {
        return type == Type.COLLECTED ? 28 : 16;
    }

    void room(int count) {
        lba = new long[count];
        blocks = new int[count];
        at = new int[count];
        if (type == Type.COLLECTED) {
            sourceSlot = new long[count];
            sourceAt = new int[count];
        }
    }

    /** Adds an extent, to the one before it where it goes on. */
    void append(long first, int count, int where) {
        int last = extents - 1;
        if (last >= 0 && lba[last] + blocks[last] == first && (long) blocks[last] + count <= Integer.MAX_VALUE) {
            boolean zeroes = where == ExtentMap.ZEROES;
            if (zeroes ? at[last] == where : at[last] != ExtentMap.ZEROES && at[last] + blocks[last] == where) {
                blocks[last] += count;
                return;
            }
        }
        add(first, count, where);
    }

    void add(long first, int count, int where) {
        lba[extents] = first;
        blocks[extents] = count;
        at[extents++] = where;
    }

    /** Writes it at the buffer's position, which moves behind it. */
    void encode(ByteBuffer out) {
        int start = out.position();
        int length = headerBlocks() * BLOCK;
        byte[] writer = bytes(host);
        byte[] snapshot = bytes(name);
        out.order(ByteOrder.LITTLE_ENDIAN);
        out.putLong(MAGIC).putInt(VERSION).putInt(type.code);
        Uuids.put(out, volume);
        out.putLong(slot).putLong(epoch).putLong(nonce).putInt(previousCrc).putInt(length / BLOCK);
        out.putLong(firstRecord)
                .putLong(lastRecord)
                .putInt(payloadCrc.length)
                .putInt(extents)
                .putLong(argument);
        out.putLong(time).putInt(writer.length).putInt(snapshot.length);
        for (int i = 0; i < extents; i++) {
            out.putLong(lba[i]).putInt(blocks[i]).putInt(at[i]);
            if (type == Type.COLLECTED) out.putLong(sourceSlot[i]).putInt(sourceAt[i]);
        }
        for (int sum : payloadCrc) out.putInt(sum);
        out.put(writer).put(snapshot);
        while (out.position() < start + length - 4) out.put((byte) 0);
        crc = crcOf(out, start, length - 4);
        out.putInt(crc);
    }

    /** How many bytes a header has whose first block is in the buffer from its position on. */
    static int length(ByteBuffer in) throws Corruption {
        in.order(ByteOrder.LITTLE_ENDIAN);
        int start = in.position();
        if (in.remaining() < FIXED) throw new Corruption("log object of " + in.remaining() + " bytes: too short");
        if (in.getLong(start) != MAGIC) throw new Corruption("log object without its magic number");
        if (in.getInt(start + 8) != VERSION)
            throw new Corruption(
                    "log object of format version " + in.getInt(start + 8) + ": this gateway reads " + VERSION);
        int length = in.getInt(start + 60);
        if (length < 1 || length > 1 << 16) throw new Corruption("log object with a header of " + length + " blocks");
        return length * BLOCK;
    }

    /** Reads a header and checks its CRC; the buffer begins with it and holds all of it. */
    static Header decode(ByteBuffer in) throws Corruption {
        int start = in.position();
        int length = length(in);
        if (in.remaining() < length) throw new Corruption("log object is cut short in its header");
        Header h = new Header();
        h.crc = in.getInt(start + length - 4);
        if (h.crc != crcOf(in, start, length - 4))
            throw new Corruption("log object whose header doesn't match its CRC");
        in.position(start + 12);
        h.type = Type.of(in.getInt());
        h.volume = Uuids.get(in);
        h.slot = in.getLong();
        h.epoch = in.getLong();
        h.nonce = in.getLong();
        h.previousCrc = in.getInt();
        in.getInt();
        h.firstRecord = in.getLong();
        h.lastRecord = in.getLong();
        int payload = in.getInt();
        int count = in.getInt();
        h.argument = in.getLong();
        h.time = in.getLong();
        int writer = in.getInt();
        int snapshot = in.getInt();
        long needed = FIXED + (long) count * h.entry() + payload * 4L + writer + snapshot + 4;
        if (count < 0 || payload < 0 || writer < 0 || snapshot < 0 || needed > length)
            throw new Corruption("log header with wrong counts");
        h.room(count);
        for (int i = 0; i < count; i++) {
            h.add(in.getLong(), in.getInt(), in.getInt());
            if (h.type == Type.COLLECTED) {
                h.sourceSlot[i] = in.getLong();
                h.sourceAt[i] = in.getInt();
            }
        }
        h.payloadCrc = new int[payload];
        for (int i = 0; i < payload; i++) h.payloadCrc[i] = in.getInt();
        byte[] text = new byte[writer];
        in.get(text);
        h.host = new String(text, StandardCharsets.UTF_8);
        text = new byte[snapshot];
        in.get(text);
        h.name = new String(text, StandardCharsets.UTF_8);
        in.position(start + length);
        return h;
    }

    /** The object's length in bytes. */
    long objectBytes() {
        return (long) (headerBlocks() + payloadCrc.length) * BLOCK;
    }

    /** The CRC32C of a piece of a buffer. */
    static int crcOf(ByteBuffer buffer, int start, int length) {
        CRC32C crc = new CRC32C();
        crc.update(buffer.duplicate().limit(start + length).position(start));
        return (int) crc.getValue();
    }
}
