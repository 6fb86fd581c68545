package org.dblock.core.kernel;

import com.sun.jna.LastErrorException;
import java.lang.System.Logger.Level;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.dblock.api.device.Connection;

/**
 * The server of one kernel device: threads that exchange answers for requests with the module, and serve the requests
 * through a connection.
 *
 * <p>All threads are alike. One that waits in the kernel gets work, serves it and hands the answers in with the call
 * that asks for more. On a volume that blocks, a thread takes one request at a time, and before it serves it starts
 * another thread if none is left waiting, up to the queue depth. On a volume of memory speed a thread takes a batch,
 * and another one is started only when the batch was full, up to the number of processors; each thread beyond the first
 * costs the others their batches. Idle threads end, but for one.
 *
 * <p>The data of a request lies in the slot of its tag, memory of this process: the buffers that a volume gets are
 * views of it, made once. From delivery to answer a slot belongs to the thread that got the request.
 *
 * <p>The last thread to leave closes the channel, and only then may another server get the requests that were not
 * answered: this one can no longer write.
 */
final class Channel {
    private static final System.Logger LOG = System.getLogger("org.dblock.core");

    /** Requests that a thread takes at a time on a volume of memory speed. */
    private static final int BATCH = 32;
    /** Answers don't wait for the rest of a batch when more bytes than this were moved. */
    private static final int BATCH_BYTES = 512 << 10;
    /** How long a thread waits in the kernel at a time: a stop takes as long at most. */
    static final int WAIT_MS = 1000;
    /** Exchanges after which a thread looks whether patience brings batches, and whether it still does. */
    private static final int TRY_PATIENCE = 1024, STAY_PATIENT = 32;
    /** Full batches in a row that start another thread, and small ones that end one: {@code Server.trend}. */
    private static final int MORE = 16, LESS = -64;
    /** Waits without work after which a thread that isn't needed ends. */
    private static final int IDLE_WAITS = 5;
    /**
     * The age in seconds at which a thread lets another take its place, for a backend that is gone may have left
     * things.
     */
    private static final long AGE_S = 60;
    /** What a channel hands over: an Integer, a Long, a List of byte arrays. */
    static final String FD = "fd", BASE = "base", UNANSWERED_REQUESTS = "requests";
    /** A request that isn't answered: the next server gets it. */
    private static final int UNANSWERED = 1;

    private final Libc libc;
    private final int fd;
    private final KernelDevice device;
    private final Connection connection;
    private final Consumer<String> ended;
    private final long base;
    private final ByteBuffer[] slots;
    private final int batch;
    /** All threads, and those of them that wait in the kernel or are on their way there. */
    private final AtomicInteger threads = new AtomicInteger(), waiting = new AtomicInteger();

    private final AtomicInteger number = new AtomicInteger();
    private final CountDownLatch left = new CountDownLatch(1);
    /** Whether the owner has said what becomes of the channel. */
    private final CountDownLatch told = new CountDownLatch(1);
    /** What was inherited, and what the next server gets. */
    private final ConcurrentLinkedQueue<byte[]> unanswered = new ConcurrentLinkedQueue<>();

    private volatile boolean stopping;
    private volatile boolean kept;
    private volatile String why = "";

    /**
     * Takes over a file descriptor that is attached to the device, and a connection.
     *
     * @param ended is told, by the last thread to leave, when nobody serves the device any more: why, or an empty text
     *     after {@link #stop()}
     */
    Channel(Libc libc, int fd, KernelDevice device, Connection connection, Consumer<String> ended) {
        this(libc, fd, libc.map((long) device.depth() * device.maxIo()), device, connection, ended, List.of());
    }

    /**
     * Goes on with what another channel has handed over.
     *
     * @param base the address of the slots
     * @param requests as the kernel delivered them: not answered yet
     */
    Channel(
            Libc libc,
            int fd,
            long base,
            KernelDevice device,
            Connection connection,
            Consumer<String> ended,
            List<byte[]> requests) {
        this.libc = libc;
        this.fd = fd;
        this.base = base;
        this.device = device;
        this.connection = connection;
        this.ended = ended;
        unanswered.addAll(requests);
        batch = Math.min(BATCH, device.depth());
        slots = new ByteBuffer[device.depth()];
        for (int tag = 0; tag < slots.length; tag++)
            slots[tag] = Libc.buffer(base + (long) tag * device.maxIo(), device.maxIo());
        spawn(1);
    }

    private long bytes() {
        return (long) device.depth() * device.maxIo();
    }

    /** Tells all threads to leave; each does when it has finished what it serves. Returns at once. */
    void stop() {
        stopping = true;
        told.countDown();
    }

    /**
     * Stops, but leaves the channel open for another one in this process.
     *
     * @param channel gets the file descriptor, the address of the slots, and the requests that were not answered
     * @return whether all threads have left in time; if not, the last one closes the channel
     */
    boolean handOver(long seconds, Map<String, Object> channel) {
        kept = true;
        stop();
        if (!awaitEnd(seconds)) {
            kept = false;
            return false;
        }
        channel.put(FD, fd);
        channel.put(BASE, base);
        channel.put(UNANSWERED_REQUESTS, List.copyOf(unanswered));
        return true;
    }

    /** Waits until all threads have left and the channel is closed; whether they have. */
    boolean awaitEnd(long seconds) {
        return await(left, TimeUnit.SECONDS.toNanos(seconds));
    }

    private static boolean await(CountDownLatch latch, long nanos) {
        boolean interrupted = false;
        long end = System.nanoTime() + nanos;
        try {
            while (true) {
                try {
                    return latch.await(end - System.nanoTime(), TimeUnit.NANOSECONDS);
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        } finally {
            if (interrupted) Thread.currentThread().interrupt();
        }
    }

    /** How many threads there are now. */
    int threads() {
        return threads.get();
    }

    /** Starts a thread unless there are as many as the limit; it counts as waiting from now on. Whether it did. */
    private boolean spawn(int limit) {
        int count;
        do {
            count = threads.get();
            if (count >= limit) return false;
        } while (!threads.compareAndSet(count, count + 1));
        waiting.incrementAndGet();
        Thread thread = new Thread(
                null, new Server(), "dblock-kernel-" + device.name() + "-" + number.incrementAndGet(), 0, false);
        thread.setDaemon(true);
        try {
            thread.start();
            return true;
        } catch (OutOfMemoryError e) {
            LOG.log(Level.WARNING, "kernel device " + device.name() + ": goes on with " + count + " threads: " + e);
            waiting.decrementAndGet();
            leave();
            return false;
        }
    }

    private void fail(String reason) {
        if (!stopping) why = reason;
        stopping = true;
    }

    private void leave() {
        if (threads.decrementAndGet() > 0) return;
        // the device has begun to shut down; whether the channel outlives that is the owner's to say
        if (why.isEmpty()) await(told, Long.MAX_VALUE / 2);
        connection.close();
        if (kept) {
            libc.leave(fd);
        } else {
            libc.unmap(base, bytes());
            libc.close(fd); // the last call: the front end may have left, and then nobody makes another one
        }
        ended.accept(why);
        left.countDown();
    }

    /** The errno of a failure, among those that the module takes. */
    private static int errno(Throwable failure) {
        return switch (BlockException.reasonOf(failure)) {
            case NO_SPACE -> Libc.ENOSPC;
            case UNSUPPORTED -> Libc.EOPNOTSUPP;
            case TIMED_OUT -> Libc.ETIMEDOUT;
            default -> Libc.EIO;
        };
    }

    /** One thread. */
    private final class Server implements Runnable {
        private final ByteBuffer exchange = Libc.struct(Abi.Exchange.SIZEOF);
        private final ByteBuffer fetched = Libc.struct(batch * Abi.Request.SIZEOF);
        private final ByteBuffer commits = Libc.struct(batch * Abi.Commit.SIZEOF);
        private final Libc.Repeated call = new Libc.Repeated(fd, Abi.EXCHANGE, Libc.addressOf(exchange));
        private final long born = System.nanoTime();
        private int answers;
        private int answeredBytes;
        private boolean used;
        /** Whether the thread waits for its turn when it is woken; what has come since it last thought about that. */
        private boolean patient;

        private int exchanges, requests;
        /** How many batches in a row were full, or as a negative number how many were small. */
        private int trend;

        Server() {
            exchange.putLong(Abi.Exchange.COMMITS, Libc.addressOf(commits))
                    .putLong(Abi.Exchange.FETCHED, Libc.addressOf(fetched))
                    .putLong(Abi.Exchange.BASE, base)
                    .putInt(Abi.Exchange.SLOT_SIZE, device.maxIo());
        }

        @Override
        public void run() {
            boolean counted = true; // among those that wait
            try {
                int idle = 0;
                boolean trimmed = false;
                for (byte[] each = unanswered.poll(); each != null; each = unanswered.poll()) {
                    fetched.put(0, each);
                    serve(0);
                    if (stopping) break;
                }
                while (!stopping) {
                    boolean blocks = connection.mayBlock();
                    int wanted = blocks ? 1 : batch;
                    int n = exchange(wanted, WAIT_MS);
                    if (n == 0) {
                        if (++idle >= IDLE_WAITS && stopWaiting()) {
                            counted = false;
                            return;
                        }
                        if (idle >= IDLE_WAITS && !trimmed && threads.get() == 1) {
                            libc.trim(base, bytes());
                            trimmed = true;
                        }
                    } else {
                        idle = 0;
                        trimmed = false;
                        used = true;
                        counted = false;
                        trend = n == wanted ? Math.max(trend, 0) + 1 : n <= wanted / 4 ? Math.min(trend, 0) - 1 : 0;
                        boolean last = waiting.decrementAndGet() == 0;
                        if (last && blocks) spawn(device.depth());
                        else if (last && trend >= MORE) spawn(Math.min(processors(), device.depth()));
                        for (int i = 0; i < n; i++) serve(i * Abi.Request.SIZEOF);
                        waiting.incrementAndGet();
                        counted = true;
                        if (!blocks && trend <= LESS && stopWaiting()) {
                            counted = false;
                            return;
                        }
                    }
                    if (!blocks && n > 0) adapt(n);
                    if (used
                            && (n == 0 || exchanges == 0)
                            && System.nanoTime() - born > TimeUnit.SECONDS.toNanos(AGE_S)) {
                        if (stopWaiting()) {
                            counted = false;
                            return;
                        }
                        if (spawn(Integer.MAX_VALUE)) return;
                    }
                }
            } catch (LastErrorException e) {
                fail(
                        switch (e.getErrorCode()) {
                            case Libc.ESHUTDOWN -> "the kernel device was destroyed";
                            case Libc.ENOTCONN -> "the kernel took the channel away";
                            default -> "the exchange with the kernel failed: " + e.getMessage();
                        });
            } catch (Throwable e) {
                fail("the exchange with the kernel failed: " + e);
            } finally {
                if (counted) waiting.decrementAndGet();
                if (answers > 0) handIn();
                leave();
            }
        }

        /**
         * A thread that is woken runs at once, in place of the one that submitted a request and would have submitted
         * more: where processors are few, every exchange brings one. A patient one finds all that came until its turn.
         * Where requests come one by one that only costs; so it is tried now and then, and kept up while batches come.
         */
        private void adapt(int n) {
            requests += n;
            if (++exchanges < (patient ? STAY_PATIENT : TRY_PATIENCE)) return;
            if (requests <= 2 * exchanges) libc.patient(patient = !patient);
            exchanges = requests = 0;
        }

        /** Leaves those that wait, unless it is the last of them. */
        private boolean stopWaiting() {
            int count;
            do {
                count = waiting.get();
                if (count <= 1) return false;
            } while (!waiting.compareAndSet(count, count - 1));
            return true;
        }

        /** Hands the last answers in, when the thread is about to end for whatever reason. */
        private void handIn() {
            try {
                exchange(0, 0);
            } catch (LastErrorException e) {
                // the device is destroyed, or detached: nobody waits for the answers
                LOG.log(Level.DEBUG, "kernel device {0}: answers dropped: {1}", device.name(), e.getMessage());
            }
        }

        /** Hands the answers in and takes requests; how many. */
        private int exchange(int wanted, int timeoutMs) {
            while (true) {
                exchange.putInt(Abi.Exchange.N_COMMIT, answers)
                        .putInt(Abi.Exchange.MAX_FETCH, wanted)
                        .putInt(Abi.Exchange.TIMEOUT_MS, timeoutMs);
                try {
                    // answers that a call takes before it fails are refused when it is made once more
                    if (libc.again(call) < 0) libc.ioctl(fd, Abi.EXCHANGE, call.argument);
                    settle(answers);
                    if (answers == 0) return exchange.getInt(Abi.Exchange.N_FETCHED);
                    // refused ones that are handed in once more; what was fetched meanwhile goes first
                    int n = exchange.getInt(Abi.Exchange.N_FETCHED);
                    if (n > 0) return n;
                } catch (LastErrorException e) {
                    if (e.getErrorCode() == Libc.EINTR) {
                        if (stopping && answers == 0) return 0;
                        continue;
                    }
                    if (e.getErrorCode() != Libc.EFAULT) throw e;
                    settle(exchange.getInt(Abi.Exchange.N_COMMITTED));
                    LOG.log(Level.ERROR, "kernel device " + device.name() + ": no memory for a slot; trying again");
                    pause();
                }
            }
        }

        /** Forgets the first answers, which the kernel has taken, but for those whose slot it could not read. */
        private void settle(int taken) {
            int kept = 0;
            if (taken < answers || exchange.getInt(Abi.Exchange.N_REFUSED) != 0) {
                for (int i = 0; i < answers; i++) {
                    int at = i * Abi.Commit.SIZEOF;
                    boolean unread = i < taken && commits.getInt(at + Abi.Commit.STATUS) == -Libc.EFAULT;
                    if (i < taken && !unread) continue;
                    int to = kept++ * Abi.Commit.SIZEOF;
                    int result = unread ? -Libc.EIO : commits.getInt(at + Abi.Commit.RESULT);
                    commits.putLong(to + Abi.Commit.COOKIE, commits.getLong(at + Abi.Commit.COOKIE))
                            .putInt(to + Abi.Commit.QUEUE, commits.getInt(at + Abi.Commit.QUEUE)) // and the tag
                            .putInt(to + Abi.Commit.RESULT, result)
                            .putInt(to + Abi.Commit.STATUS, 0);
                }
            }
            answers = kept;
            answeredBytes = 0;
        }

        /** Serves the request at that place of what was fetched. */
        private void serve(int at) {
            // nobody waits for the rest of a batch at the gate, or while megabytes are moved
            if (answers == batch || answers > 0 && (answeredBytes > BATCH_BYTES || connection.wouldWait()))
                exchange(0, 0);
            int tag = fetched.getShort(at + Abi.Request.TAG) & 0xffff;
            int length = (int) Math.min(Integer.MAX_VALUE, fetched.getLong(at + Abi.Request.LENGTH));
            int result;
            try {
                perform(at, slots[tag], length);
                result = 0;
            } catch (Throwable e) {
                // at a stop the request is the next server's
                if (BlockException.reasonOf(e) == Reason.SHUTTING_DOWN) {
                    result = UNANSWERED;
                    stopping = true;
                    byte[] request = new byte[Abi.Request.SIZEOF];
                    fetched.get(at, request);
                    unanswered.add(request);
                } else {
                    result = -errno(e);
                }
            }
            if (result != UNANSWERED) answer(at, result);
            answeredBytes += length;
        }

        private void perform(int at, ByteBuffer slot, int length) throws Exception {
            long offset = fetched.getLong(at + Abi.Request.OFFSET);
            int flags = fetched.getInt(at + Abi.Request.FLAGS);
            boolean fua = (flags & Abi.RQ_FUA) != 0;
            switch (fetched.getInt(at + Abi.Request.OP)) {
                case Abi.OP_READ -> connection.read(slot.clear().limit(length), offset);
                case Abi.OP_WRITE -> connection.write(slot.clear().limit(length), offset, fua);
                case Abi.OP_FLUSH -> connection.flush();
                case Abi.OP_DISCARD -> connection.discard(offset, fetched.getLong(at + Abi.Request.LENGTH));
                case Abi.OP_WRITE_ZEROES ->
                    connection.writeZeroes(
                            offset, fetched.getLong(at + Abi.Request.LENGTH), (flags & Abi.RQ_NOUNMAP) == 0, fua);
                default ->
                    throw new BlockException(Reason.UNSUPPORTED, "operation " + fetched.getInt(at + Abi.Request.OP));
            }
        }

        private void answer(int at, int result) {
            int to = answers++ * Abi.Commit.SIZEOF;
            commits.putLong(to + Abi.Commit.COOKIE, fetched.getLong(at + Abi.Request.COOKIE))
                    .putShort(to + Abi.Commit.QUEUE, fetched.getShort(at + Abi.Request.QUEUE))
                    .putShort(to + Abi.Commit.TAG, fetched.getShort(at + Abi.Request.TAG))
                    .putInt(to + Abi.Commit.RESULT, result)
                    .putInt(to + Abi.Commit.STATUS, 0)
                    .putInt(to + Abi.Commit.RESERVED, 0);
        }

        private void pause() {
            try {
                Thread.sleep(20);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private static int processors() {
        return Runtime.getRuntime().availableProcessors();
    }
}
