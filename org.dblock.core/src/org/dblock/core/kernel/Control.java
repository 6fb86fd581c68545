package org.dblock.core.kernel;

import com.sun.jna.LastErrorException;
import com.sun.jna.Native;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.UUID;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/**
 * The commands of the kernel module's control device, but for the exchange of requests. Each opens the device for
 * itself, so that an idle gateway holds no reference to the module. Thread-safe.
 */
final class Control {
    private static final UUID ANY = new UUID(0, 0);

    private final Libc libc;

    Control(Libc libc) {
        this.libc = libc;
    }

    /**
     * What the module can do.
     *
     * @param maxDepth the largest queue depth
     * @param minIo the smallest slot in bytes
     * @param maxIo the largest slot in bytes
     */
    record Limits(int maxDepth, int minIo, int maxIo) {}

    /**
     * Opens the control device.
     *
     * @return a file descriptor, which the caller closes
     * @throws BlockException with what to do about it: {@link Reason#NOT_FOUND} without the module
     */
    int open() throws BlockException {
        if (Native.POINTER_SIZE != 8)
            throw new BlockException(Reason.UNSUPPORTED, "kernel devices need a 64-bit Java: run the gateway with one");
        try {
            return libc.openControl();
        } catch (LastErrorException e) {
            throw switch (e.getErrorCode()) {
                case Libc.ENOENT, Libc.ENODEV, Libc.ENXIO ->
                    new BlockException(
                            Reason.NOT_FOUND,
                            "the kernel module dblock is not loaded (there is no " + Abi.CTL_PATH
                                    + "): 'modprobe dblock', or build and install it first as kernel-module/README.md"
                                    + " says; exports by nbd work without it");
                case Libc.EACCES, Libc.EPERM ->
                    new BlockException(
                            Reason.IO,
                            "no permission to open " + Abi.CTL_PATH
                                    + ": kernel devices need a gateway that runs as root"
                                    + " or with CAP_SYS_ADMIN; exports by nbd work without it");
                default -> new BlockException(Reason.IO, "can't open " + Abi.CTL_PATH + ": " + e.getMessage());
            };
        }
    }

    Limits limits() throws BlockException {
        ByteBuffer info = Libc.struct(Abi.Info.SIZEOF);
        command(Abi.INFO, info.putInt(Abi.Info.SIZE, Abi.Info.SIZEOF), "ask the kernel module dblock for its version");
        int newest = info.getInt(Abi.Info.VERSION), oldest = info.getInt(Abi.Info.VERSION_MIN);
        if (Abi.ABI_VERSION < oldest || Abi.ABI_VERSION > newest)
            throw new BlockException(
                    Reason.UNSUPPORTED,
                    "the kernel module dblock speaks the versions " + oldest + " to " + newest
                            + " of its interface, this gateway version " + Abi.ABI_VERSION
                            + ": load the module that belongs to it");
        return new Limits(info.getInt(Abi.Info.MAX_DEPTH), info.getInt(Abi.Info.MIN_IO), info.getInt(Abi.Info.MAX_IO));
    }

    /** The device of that name, whoever it belongs to; null if there is none. */
    KernelDevice.Status status(String name) throws BlockException {
        ByteBuffer status = struct(Abi.Status.SIZEOF, name, ANY);
        try {
            ioctl(Abi.STATUS, status);
        } catch (LastErrorException e) {
            if (e.getErrorCode() == Libc.ENODEV) return null;
            throw failure("ask for the kernel device " + name, e);
        }
        KernelDevice device = new KernelDevice(
                name,
                new UUID(uuidHalf(status, 0), uuidHalf(status, 8)),
                status.getLong(Abi.Status.CAPACITY),
                status.getInt(Abi.Status.FLAGS),
                status.getInt(Abi.Status.LOGICAL_BLOCK),
                status.getInt(Abi.Status.PHYSICAL_BLOCK),
                status.getInt(Abi.Status.IO_OPT),
                status.getInt(Abi.Status.MAX_IO),
                status.getInt(Abi.Status.DEPTH),
                status.getInt(Abi.Status.IO_TIMEOUT_MS),
                status.getInt(Abi.Status.RECOVER_MS));
        return new KernelDevice.Status(
                device,
                status.getInt(Abi.Status.STATE),
                status.getInt(Abi.Status.SERVER_PID),
                status.getInt(Abi.Status.OPENERS),
                status.getLong(Abi.Status.GENERATION));
    }

    void create(KernelDevice device) throws BlockException {
        ByteBuffer create = struct(Abi.Create.SIZEOF, device.name(), device.uuid());
        create.putLong(Abi.Create.CAPACITY, device.capacity())
                .putInt(Abi.Create.FLAGS, device.flags())
                .putInt(Abi.Create.LOGICAL_BLOCK, device.logicalBlock())
                .putInt(Abi.Create.PHYSICAL_BLOCK, device.physicalBlock())
                .putInt(Abi.Create.IO_OPT, device.optimalIo())
                .putInt(Abi.Create.MAX_IO, device.maxIo())
                .putInt(Abi.Create.DEPTH, device.depth())
                .putInt(Abi.Create.QUEUES, 1)
                .putInt(Abi.Create.IO_TIMEOUT_MS, device.ioTimeoutMs())
                .putInt(Abi.Create.RECOVER_MS, device.recoverMs());
        command(Abi.CREATE, create, "create the kernel device " + device.name());
    }

    /**
     * Makes an open control device the server's channel of a device.
     *
     * @return whether it is one now; else another server has the device
     */
    boolean attach(int fd, String name, UUID uuid) throws BlockException {
        ByteBuffer target = struct(Abi.Target.SIZEOF, name, uuid);
        try {
            libc.ioctl(fd, Abi.ATTACH, Libc.addressOf(target));
            return true;
        } catch (LastErrorException e) {
            if (e.getErrorCode() == Libc.EBUSY) return false;
            throw failure("attach to the kernel device " + name, e);
        }
    }

    /** Makes the disk appear. For a thread that serves nothing, while others exchange. */
    void start(String name, UUID uuid) throws BlockException {
        try {
            ioctl(Abi.START, struct(Abi.Target.SIZEOF, name, uuid));
        } catch (LastErrorException e) {
            if (e.getErrorCode() == Libc.EEXIST)
                throw new BlockException(
                        Reason.EXISTS,
                        "there is a block device " + name + " already (/sys/block/" + name
                                + "): export under another name, with kernel,name=…");
            if (e.getErrorCode() != Libc.EALREADY) throw failure("start the kernel device " + name, e);
        }
    }

    /** Changes the capacity, and tells the kernel's users. For a thread that serves nothing. */
    void resize(String name, UUID uuid, long capacity) throws BlockException {
        ByteBuffer target = struct(Abi.Target.SIZEOF, name, uuid).putLong(Abi.Target.ARG, capacity);
        command(Abi.RESIZE, target, "resize the kernel device " + name + " to " + capacity + " bytes");
    }

    /**
     * Destroys a device; one that is absent is not an error. For a thread that serves nothing.
     *
     * @param force also while it is open: what the page cache holds is lost
     * @return whether it is gone; else it is in use
     */
    boolean destroy(String name, UUID uuid, boolean force) throws BlockException {
        ByteBuffer target = struct(Abi.Target.SIZEOF, name, uuid)
                .putLong(Abi.Target.ARG, force ? Abi.DESTROY_FORCE : Abi.DESTROY_GRACEFUL);
        try {
            ioctl(Abi.DESTROY, target);
            return true;
        } catch (LastErrorException e) {
            return switch (e.getErrorCode()) {
                case Libc.EBUSY -> false;
                case Libc.ENODEV, Libc.ESTALE, Libc.ESHUTDOWN -> true;
                default -> throw failure("destroy the kernel device " + name, e);
            };
        }
    }

    private void command(long command, ByteBuffer struct, String what) throws BlockException {
        try {
            ioctl(command, struct);
        } catch (LastErrorException e) {
            throw failure(what, e);
        }
    }

    private void ioctl(long command, ByteBuffer struct) throws BlockException {
        int fd = open();
        try {
            while (true) {
                try {
                    libc.ioctl(fd, command, Libc.addressOf(struct));
                    return;
                } catch (LastErrorException e) {
                    if (e.getErrorCode() != Libc.EINTR) throw e;
                }
            }
        } finally {
            libc.close(fd);
        }
    }

    private static BlockException failure(String what, LastErrorException e) {
        Reason reason = switch (e.getErrorCode()) {
            case Libc.EEXIST -> Reason.EXISTS;
            case Libc.EBUSY -> Reason.IN_USE;
            case Libc.ENODEV, Libc.ESTALE -> Reason.NOT_FOUND;
            case Libc.EINVAL -> Reason.INVALID;
            case Libc.ENOSPC -> Reason.NO_SPACE;
            default -> Reason.IO;
        };
        String why = switch (e.getErrorCode()) {
            case Libc.EPERM -> "that needs root or CAP_SYS_ADMIN";
            case Libc.ENOTTY, Libc.EPROTO ->
                "the module loaded speaks another version of the interface: load the one"
                        + " that belongs to this gateway";
            case Libc.ENOSPC -> "the module has as many devices as it can";
            case Libc.ESTALE -> "another device has that name now";
            default -> e.getMessage();
        };
        return new BlockException(reason, "can't " + what + ": " + why);
    }

    /** A structure with its size, version, name and uuid, which lie at the same offsets in all that have them. */
    private static ByteBuffer struct(int size, String name, UUID uuid) {
        ByteBuffer struct = Libc.struct(size);
        struct.putInt(Abi.Target.SIZE, size).putInt(Abi.Target.VERSION, Abi.ABI_VERSION);
        struct.put(Abi.Target.NAME, name.getBytes(StandardCharsets.US_ASCII));
        // the bytes of a uuid are in the order in which it is written, whatever the machine's
        for (int i = 0; i < 8; i++) {
            struct.put(Abi.Target.UUID + i, (byte) (uuid.getMostSignificantBits() >>> 56 - 8 * i));
            struct.put(Abi.Target.UUID + 8 + i, (byte) (uuid.getLeastSignificantBits() >>> 56 - 8 * i));
        }
        return struct;
    }

    private static long uuidHalf(ByteBuffer struct, int from) {
        long half = 0;
        for (int i = 0; i < 8; i++) half = half << 8 | struct.get(Abi.Status.UUID + from + i) & 0xff;
        return half;
    }
}
