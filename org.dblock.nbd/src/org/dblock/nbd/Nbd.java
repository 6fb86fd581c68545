package org.dblock.nbd;

import org.dblock.api.Reason;

/** The numbers of the NBD protocol, under the names that its specification (doc/proto.md) gives them. */
final class Nbd {
    static final long MAGIC = 0x4e42444d41474943L; // "NBDMAGIC"
    static final long OPTION_MAGIC = 0x49484156454f5054L; // "IHAVEOPT"
    static final long OPTION_REPLY_MAGIC = 0x0003e889045565a9L;
    static final int REQUEST_MAGIC = 0x25609513;
    static final int EXTENDED_REQUEST_MAGIC = 0x21e41c71;
    static final int SIMPLE_REPLY_MAGIC = 0x67446698;
    static final int STRUCTURED_REPLY_MAGIC = 0x668e33ef;
    static final int EXTENDED_REPLY_MAGIC = 0x6e8a278c;

    // handshake flags, and the client's
    static final int FLAG_FIXED_NEWSTYLE = 1;
    static final int FLAG_NO_ZEROES = 1 << 1;

    // transmission flags
    static final int FLAG_HAS_FLAGS = 1;
    static final int FLAG_READ_ONLY = 1 << 1;
    static final int FLAG_SEND_FLUSH = 1 << 2;
    static final int FLAG_SEND_FUA = 1 << 3;
    static final int FLAG_SEND_TRIM = 1 << 5;
    static final int FLAG_SEND_WRITE_ZEROES = 1 << 6;
    static final int FLAG_SEND_DF = 1 << 7;
    static final int FLAG_CAN_MULTI_CONN = 1 << 8;
    static final int FLAG_SEND_CACHE = 1 << 10;
    static final int FLAG_SEND_FAST_ZERO = 1 << 11;
    static final int FLAG_BLOCK_STATUS_PAYLOAD = 1 << 12;

    static final int OPT_EXPORT_NAME = 1;
    static final int OPT_ABORT = 2;
    static final int OPT_LIST = 3;
    static final int OPT_INFO = 6;
    static final int OPT_GO = 7;
    static final int OPT_STRUCTURED_REPLY = 8;
    static final int OPT_LIST_META_CONTEXT = 9;
    static final int OPT_SET_META_CONTEXT = 10;
    static final int OPT_EXTENDED_HEADERS = 11;

    static final int REP_ACK = 1;
    static final int REP_SERVER = 2;
    static final int REP_INFO = 3;
    static final int REP_META_CONTEXT = 4;
    static final int REP_ERR_UNSUP = 1 << 31 | 1;
    static final int REP_ERR_POLICY = 1 << 31 | 2;
    static final int REP_ERR_INVALID = 1 << 31 | 3;
    static final int REP_ERR_UNKNOWN = 1 << 31 | 6;
    static final int REP_ERR_SHUTDOWN = 1 << 31 | 7;
    static final int REP_ERR_TOO_BIG = 1 << 31 | 9;
    static final int REP_ERR_EXT_HEADER_REQD = 1 << 31 | 10;

    static final int INFO_EXPORT = 0;
    static final int INFO_NAME = 1;
    static final int INFO_DESCRIPTION = 2;
    static final int INFO_BLOCK_SIZE = 3;

    static final int CMD_READ = 0;
    static final int CMD_WRITE = 1;
    static final int CMD_DISC = 2;
    static final int CMD_FLUSH = 3;
    static final int CMD_TRIM = 4;
    static final int CMD_CACHE = 5;
    static final int CMD_WRITE_ZEROES = 6;
    static final int CMD_BLOCK_STATUS = 7;

    static final int CMD_FLAG_FUA = 1;
    static final int CMD_FLAG_NO_HOLE = 1 << 1;
    static final int CMD_FLAG_DF = 1 << 2;
    static final int CMD_FLAG_REQ_ONE = 1 << 3;
    static final int CMD_FLAG_FAST_ZERO = 1 << 4;
    static final int CMD_FLAG_PAYLOAD_LEN = 1 << 5;

    static final int REPLY_FLAG_DONE = 1;
    static final int REPLY_TYPE_NONE = 0;
    static final int REPLY_TYPE_OFFSET_DATA = 1;
    static final int REPLY_TYPE_OFFSET_HOLE = 2;
    static final int REPLY_TYPE_BLOCK_STATUS = 5;
    static final int REPLY_TYPE_BLOCK_STATUS_EXT = 6;
    static final int REPLY_TYPE_ERROR = 1 << 15 | 1;

    static final int EPERM = 1;
    static final int EIO = 5;
    static final int ENOMEM = 12;
    static final int EINVAL = 22;
    static final int ENOSPC = 28;
    static final int EOVERFLOW = 75;
    static final int ENOTSUP = 95;
    static final int ESHUTDOWN = 108;

    /** The most bytes that a request or a reply carries: what the specification expects of everybody. */
    static final int MAX_PAYLOAD = 32 << 20;

    /** The longest string that the specification allows. */
    static final int MAX_STRING = 4096;

    /** The one metadata context. */
    static final String BASE_ALLOCATION = "base:allocation";

    /** Its id in replies. */
    static final int BASE_ALLOCATION_ID = 1;

    private Nbd() {}

    /** The protocol's error for a failure. ENOTSUP is kept for fast zeroes, as the specification wants it. */
    static int error(Reason reason) {
        return switch (reason) {
            case NO_SPACE -> ENOSPC;
            case READ_ONLY -> EPERM;
            case INVALID, UNSUPPORTED -> EINVAL;
            case SHUTTING_DOWN -> ESHUTDOWN;
            case IO, NOT_FOUND, EXISTS, IN_USE, FENCED, TIMED_OUT -> EIO;
        };
    }
}
