package org.dblock.core.kernel;

/**
 * The kernel module's interface, {@code kernel-module/include/uapi/dblock.h}, as numbers.
 *
 * <p>A nested class stands for the structure {@code dblock_NAME}: its constants are the offsets of the members in
 * bytes, and {@code SIZEOF}. Everything else is {@code DBLOCK_NAME}. A test compares all of them with the header.
 */
final class Abi {
    static final String CTL_PATH = "/dev/dblockctl";
    static final int ABI_VERSION = 1;
    static final int NAME_LEN = 32;
    static final int FOREVER = -1;

    static final int F_READ_ONLY = 1;
    static final int F_WRITE_CACHE = 1 << 1;
    static final int F_FUA = 1 << 2;
    static final int F_DISCARD = 1 << 3;
    static final int F_WRITE_ZEROES = 1 << 4;
    static final int F_PARTITIONS = 1 << 6;

    static final int STATE_CREATED = 1;
    static final int STATE_LIVE = 2;
    static final int STATE_PARKED = 3;
    static final int STATE_FAILED = 4;
    static final int STATE_DYING = 5;

    static final int DESTROY_GRACEFUL = 0;
    static final int DESTROY_FORCE = 2;

    static final int OP_READ = 0;
    static final int OP_WRITE = 1;
    static final int OP_FLUSH = 2;
    static final int OP_DISCARD = 3;
    static final int OP_WRITE_ZEROES = 4;

    static final int RQ_FUA = 1;
    static final int RQ_NOUNMAP = 1 << 1;

    static final class Info {
        static final int SIZE = 0;
        static final int VERSION = 4;
        static final int VERSION_MIN = 8;
        static final int FLAGS = 12;
        static final int MAX_DEPTH = 20;
        static final int MIN_IO = 28;
        static final int MAX_IO = 32;
        static final int SIZEOF = 64;
    }

    static final class Create {
        static final int SIZE = 0;
        static final int VERSION = 4;
        static final int NAME = 8;
        static final int UUID = 40;
        static final int CAPACITY = 56;
        static final int FLAGS = 64;
        static final int LOGICAL_BLOCK = 68;
        static final int PHYSICAL_BLOCK = 72;
        static final int IO_MIN = 76;
        static final int IO_OPT = 80;
        static final int MAX_IO = 84;
        static final int DEPTH = 96;
        static final int QUEUES = 100;
        static final int IO_TIMEOUT_MS = 104;
        static final int RECOVER_MS = 108;
        static final int SIZEOF = 160;
    }

    static final class Target {
        static final int SIZE = 0;
        static final int VERSION = 4;
        static final int NAME = 8;
        static final int UUID = 40;
        static final int ARG = 56;
        static final int SIZEOF = 80;
    }

    static final class Status {
        static final int SIZE = 0;
        static final int VERSION = 4;
        static final int NAME = 8;
        static final int UUID = 40;
        static final int STATE = 60;
        static final int CAPACITY = 64;
        static final int FLAGS = 72;
        static final int LOGICAL_BLOCK = 76;
        static final int PHYSICAL_BLOCK = 80;
        static final int IO_OPT = 88;
        static final int MAX_IO = 92;
        static final int DEPTH = 104;
        static final int IO_TIMEOUT_MS = 112;
        static final int RECOVER_MS = 116;
        static final int SERVER_PID = 128;
        static final int OPENERS = 132;
        static final int GENERATION = 152;
        static final int SIZEOF = 256;
    }

    static final class Request {
        static final int COOKIE = 0;
        static final int QUEUE = 8;
        static final int TAG = 10;
        static final int OP = 12;
        static final int OFFSET = 16;
        static final int LENGTH = 24;
        static final int FLAGS = 32;
        static final int SIZEOF = 64;
    }

    static final class Commit {
        static final int COOKIE = 0;
        static final int QUEUE = 8;
        static final int TAG = 10;
        static final int RESULT = 12;
        static final int STATUS = 16;
        static final int RESERVED = 20;
        static final int SIZEOF = 24;
    }

    static final class Exchange {
        static final int COMMITS = 0;
        static final int FETCHED = 8;
        static final int BASE = 16;
        static final int SLOT_SIZE = 24;
        static final int N_COMMIT = 28;
        static final int MAX_FETCH = 32;
        static final int TIMEOUT_MS = 36;
        static final int N_COMMITTED = 44;
        static final int N_REFUSED = 48;
        static final int N_FETCHED = 52;
        static final int SIZEOF = 80;
    }

    static final long INFO = iowr(0x00, Info.SIZEOF);
    static final long CREATE = iowr(0x01, Create.SIZEOF);
    static final long ATTACH = iow(0x02, Target.SIZEOF);
    static final long START = iow(0x03, Target.SIZEOF);
    static final long DESTROY = iow(0x04, Target.SIZEOF);
    static final long RESIZE = iow(0x05, Target.SIZEOF);
    static final long STATUS = iowr(0x06, Status.SIZEOF);
    static final long EXCHANGE = iowr(0x10, Exchange.SIZEOF);

    private Abi() {}

    private static long iowr(int number, int size) {
        return 3L << 30 | (long) size << 16 | 0xdb << 8 | number;
    }

    private static long iow(int number, int size) {
        return 1L << 30 | (long) size << 16 | 0xdb << 8 | number;
    }
}
