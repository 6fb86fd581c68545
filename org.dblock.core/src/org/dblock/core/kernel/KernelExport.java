package org.dblock.core.kernel;

import java.lang.System.Logger.Level;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.dblock.api.BlockException;
import org.dblock.api.Capability;
import org.dblock.api.Geometry;
import org.dblock.api.Persistence;
import org.dblock.api.Reason;
import org.dblock.api.device.Client;
import org.dblock.api.device.Connection;
import org.dblock.api.device.Device;
import org.dblock.api.device.Export;

/**
 * A device as the kernel shows it: {@code /dev/NAME}.
 *
 * <p>A kernel device outlives this process, so one may be there already. It is served again, by name and uuid, if what
 * it believes to be written is still there. If not (a ramdisk after a restart) it stays as it is, failing with EIO,
 * until nobody has it open; then a new one takes its place.
 */
final class KernelExport implements Export, Client {
    private static final System.Logger LOG = System.getLogger("org.dblock.core");

    /** udev opens every new disk, and every one that was written, for a moment. */
    private static final int UNUSED_MS = 2000;
    /** How long a process that has died may take to let go of its channel. */
    private static final int ATTACH_MS = 30_000;
    /** How long the end of an export waits for requests that are inside the volume. */
    private static final int END_S = 10;

    private static final int POLL_MS = 20;
    private static final int RETRY_MS = 1000;

    private final Libc libc;
    private final Control control;
    private final Device device;
    private final ExportOptions options;
    private final Host host;
    /** Guarded by this; null while nobody serves. */
    private Channel channel;
    /** The capacity that the kernel has been told. Guarded by this. */
    private long capacity;
    /** Whether somebody looks after what can't be done at once. Guarded by this. */
    private boolean tended;

    private volatile long size;
    private volatile boolean lost;
    private volatile boolean closing;
    private volatile String explanation = "";

    KernelExport(Libc libc, Device device, ExportOptions options, Host host) {
        this.libc = libc;
        this.control = new Control(libc);
        this.device = device;
        this.options = options;
        this.host = host;
    }

    /** Begins to serve; where a former kernel device is in the way, as soon as that is gone. */
    synchronized void begin() throws BlockException {
        if (!serve()) tend();
    }

    /** Creates the kernel device, or finds it, and serves it; not if a former one that is of no use has users still. */
    private boolean serve() throws BlockException {
        Geometry geometry = device.geometry();
        KernelDevice wanted = wanted(geometry, control.limits());
        if (adopt(geometry)) return true;
        KernelDevice.Status old = former();
        if (old != null && !(useful(old, geometry) && wanted.equals(old.device()))) {
            // one that is good but was created with other options is replaced if that disturbs nobody
            if (destroyUnused(useful(old, geometry) ? 0 : UNUSED_MS)) {
                old = null;
            } else if (!useful(old, geometry)) {
                explain("the former kernel device " + options.name() + " is in use (open " + old.openers()
                        + " times) and fails with EIO, for what it held is lost: unmount it, and a new one takes its"
                        + " place; to destroy it now, end this export");
                return false;
            }
        }
        if (old == null) control.create(wanted);
        KernelDevice served = old == null ? wanted : old.device();
        Channel started = null;
        try {
            started = channel(served);
            if (old == null) control.start(served.name(), served.uuid());
        } catch (BlockException | RuntimeException e) {
            if (old == null) control.destroy(served.name(), served.uuid(), true);
            if (started != null) started.stop();
            throw e;
        }
        serving(started, served, geometry);
        return true;
    }

    private void serving(Channel started, KernelDevice served, Geometry geometry) {
        channel = started;
        capacity = served.capacity();
        size = geometry.size();
        lost = false;
        explain("");
        if (capacity != size) tend();
    }

    /** Goes on with a channel that this bundle's former version has left; whether there was one that is of use. */
    @SuppressWarnings("unchecked")
    private boolean adopt(Geometry geometry) throws BlockException {
        Map<String, Object> kept = host.take(device.id());
        if (kept == null) return false;
        int fd = (Integer) kept.get(Channel.FD);
        long base = (Long) kept.get(Channel.BASE);
        libc.adopt(fd);
        KernelDevice.Status status = control.status(options.name());
        if (status == null
                || !status.device().uuid().equals(device.id())
                || status.device().logicalBlock() != geometry.blockSize()
                || !host.sameStores(device.spec().backend(), kept)) {
            libc.close(fd); // the slots' memory is lost, which is small compared with what may still use it
            return false;
        }
        Connection connection;
        try {
            connection = device.connect(this);
        } catch (BlockException e) {
            libc.leave(fd);
            host.keep(device.id(), device.spec().backend(), kept); // for the next attempt
            throw e;
        }
        List<byte[]> requests = (List<byte[]>) kept.get(Channel.UNANSWERED_REQUESTS);
        KernelDevice served = status.device();
        serving(new Channel(libc, fd, base, served, connection, this::ended, requests), served, geometry);
        return true;
    }

    /** The kernel device of that name, once no server has it; null if there is none. */
    private KernelDevice.Status former() throws BlockException {
        for (long start = System.nanoTime(); ; pause(POLL_MS)) {
            KernelDevice.Status old = control.status(options.name());
            if (old == null) return null;
            if (!old.device().uuid().equals(device.id()))
                throw new BlockException(
                        Reason.EXISTS,
                        "there is a kernel device " + options.name()
                                + " that belongs to another gateway or device (uuid "
                                + old.device().uuid() + "): export under another name, with kernel,name=…");
            if (old.serverPid() == 0 && old.state() != Abi.STATE_DYING) return old;
            if (passed(start, ATTACH_MS))
                throw new BlockException(
                        Reason.IN_USE,
                        old.state() == Abi.STATE_DYING
                                ? "the kernel device " + options.name() + " is being destroyed: try again later"
                                : "the kernel device " + options.name() + " is served by process " + old.serverPid()
                                        + ": stop that gateway first");
        }
    }

    /** Whether a kernel device without a server can go on with this volume. */
    private static boolean useful(KernelDevice.Status old, Geometry geometry) {
        return old.state() != Abi.STATE_CREATED
                && old.device().recoverMs() != 0
                && geometry.persistence() != Persistence.VOLATILE
                && old.device().logicalBlock() == geometry.blockSize();
    }

    private Channel channel(KernelDevice served) throws BlockException {
        Connection connection = device.connect(this);
        int fd = -1;
        try {
            fd = control.open();
            for (long start = System.nanoTime(); !control.attach(fd, served.name(), served.uuid()); pause(POLL_MS))
                if (passed(start, ATTACH_MS))
                    throw new BlockException(
                            Reason.IN_USE, "another process serves the kernel device " + served.name());
            return new Channel(libc, fd, served, connection, this::ended);
        } catch (BlockException | RuntimeException e) {
            if (fd >= 0) libc.close(fd);
            connection.close();
            throw e;
        }
    }

    /** Destroys the kernel device if nobody has it open within that time; whether it is gone. */
    private boolean destroyUnused(int millis) throws BlockException {
        for (long start = System.nanoTime(); ; pause(POLL_MS)) {
            if (control.destroy(options.name(), device.id(), false)) return true;
            if (passed(start, millis)) return false;
        }
    }

    private KernelDevice wanted(Geometry geometry, Control.Limits limits) throws BlockException {
        int block = geometry.blockSize();
        int preferred = geometry.preferredIo();
        int physical = Integer.bitCount(preferred) == 1 && preferred <= 1 << 20 ? preferred : block;
        boolean optimal = geometry.optimalIo() % physical == 0 && geometry.optimalIo() <= 1 << 30;
        int flags = Abi.F_WRITE_CACHE | Abi.F_FUA;
        if (geometry.readOnly() || device.spec().readOnly() || options.readOnly()) flags |= Abi.F_READ_ONLY;
        if (geometry.can(Capability.DISCARD)) flags |= Abi.F_DISCARD;
        if (geometry.can(Capability.WRITE_ZEROES)) flags |= Abi.F_WRITE_ZEROES;
        if (options.partitions()) flags |= Abi.F_PARTITIONS;
        if (options.queueDepth() > limits.maxDepth())
            throw new BlockException(
                    Reason.INVALID,
                    "queueDepth=" + options.queueDepth() + ": the kernel module takes at most " + limits.maxDepth());
        int depth =
                options.queueDepth() > 0 ? options.queueDepth() : device.spec().queueDepth();
        return new KernelDevice(
                options.name(),
                device.id(),
                geometry.size(),
                flags,
                block,
                physical,
                optimal ? geometry.optimalIo() : 0,
                Math.max(limits.minIo(), Math.min(limits.maxIo(), options.maxIo())),
                Math.min(limits.maxDepth(), depth),
                options.ioTimeoutSeconds() * 1000,
                geometry.persistence() == Persistence.VOLATILE ? 0 : options.recoverMs());
    }

    /** Sees to what can't be done on the caller's thread, or not at once. */
    private synchronized void tend() {
        if (tended || closing) return;
        tended = true;
        Thread thread = new Thread(null, this::tending, "dblock-kernel-" + options.name(), 0, false);
        thread.setDaemon(true);
        thread.start();
    }

    private void tending() {
        while (!step()) pause(RETRY_MS);
    }

    /** One attempt; whether there is nothing left to do. */
    private synchronized boolean step() {
        try {
            if (!closing && lost && channel != null && destroyUnused(0)) {
                channel.awaitEnd(END_S);
                channel = null;
            }
            if (!closing && channel == null) serve();
            if (!closing && channel != null && !lost && capacity != size) {
                long wanted = size;
                control.resize(options.name(), device.id(), wanted);
                capacity = wanted;
            }
        } catch (BlockException | RuntimeException e) {
            explain(e.getMessage());
        }
        tended = !closing && (channel == null || lost || capacity != size);
        return !tended;
    }

    /** Told by the channel's last thread. */
    private void ended(String why) {
        if (why.isEmpty() || closing || lost) return;
        explain(why + ": to have it again, end this export and export the device anew");
    }

    private void explain(String why) {
        if (!why.isEmpty() && !why.equals(explanation))
            LOG.log(Level.WARNING, "device " + device.name() + ", kernel: " + why);
        explanation = why;
    }

    @Override
    public void resized(long bytes) {
        size = bytes;
        background(this::tend);
    }

    @Override
    public void gone(String why) {
        if (closing) return;
        lost = true;
        explain(why + ": the kernel device fails with EIO until nobody has it open, then a new one takes its place");
        background(this::tend);
    }

    /** Empty while nobody has the disk open: the device isn't in use then. */
    @Override
    public String describe() {
        int openers = openers();
        return openers == 0
                ? ""
                : "kernel device " + address() + ", open " + openers + (openers == 1 ? " time" : " times");
    }

    private int openers() {
        try {
            KernelDevice.Status status = control.status(options.name());
            return status == null || !status.device().uuid().equals(device.id()) ? 0 : status.openers();
        } catch (BlockException e) {
            return 0;
        }
    }

    @Override
    public String frontEnd() {
        return KernelFrontEnd.KERNEL;
    }

    @Override
    public String address() {
        return "/dev/" + options.name();
    }

    @Override
    public String explanation() {
        return explanation;
    }

    @Override
    public void close(End end) {
        closing = true;
        synchronized (this) {
            if (end == End.STOPPING && handedOver()) return;
            try {
                destroy(end);
            } catch (BlockException e) {
                LOG.log(Level.WARNING, "device " + device.name() + ", kernel: " + e.getMessage());
            }
            if (channel == null) return;
            channel.stop();
            if (!channel.awaitEnd(END_S))
                LOG.log(
                        Level.WARNING,
                        "device {0}, kernel: {1} threads are still inside the volume; the channel stays open until they"
                                + " have left",
                        device.name(),
                        channel.threads());
        }
    }

    /**
     * Leaves the channel of a device whose contents are in memory to this bundle's next version: closed, it would fail.
     */
    private boolean handedOver() {
        if (channel == null || lost || host.stops()) return false;
        try {
            KernelDevice.Status status = control.status(options.name());
            if (status == null || status.device().recoverMs() != 0 || status.openers() == 0) return false;
        } catch (BlockException e) {
            return false;
        }
        Map<String, Object> kept = new HashMap<>();
        if (!channel.handOver(END_S, kept)) return false;
        host.keep(device.id(), device.spec().backend(), kept);
        return true;
    }

    /** Destroys the kernel device where it is not to outlive the export. */
    private void destroy(End end) throws BlockException {
        boolean removed = end == End.REMOVED;
        KernelDevice.Status status = control.status(options.name());
        if (status == null || !status.device().uuid().equals(device.id())) return;
        // without contents to come back to, only a disk that somebody has open is worth keeping
        boolean spent = status.device().recoverMs() == 0;
        if (!removed && !spent && !host.removesDevices()) return;
        if (destroyUnused(UNUSED_MS)) return;
        if (removed) control.destroy(options.name(), device.id(), true);
        else
            LOG.log(
                    Level.WARNING,
                    "device {0}, kernel: {1} is in use and stays in the kernel",
                    device.name(),
                    address());
    }

    private static void background(Runnable task) {
        Thread thread = new Thread(null, task, "dblock-kernel", 0, false);
        thread.setDaemon(true);
        thread.start();
    }

    private static boolean passed(long start, int millis) {
        return System.nanoTime() - start >= millis * 1_000_000L;
    }

    private static void pause(int millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
