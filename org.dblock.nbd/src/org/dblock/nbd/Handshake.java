package org.dblock.nbd;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.dblock.api.BlockException;
import org.dblock.api.Capability;
import org.dblock.api.Geometry;
import org.dblock.api.Reason;
import org.dblock.api.Size;
import org.dblock.api.device.Client;
import org.dblock.api.device.Connection;

/** The handshake (fixed newstyle) of one connection: finds out which export the client wants, and how. */
final class Handshake {
    /** The longest option that is looked at. */
    private static final int MOST_OPTION = 64 << 10;
    /** The longest option that is skipped to answer that it is too big. */
    private static final int MOST_SKIPPED = 1 << 20;

    private final Wire wire;
    private final NbdServer server;
    private final Client client;
    private boolean noZeroes;
    private boolean structured;
    private boolean extended;
    /** The export's name for which the client has asked for base:allocation; null: for none. */
    private String allocationFor;

    private NbdExport export;
    private Connection connection;
    private Geometry geometry;
    private boolean allocation;

    Handshake(Wire wire, NbdServer server, Client client) {
        this.wire = wire;
        this.server = server;
        this.client = client;
    }

    /** The export that the client has chosen. */
    NbdExport export() {
        return export;
    }

    /** The client's connection to the device; belongs to the caller after {@link #run}, however that ends. */
    Connection connection() {
        return connection;
    }

    /** The transmission phase that was agreed on. */
    Transmission transmission() {
        Transmission.Mode mode = extended
                ? Transmission.Mode.EXTENDED
                : structured ? Transmission.Mode.STRUCTURED : Transmission.Mode.SIMPLE;
        return new Transmission(wire, connection, geometry, mode, export.readOnly(geometry), allocation);
    }

    /**
     * Haggles until the transmission phase may begin.
     *
     * @return false when the client left
     */
    boolean run() throws Disconnected {
        wire.out.putLong(Nbd.MAGIC).putLong(Nbd.OPTION_MAGIC);
        wire.out.putShort((short) (Nbd.FLAG_FIXED_NEWSTYLE | Nbd.FLAG_NO_ZEROES));
        if (!wire.fill(4)) return false;
        int flags = wire.in.getInt();
        if ((flags & ~(Nbd.FLAG_FIXED_NEWSTYLE | Nbd.FLAG_NO_ZEROES)) != 0)
            throw new Disconnected("client flags 0x" + Integer.toHexString(flags) + ": only 1 and 2 are known");
        noZeroes = (flags & Nbd.FLAG_NO_ZEROES) != 0;
        while (wire.fill(16)) {
            long magic = wire.in.getLong();
            int option = wire.in.getInt();
            long length = wire.in.getInt() & 0xffffffffL;
            if (magic != Nbd.OPTION_MAGIC)
                throw new Disconnected("option with the magic number 0x" + Long.toHexString(magic));
            if (length > MOST_SKIPPED)
                throw new Disconnected("option " + option + " of " + length + " bytes: at most " + MOST_OPTION);
            if (length > MOST_OPTION) {
                if (option == Nbd.OPT_EXPORT_NAME) throw new Disconnected("an export name of " + length + " bytes");
                if (!wire.skip(length)) return false;
                reply(option, Nbd.REP_ERR_TOO_BIG, length + " bytes: at most " + MOST_OPTION);
                continue;
            }
            if (!wire.fill((int) length)) return false;
            ByteBuffer data = wire.in.slice(wire.in.position(), (int) length);
            wire.in.position(wire.in.position() + (int) length);
            switch (option) {
                case Nbd.OPT_ABORT -> {
                    reply(option, Nbd.REP_ACK, "");
                    wire.flush();
                    return false;
                }
                case Nbd.OPT_EXPORT_NAME -> {
                    chooseOrLeave(data);
                    return true;
                }
                case Nbd.OPT_GO -> {
                    if (inform(option, data)) return true;
                }
                case Nbd.OPT_INFO -> inform(option, data);
                case Nbd.OPT_LIST -> list(data);
                case Nbd.OPT_STRUCTURED_REPLY, Nbd.OPT_EXTENDED_HEADERS -> enable(option, data);
                case Nbd.OPT_LIST_META_CONTEXT, Nbd.OPT_SET_META_CONTEXT -> contexts(option, data);
                // STARTTLS too; TLS will wrap the channel below the wire
                default -> reply(option, Nbd.REP_ERR_UNSUP, "option " + option + " is not known");
            }
        }
        return false;
    }

    private void chooseOrLeave(ByteBuffer data) throws Disconnected {
        String name = Text.take(data, data.remaining());
        if (extended) throw new Disconnected("EXPORT_NAME after extended headers");
        try {
            choose(name);
        } catch (BlockException e) {
            throw new Disconnected(e.getMessage(), e);
        }
        wire.out.putLong(geometry.size()).putShort((short) flags());
        if (!noZeroes) wire.out.put(new byte[124]);
        wire.flush();
    }

    /** Opens an export for this client. */
    private void choose(String name) throws BlockException {
        NbdExport wanted = find(name);
        connection = wanted.device().connect(client);
        export = wanted;
        geometry = wanted.device().geometry();
        allocation = name.equals(allocationFor);
    }

    private NbdExport find(String name) throws BlockException {
        if (server.closing()) throw new BlockException(Reason.SHUTTING_DOWN, "the gateway is shutting down");
        NbdExport found = name == null ? null : server.find(name);
        if (found == null)
            throw new BlockException(
                    Reason.NOT_FOUND,
                    name == null
                            ? "an export's name is UTF-8 without NUL, at most " + Nbd.MAX_STRING + " bytes"
                            : "no export '" + name + "' here: there are " + server.names());
        return found;
    }

    private int flags() {
        int flags = Nbd.FLAG_HAS_FLAGS
                | Nbd.FLAG_SEND_FLUSH
                | Nbd.FLAG_SEND_FUA
                | Nbd.FLAG_CAN_MULTI_CONN
                | Nbd.FLAG_SEND_CACHE;
        if (export.readOnly(geometry)) flags |= Nbd.FLAG_READ_ONLY;
        else {
            flags |= Nbd.FLAG_SEND_WRITE_ZEROES | Nbd.FLAG_SEND_FAST_ZERO;
            if (geometry.can(Capability.DISCARD)) flags |= Nbd.FLAG_SEND_TRIM;
        }
        if (structured || extended) flags |= Nbd.FLAG_SEND_DF;
        if (extended && allocation) flags |= Nbd.FLAG_BLOCK_STATUS_PAYLOAD;
        return flags;
    }

    /** INFO and GO: true when the transmission phase begins. */
    private boolean inform(int option, ByteBuffer data) throws Disconnected {
        String name = null;
        boolean wellFormed = false;
        if (data.remaining() >= 6) {
            long length = data.getInt() & 0xffffffffL;
            if (length <= data.remaining() - 2) {
                name = Text.take(data, (int) length);
                int wanted = data.getShort() & 0xffff;
                wellFormed = name != null && data.remaining() == 2 * wanted;
            }
        }
        if (!wellFormed) {
            reply(option, Nbd.REP_ERR_INVALID, "the option's lengths don't fit, or the name is no UTF-8 text");
            return false;
        }
        try {
            if (option == Nbd.OPT_GO) {
                choose(name);
            } else {
                export = find(name);
                geometry = export.device().geometry();
                allocation = name.equals(allocationFor);
            }
        } catch (BlockException e) {
            reply(option, unavailable(e), e.getMessage());
            return false;
        }
        header(option, Nbd.REP_INFO, 12)
                .putShort((short) Nbd.INFO_EXPORT)
                .putLong(geometry.size())
                .putShort((short) flags());
        header(option, Nbd.REP_INFO, 14)
                .putShort((short) Nbd.INFO_BLOCK_SIZE)
                .putInt(geometry.blockSize())
                .putInt(preferred())
                .putInt(Nbd.MAX_PAYLOAD);
        while (data.hasRemaining()) {
            int wanted = data.getShort();
            if (wanted == Nbd.INFO_NAME) info(option, wanted, export.device().name());
            else if (wanted == Nbd.INFO_DESCRIPTION) info(option, wanted, description());
        }
        reply(option, Nbd.REP_ACK, "");
        if (option == Nbd.OPT_GO) wire.flush();
        return option == Nbd.OPT_GO;
    }

    private static int unavailable(BlockException e) {
        return e.reason() == Reason.SHUTTING_DOWN ? Nbd.REP_ERR_SHUTDOWN : Nbd.REP_ERR_UNKNOWN;
    }

    /** The preferred block size: a power of 2, at least 4096, as the protocol's default has it. */
    private int preferred() {
        int wanted = Math.max(4096, Math.min(geometry.preferredIo(), Nbd.MAX_PAYLOAD));
        return Integer.bitCount(wanted) == 1 ? wanted : Math.min(Integer.highestOneBit(wanted) << 1, Nbd.MAX_PAYLOAD);
    }

    private String description() {
        return Size.exact(geometry.size()) + " " + export.device().spec().backend()
                + (export.readOnly(geometry) ? ", read-only" : "");
    }

    private void info(int option, int type, String text) throws Disconnected {
        byte[] bytes = Text.bytes(text);
        header(option, Nbd.REP_INFO, 2 + bytes.length).putShort((short) type).put(bytes);
    }

    private void list(ByteBuffer data) throws Disconnected {
        if (data.hasRemaining()) {
            reply(Nbd.OPT_LIST, Nbd.REP_ERR_INVALID, "LIST takes no data");
            return;
        }
        for (String name : server.names()) {
            byte[] bytes = Text.bytes(name);
            header(Nbd.OPT_LIST, Nbd.REP_SERVER, 4 + bytes.length)
                    .putInt(bytes.length)
                    .put(bytes);
        }
        reply(Nbd.OPT_LIST, Nbd.REP_ACK, "");
    }

    private void enable(int option, ByteBuffer data) throws Disconnected {
        if (data.hasRemaining()) {
            reply(option, Nbd.REP_ERR_INVALID, "this option takes no data");
        } else if (option == Nbd.OPT_EXTENDED_HEADERS) {
            extended = true;
            reply(option, Nbd.REP_ACK, "");
        } else if (extended) {
            reply(option, Nbd.REP_ERR_EXT_HEADER_REQD, "extended headers are agreed on already");
        } else {
            structured = true;
            reply(option, Nbd.REP_ACK, "");
        }
    }

    private void contexts(int option, ByteBuffer data) throws Disconnected {
        boolean set = option == Nbd.OPT_SET_META_CONTEXT;
        if (set) allocationFor = null;
        if (!structured && !extended) {
            reply(option, Nbd.REP_ERR_INVALID, "structured replies or extended headers come first");
            return;
        }
        String name = string(data);
        long queries = name != null && data.remaining() >= 4 ? data.getInt() & 0xffffffffL : -1;
        boolean wanted = queries == 0 && !set;
        for (long i = 0; i < queries; i++) {
            String query = string(data);
            if (query == null) {
                queries = -1;
                break;
            }
            wanted |= query.equals(Nbd.BASE_ALLOCATION) || !set && query.equals("base:");
        }
        if (queries < 0 || data.hasRemaining()) {
            reply(option, Nbd.REP_ERR_INVALID, "the option's lengths don't fit, or a string is no UTF-8 text");
            return;
        }
        try {
            find(name);
        } catch (BlockException e) {
            reply(option, unavailable(e), e.getMessage());
            return;
        }
        if (wanted) {
            byte[] context = Nbd.BASE_ALLOCATION.getBytes(StandardCharsets.US_ASCII);
            header(option, Nbd.REP_META_CONTEXT, 4 + context.length)
                    .putInt(set ? Nbd.BASE_ALLOCATION_ID : 0)
                    .put(context);
            if (set) allocationFor = name;
        }
        reply(option, Nbd.REP_ACK, "");
    }

    /** A string behind its length; null if there is none. */
    private static String string(ByteBuffer data) {
        if (data.remaining() < 4) return null;
        long length = data.getInt() & 0xffffffffL;
        return length > data.remaining() ? null : Text.take(data, (int) length);
    }

    private void reply(int option, int type, String message) throws Disconnected {
        byte[] text = Text.bytes(message);
        header(option, type, text.length).put(text);
    }

    private ByteBuffer header(int option, int type, int length) throws Disconnected {
        if (wire.out.remaining() < 20 + length) wire.flush();
        return wire.out
                .putLong(Nbd.OPTION_REPLY_MAGIC)
                .putInt(option)
                .putInt(type)
                .putInt(length);
    }
}
