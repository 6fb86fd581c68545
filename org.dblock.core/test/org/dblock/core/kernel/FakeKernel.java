package org.dblock.core.kernel;

import com.sun.jna.LastErrorException;
import com.sun.jna.Pointer;
import java.util.ArrayDeque;
import java.util.BitSet;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.UUID;

/**
 * The module as its header describes it, behind the same system calls and memory layout. Its clock runs {@link #SPEED}
 * times as fast as others.
 */
final class FakeKernel extends Libc {
    private static final int SPEED = 20;
    private static final int E2BIG = 7;
    /** All memory: offsets are addresses. */
    private static final Pointer MEMORY = new Pointer(0);

    /** A request of the block layer. */
    static final class Rq {
        final int op;
        final long offset;
        final int length;
        final int flags;
        final byte[] data;
        private Integer result;
        private long cookie;
        int deliveries;

        Rq(int op, long offset, int length, int flags, byte[] data) {
            this.op = op;
            this.offset = offset;
            this.length = length;
            this.flags = flags;
            this.data = data;
        }
    }

    /** A device. */
    static final class Dev {
        String name;
        UUID uuid;
        int id, flags, logical, physical, ioOpt, maxIo, depth, ioTimeout, recover;
        long capacity;
        int state = Abi.STATE_CREATED;
        int server = -1;
        int openers;
        long generation;
        private final ArrayDeque<Rq> pending = new ArrayDeque<>();
        private Rq[] slots;
    }

    boolean present = true, permitted = true;
    final Map<String, Dev> devices = new HashMap<>();
    /** By file descriptor; no boxes, so that an exchange allocates nothing here. */
    private final Dev[] channels = new Dev[1 << 16];

    private final BitSet files = new BitSet();
    private int lastFd, lastId;
    private long lastCookie;
    int created, exchanges, stale;
    /** Threads that are in an exchange now, and the most requests that one has brought. */
    int inside, largestBatch;
    /** Makes some calls fail that have taken some of their answers, or all; null: none. */
    Random faults;
    /** Whether slots were given back when the calls for that might have been unregistered. */
    private boolean late;

    @Override
    synchronized int openControl() {
        if (!present) throw new LastErrorException(ENOENT);
        if (!permitted) throw new LastErrorException(EACCES);
        files.set(++lastFd);
        return lastFd;
    }

    @Override
    void adopt(int fd) {}

    @Override
    void leave(int fd) {}

    @Override
    synchronized int descriptors() {
        return files.cardinality();
    }

    @Override
    synchronized void close(int fd) {
        if (!files.get(fd)) throw new LastErrorException(9);
        files.clear(fd);
        Dev dev = channels[fd];
        if (dev == null || dev.server != fd) return;
        dev.server = -1;
        if (dev.state == Abi.STATE_LIVE) dev.state = Abi.STATE_PARKED;
        for (int tag = dev.depth - 1; tag >= 0; tag--) {
            if (dev.slots[tag] == null) continue;
            dev.pending.addFirst(dev.slots[tag]);
            dev.slots[tag] = null;
        }
        if (dev.recover == 0 && dev.state == Abi.STATE_PARKED) {
            dev.state = Abi.STATE_FAILED;
            failAll(dev);
        }
        notifyAll();
    }

    @Override
    void unmap(long address, long length) {
        synchronized (this) {
            late |= files.isEmpty();
        }
        super.unmap(address, length);
    }

    synchronized boolean late() {
        return late;
    }

    @Override
    int again(Repeated call) {
        try {
            return ioctl(call.fd, call.command, call.argument);
        } catch (LastErrorException e) {
            return -1;
        }
    }

    @Override
    synchronized int ioctl(int fd, long command, long at) {
        if (!files.get(fd)) throw new LastErrorException(9);
        if (command == Abi.EXCHANGE) return exchange(fd, at);
        if (command == Abi.INFO) {
            check(at, Abi.Info.SIZEOF);
            MEMORY.setInt(at + Abi.Info.VERSION, 1);
            MEMORY.setInt(at + Abi.Info.VERSION_MIN, 1);
            MEMORY.setInt(at + Abi.Info.MAX_DEPTH, 1024);
            MEMORY.setInt(at + Abi.Info.MIN_IO, 4096);
            MEMORY.setInt(at + Abi.Info.MAX_IO, 1 << 20);
        } else if (command == Abi.CREATE) {
            create(at);
        } else if (command == Abi.STATUS) {
            check(at, Abi.Status.SIZEOF);
            status(find(at), at);
        } else if (command == Abi.ATTACH) {
            Dev dev = target(at);
            if (dev.server != -1) throw new LastErrorException(EBUSY);
            if (dev.state == Abi.STATE_FAILED && dev.recover == 0) throw new LastErrorException(ENOTRECOVERABLE);
            dev.server = fd;
            dev.generation++;
            if (dev.state != Abi.STATE_CREATED) dev.state = Abi.STATE_LIVE;
            channels[fd] = dev;
        } else if (command == Abi.START) {
            Dev dev = target(at);
            if (dev.state != Abi.STATE_CREATED) throw new LastErrorException(EALREADY);
            dev.state = Abi.STATE_LIVE;
        } else if (command == Abi.DESTROY) {
            Dev dev = target(at);
            boolean busy = dev.openers > 0 || !dev.pending.isEmpty() || inFlight(dev) > 0;
            if (busy && MEMORY.getLong(at + Abi.Target.ARG) == Abi.DESTROY_GRACEFUL)
                throw new LastErrorException(EBUSY);
            dev.state = Abi.STATE_DYING;
            failAll(dev);
            devices.remove(dev.name);
            notifyAll();
        } else if (command == Abi.RESIZE) {
            target(at).capacity = MEMORY.getLong(at + Abi.Target.ARG);
            notifyAll();
        } else {
            throw new LastErrorException(ENOTTY);
        }
        return 0;
    }

    private static void check(long at, int size) {
        if (MEMORY.getInt(at) != size) throw new LastErrorException(E2BIG);
    }

    private void create(long at) {
        check(at, Abi.Create.SIZEOF);
        Dev dev = new Dev();
        dev.name = MEMORY.getString(at + Abi.Create.NAME, "US-ASCII");
        dev.uuid = uuid(at + Abi.Create.UUID);
        dev.capacity = MEMORY.getLong(at + Abi.Create.CAPACITY);
        dev.flags = MEMORY.getInt(at + Abi.Create.FLAGS);
        dev.logical = MEMORY.getInt(at + Abi.Create.LOGICAL_BLOCK);
        dev.physical = MEMORY.getInt(at + Abi.Create.PHYSICAL_BLOCK);
        dev.ioOpt = MEMORY.getInt(at + Abi.Create.IO_OPT);
        dev.maxIo = MEMORY.getInt(at + Abi.Create.MAX_IO);
        dev.depth = MEMORY.getInt(at + Abi.Create.DEPTH);
        dev.ioTimeout = MEMORY.getInt(at + Abi.Create.IO_TIMEOUT_MS);
        dev.recover = MEMORY.getInt(at + Abi.Create.RECOVER_MS);
        if (MEMORY.getInt(at + Abi.Create.VERSION) != 1) throw new LastErrorException(EPROTO);
        if (dev.capacity <= 0 || dev.capacity % dev.logical != 0 || MEMORY.getInt(at + Abi.Create.QUEUES) != 1)
            throw new LastErrorException(EINVAL);
        if (devices.putIfAbsent(dev.name, dev) != null) throw new LastErrorException(EEXIST);
        dev.id = ++lastId;
        dev.slots = new Rq[dev.depth];
        created++;
    }

    private static UUID uuid(long at) {
        long most = Long.reverseBytes(MEMORY.getLong(at)), least = Long.reverseBytes(MEMORY.getLong(at + 8));
        return new UUID(most, least);
    }

    private Dev find(long at) {
        Dev dev = devices.get(MEMORY.getString(at + Abi.Target.NAME, "US-ASCII"));
        if (dev == null) throw new LastErrorException(ENODEV);
        UUID uuid = uuid(at + Abi.Target.UUID);
        if (!uuid.equals(new UUID(0, 0)) && !uuid.equals(dev.uuid)) throw new LastErrorException(ESTALE);
        return dev;
    }

    private Dev target(long at) {
        check(at, Abi.Target.SIZEOF);
        return find(at);
    }

    private static void status(Dev dev, long at) {
        byte[] uuid = new byte[16];
        for (int i = 0; i < 8; i++) {
            uuid[i] = (byte) (dev.uuid.getMostSignificantBits() >> 56 - 8 * i);
            uuid[8 + i] = (byte) (dev.uuid.getLeastSignificantBits() >> 56 - 8 * i);
        }
        MEMORY.write(at + Abi.Status.UUID, uuid, 0, 16);
        MEMORY.setInt(at + Abi.Status.STATE, dev.state);
        MEMORY.setLong(at + Abi.Status.CAPACITY, dev.capacity);
        MEMORY.setInt(at + Abi.Status.FLAGS, dev.flags);
        MEMORY.setInt(at + Abi.Status.LOGICAL_BLOCK, dev.logical);
        MEMORY.setInt(at + Abi.Status.PHYSICAL_BLOCK, dev.physical);
        MEMORY.setInt(at + Abi.Status.IO_OPT, dev.ioOpt);
        MEMORY.setInt(at + Abi.Status.MAX_IO, dev.maxIo);
        MEMORY.setInt(at + Abi.Status.DEPTH, dev.depth);
        MEMORY.setInt(at + Abi.Status.IO_TIMEOUT_MS, dev.ioTimeout);
        MEMORY.setInt(at + Abi.Status.RECOVER_MS, dev.recover);
        MEMORY.setInt(at + Abi.Status.SERVER_PID, dev.server == -1 ? 0 : 4711);
        MEMORY.setInt(at + Abi.Status.OPENERS, dev.openers);
        MEMORY.setLong(at + Abi.Status.GENERATION, dev.generation);
    }

    private static int inFlight(Dev dev) {
        int count = 0;
        for (Rq rq : dev.slots) if (rq != null) count++;
        return count;
    }

    private static void failAll(Dev dev) {
        for (Rq rq : dev.pending) rq.result = -EIO;
        dev.pending.clear();
        for (int tag = 0; tag < dev.depth; tag++) {
            if (dev.slots[tag] != null) dev.slots[tag].result = -EIO;
            dev.slots[tag] = null;
        }
    }

    private int exchange(int fd, long at) {
        exchanges++;
        inside++;
        try {
            Dev dev = channels[fd];
            if (dev == null || dev.server != fd) throw new LastErrorException(ENOTCONN);
            MEMORY.setInt(at + Abi.Exchange.N_FETCHED, 0);
            int n = MEMORY.getInt(at + Abi.Exchange.N_COMMIT);
            int fault = faults == null ? 0 : faults.nextInt(12);
            commit(dev, at, fault == 1 ? faults.nextInt(n + 1) : n);
            // the module tells of a signal only where it has taken no answers
            if (fault == 1 || fault == 2 && n == 0) throw new LastErrorException(fault == 1 ? EFAULT : EINTR);
            int max = MEMORY.getInt(at + Abi.Exchange.MAX_FETCH);
            long end = System.nanoTime() + MEMORY.getInt(at + Abi.Exchange.TIMEOUT_MS) * 1_000_000L / SPEED;
            while (max > 0 && dev.pending.isEmpty() && dev.state != Abi.STATE_DYING) {
                long left = (end - System.nanoTime()) / 1_000_000;
                if (left <= 0) break;
                sleep(left);
            }
            if (dev.state == Abi.STATE_DYING) throw new LastErrorException(ESHUTDOWN);
            n = 0;
            for (; n < max && !dev.pending.isEmpty(); n++) if (!deliver(dev, at, n)) break;
            MEMORY.setInt(at + Abi.Exchange.N_FETCHED, n);
            largestBatch = Math.max(largestBatch, n);
            return n;
        } finally {
            inside--;
        }
    }

    private boolean deliver(Dev dev, long at, int n) {
        int tag = 0;
        while (tag < dev.depth && dev.slots[tag] != null) tag++;
        if (tag == dev.depth) return false;
        Rq rq = dev.pending.pollFirst();
        dev.slots[tag] = rq;
        rq.cookie = ++lastCookie;
        rq.deliveries++;
        long to = MEMORY.getLong(at + Abi.Exchange.FETCHED) + (long) n * Abi.Request.SIZEOF;
        MEMORY.setLong(to + Abi.Request.COOKIE, rq.cookie);
        MEMORY.setShort(to + Abi.Request.TAG, (short) tag);
        MEMORY.setInt(to + Abi.Request.OP, rq.op);
        MEMORY.setLong(to + Abi.Request.OFFSET, rq.offset);
        MEMORY.setLong(to + Abi.Request.LENGTH, rq.length);
        MEMORY.setInt(to + Abi.Request.FLAGS, rq.flags);
        if (rq.op == Abi.OP_WRITE) MEMORY.write(slot(at, tag), rq.data, 0, rq.length);
        return true;
    }

    private static long slot(long at, int tag) {
        return MEMORY.getLong(at + Abi.Exchange.BASE) + (long) tag * MEMORY.getInt(at + Abi.Exchange.SLOT_SIZE);
    }

    private void commit(Dev dev, long at, int n) {
        int refused = 0;
        for (int i = 0; i < n; i++) {
            long from = MEMORY.getLong(at + Abi.Exchange.COMMITS) + (long) i * Abi.Commit.SIZEOF;
            int tag = MEMORY.getShort(from + Abi.Commit.TAG) & 0xffff;
            Rq rq = dev.slots[tag];
            if (rq == null || rq.cookie != MEMORY.getLong(from + Abi.Commit.COOKIE)) {
                MEMORY.setInt(from + Abi.Commit.STATUS, -ESTALE);
                refused++;
                stale++;
                continue;
            }
            int result = MEMORY.getInt(from + Abi.Commit.RESULT);
            if (result == 0 && rq.op == Abi.OP_READ) MEMORY.read(slot(at, tag), rq.data, 0, rq.length);
            dev.slots[tag] = null;
            rq.result = result;
        }
        MEMORY.setInt(at + Abi.Exchange.N_COMMITTED, n);
        MEMORY.setInt(at + Abi.Exchange.N_REFUSED, refused);
        if (n > 0) notifyAll();
    }

    private void sleep(long millis) {
        try {
            wait(millis);
        } catch (InterruptedException e) {
            throw new AssertionError("a serving thread was interrupted", e);
        }
    }

    // ---- the other side

    /** Submits requests; each ends some day. */
    synchronized void submit(Dev dev, Rq... requests) {
        for (Rq rq : requests) {
            rq.result = null;
            if (dev.state == Abi.STATE_FAILED || dev.state == Abi.STATE_DYING) rq.result = -EIO;
            else dev.pending.add(rq);
        }
        notifyAll();
    }

    /** Waits for the end of a request; 0 or a negative errno. */
    synchronized int await(Rq rq) {
        long end = System.nanoTime() + 60_000_000_000L;
        while (rq.result == null) {
            if (System.nanoTime() > end) throw new AssertionError("no answer within a minute");
            sleep(1000);
        }
        return rq.result;
    }

    synchronized boolean done(Rq rq) {
        return rq.result != null;
    }

    synchronized Dev device(String name) {
        return devices.get(name);
    }

    synchronized void openers(Dev dev, int count) {
        dev.openers = count;
    }
}
