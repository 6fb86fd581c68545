package org.dblock.nbd;

import java.io.IOException;
import java.net.SocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.CancelledKeyException;
import java.nio.channels.ClosedSelectorException;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;

/**
 * The bytes of one connection: what has come in and what is to go out.
 *
 * <p>One thread at a time owns it: it alone reads, fills {@link #out} and waits. Workers give their finished requests
 * to {@link #ready}; whoever finds the socket free sends all that are ready with one gathering write, and where the
 * socket is full the owner goes on. So no worker ever waits for a client.
 */
final class Wire {
    private static final Consumer<SelectionKey> NOTHING = key -> {};
    private static final int GATHER = 64;
    /** After so many reads in vain, only every so many-th wait begins with one. */
    private static final int VAIN = 8;
    /** How often the processor is left to others before a sleep. */
    private static final int YIELDS = 4;

    /** What a connection's requests in flight may take, together: one of the largest, or many small ones. */
    private static final int MOST_CHARGED = Nbd.MAX_PAYLOAD;

    /** What came in and was not looked at yet: from its position to its limit. */
    final ByteBuffer in;
    /** The owner's replies, up to its position. */
    final ByteBuffer out;
    /** A second view of {@link #out}. */
    final ByteBuffer outView;

    private final SocketChannel channel;
    private final BufferPool pool;
    private final Spinners spinners;
    private final long stallNanos;
    private final BufferPool.Buffer inBuffer;
    private final BufferPool.Buffer outBuffer;
    private final Selector readSelector;
    private final SelectionKey readKey;
    private volatile Selector writeSelector;
    private volatile Thread owner;

    private long deadline = Long.MAX_VALUE;
    private String deadlineMissed = "";
    private long spin;
    /** See {@link Spinners#note}. */
    private long tick;

    /** How often in a row nothing had come yet. */
    private int vain;

    private boolean eof;
    private volatile boolean finishing;
    private volatile boolean poked;
    private volatile boolean waiting;
    private volatile boolean broken;
    /** Whether the socket took less than what is ready: then only the owner sends. */
    private volatile boolean blocked;
    /** When the socket last took something, or began to be full. */
    private volatile long progress = System.nanoTime();

    private final ReentrantLock writing = new ReentrantLock();
    private final ByteBuffer[] gather = new ByteBuffer[GATHER];
    private final Request[] gathered = new Request[GATHER];
    private int sent;
    private int count;

    private final Object queue = new Object();
    private Request first;
    private Request last;
    private Request free;
    private int inFlight;
    private long charged;

    /** Takes over a connected channel. */
    Wire(SocketChannel channel, BufferPool pool, Spinners spinners, long stallNanos) throws IOException {
        this.channel = channel;
        this.pool = pool;
        this.spinners = spinners;
        this.stallNanos = stallNanos;
        owner = Thread.currentThread();
        channel.configureBlocking(false);
        inBuffer = pool.take(Transmission.PIECE);
        outBuffer = pool.take(Transmission.PIECE);
        readSelector = Selector.open(); // after what may find no memory: nobody would close it
        readKey = channel.register(readSelector, SelectionKey.OP_READ);
        in = inBuffer.bytes.limit(0);
        out = outBuffer.bytes;
        outView = outBuffer.view;
    }

    /** The calling thread is the owner from now on. */
    void own() {
        owner = Thread.currentThread();
    }

    /** From now on waiting ends at a moment of {@link System#nanoTime()} with a {@link Disconnected} that says this. */
    void deadline(long nanoTime, String missed) {
        deadline = nanoTime;
        deadlineMissed = missed;
    }

    /** Nothing is awaited with a deadline any more. */
    void noDeadline() {
        deadline = Long.MAX_VALUE;
    }

    // ---- in

    /**
     * Waits until {@link #in} holds at least so many bytes; sends the replies first if it has to wait.
     *
     * @param bytes at most {@link Transmission#PIECE}
     * @return false when there is no more: see {@link #ended()}
     */
    boolean fill(int bytes) throws Disconnected {
        return fill(bytes, false);
    }

    /** The same, but a {@link #poke()} ends it too: then it returns false, and {@link #ended()} does as well. */
    boolean fillOrPoke(int bytes) throws Disconnected {
        return fill(bytes, true);
    }

    private boolean fill(int bytes, boolean pokable) throws Disconnected {
        while (in.remaining() < bytes) {
            flush();
            if (!in.hasRemaining()) in.clear().limit(0);
            else if (in.limit() == in.capacity() || in.position() + bytes > in.capacity())
                in.compact().flip();
            ByteBuffer tail = inBuffer.view.limit(in.capacity()).position(in.limit());
            if (!receive(tail, pokable)) return false;
            in.limit(tail.position());
        }
        return true;
    }

    /** Whether nothing comes any more: the client has closed its side, or {@link #finish()} was called. */
    boolean ended() {
        return eof || finishing;
    }

    /** Fills a buffer, from {@link #in} and then from the socket; false when there is no more. */
    boolean transfer(ByteBuffer into) throws Disconnected {
        int limit = in.limit();
        int here = Math.min(in.remaining(), into.remaining());
        into.put(in.limit(in.position() + here));
        in.limit(limit);
        while (into.hasRemaining()) {
            flush();
            if (!receive(into, false)) return false;
        }
        return true;
    }

    /** Reads and forgets; false when there is no more. */
    boolean skip(long bytes) throws Disconnected {
        for (long left = bytes; left > 0; ) {
            if (!in.hasRemaining() && !fill(1)) return false;
            int here = (int) Math.min(left, in.remaining());
            in.position(in.position() + here);
            left -= here;
        }
        return true;
    }

    /** One read, after waiting for it. */
    private boolean receive(ByteBuffer into, boolean pokable) throws Disconnected {
        try {
            int got = look() ? channel.read(into) : 0;
            vain = got == 0 ? vain + 1 : 0;
            if (got == 0 && spinners.most() > 0) {
                tick = spinners.note(tick, System.nanoTime());
                boolean room = spinners.room();
                if (spin > 0 && !blocked && room) got = spin(into);
                for (int i = 0; i < YIELDS && got == 0 && !blocked && !room; i++) {
                    Thread.yield(); // the client may be waiting for this very processor
                    got = channel.read(into);
                }
            }
            while (got == 0) {
                if (finishing) return false;
                if (pokable && poked) {
                    poked = false;
                    return false;
                }
                long began = System.nanoTime();
                await(SelectionKey.OP_READ);
                got = channel.read(into);
                // it came so soon that spinning would have met it
                if (got > 0 && System.nanoTime() - began < spinners.most()) spin = spinners.most();
            }
            eof = got < 0;
            return !eof;
        } catch (Disconnected e) {
            throw e;
        } catch (IOException e) {
            throw new Disconnected("read failed: " + e.getMessage(), e);
        }
    }

    /** Whether to read before a wait. */
    private boolean look() {
        return vain < VAIN || vain % VAIN == 0;
    }

    /** Looks for input for a moment without sleeping; each time in vain halves the next one. */
    private int spin(ByteBuffer into) throws IOException {
        long began = System.nanoTime();
        int got;
        do {
            Thread.onSpinWait();
            got = channel.read(into);
        } while (got == 0 && !finishing && System.nanoTime() - began < spin && spinners.room());
        spin = got == 0 ? spin / 2 < spinners.least() ? 0 : spin / 2 : spinners.most();
        return got;
    }

    /** Sleeps until there is input (if asked for), or a wake-up, or room for the replies that are ready. */
    private void await(int input) throws IOException {
        boolean full = blocked;
        long until = full ? Math.min(deadline, progress + stallNanos) : deadline;
        try {
            int interest = full ? input | SelectionKey.OP_WRITE : input;
            if (readKey.interestOps() != interest) readKey.interestOps(interest);
        } catch (CancelledKeyException e) {
            throw new Disconnected("closed", e);
        }
        select(readSelector, until);
        if (full) pushOn();
    }

    /** Sends, or drops, what others had to leave. The owner alone waits while it holds the lock. */
    private void pushOn() {
        writing.lock();
        try {
            push();
        } finally {
            writing.unlock();
        }
        send();
    }

    private void select(Selector selector, long until) throws IOException {
        long left = 0;
        if (until != Long.MAX_VALUE) {
            left = until - System.nanoTime();
            if (left <= 0)
                throw new Disconnected(
                        until == deadline
                                ? deadlineMissed
                                : "it took no reply for " + TimeUnit.NANOSECONDS.toSeconds(stallNanos) + " s");
            left = TimeUnit.NANOSECONDS.toMillis(left) + 1;
        }
        try {
            selector.select(NOTHING, left);
        } catch (ClosedSelectorException e) {
            throw new Disconnected("closed", e);
        }
        if (broken) throw new Disconnected("closed");
    }

    // ---- out

    /** Sends {@link #out} completely, waiting for a slow client, and what else is ready as far as it goes. */
    void flush() throws Disconnected {
        if (out.position() > 0) {
            out.flip();
            writing.lock();
            progress = System.nanoTime();
            try {
                while (sent < count) if (!push()) awaitRoom();
                while (out.hasRemaining()) {
                    if (broken) throw new Disconnected("closed");
                    if (channel.write(out) > 0) progress = System.nanoTime();
                    if (out.hasRemaining()) awaitRoom();
                }
            } catch (Disconnected e) {
                throw e;
            } catch (IOException e) {
                throw new Disconnected("write failed: " + e.getMessage(), e);
            } finally {
                writing.unlock();
                out.clear();
            }
        }
        send();
    }

    private void awaitRoom() throws IOException {
        if (writeSelector == null) {
            if (!channel.isOpen()) throw new Disconnected("closed");
            writeSelector = Selector.open();
            channel.register(writeSelector, SelectionKey.OP_WRITE);
        }
        select(writeSelector, Math.min(deadline, progress + stallNanos));
    }

    /** A worker's reply is ready: its buffer holds it from position to limit. */
    void ready(Request request) {
        request.next = null;
        synchronized (queue) {
            if (last == null) first = request;
            else last.next = request;
            last = request;
        }
        send();
    }

    /** Sends what is ready, as far as the socket takes it at once; unless somebody else is doing it. */
    private void send() {
        while (first() && (broken || !blocked) && writing.tryLock()) {
            try {
                push();
            } finally {
                writing.unlock();
            }
        }
    }

    private boolean first() {
        synchronized (queue) {
            return first != null;
        }
    }

    /** Under the lock: writes what is ready. False when the socket is full. */
    private boolean push() {
        for (; ; ) {
            while (count < GATHER) {
                Request request;
                synchronized (queue) {
                    request = first;
                    if (request == null) break;
                    first = request.next;
                    if (first == null) last = null;
                }
                gather[count] = request.buffer.bytes;
                gathered[count++] = request;
            }
            if (count == 0) {
                blocked = false;
                return true;
            }
            if (!broken) {
                try {
                    long taken = channel.write(gather, sent, count - sent);
                    if (taken == 0) {
                        if (!blocked) {
                            progress = System.nanoTime();
                            blocked = true;
                            if (Thread.currentThread() != owner) readSelector.wakeup();
                        }
                        return false;
                    }
                    progress = System.nanoTime();
                } catch (IOException e) {
                    cut();
                }
            }
            while (sent < count && (broken || !gather[sent].hasRemaining())) {
                Request request = gathered[sent];
                gathered[sent] = null;
                gather[sent++] = null;
                release(request);
            }
            if (sent == count) sent = count = 0;
        }
    }

    // ---- requests in flight

    /** A request to fill, from the free ones. */
    Request request(Transmission transmission) {
        synchronized (queue) {
            Request request = free;
            if (request == null) return new Request(transmission);
            free = request.next;
            return request;
        }
    }

    /** Gives a request a buffer of that size, after waiting until those in flight leave room for it. */
    void charge(Request request, int size) throws Disconnected {
        request.charge = Math.max(size, MOST_CHARGED / 1024);
        if (!admit(request)) {
            flush();
            waiting = true;
            try {
                while (!admit(request)) await(0);
            } catch (Disconnected e) {
                throw e;
            } catch (IOException e) {
                throw new Disconnected("write failed: " + e.getMessage(), e);
            } finally {
                waiting = false;
            }
        }
        try {
            request.buffer = pool.take(size);
        } catch (OutOfMemoryError e) {
            release(request);
            throw e;
        }
    }

    private boolean admit(Request request) {
        synchronized (queue) {
            if (inFlight > 0 && charged + request.charge > MOST_CHARGED) return false;
            charged += request.charge;
            inFlight++;
            return true;
        }
    }

    /** A request is over, answered or not. */
    void release(Request request) {
        if (request.buffer != null) pool.give(request.buffer);
        request.buffer = null;
        synchronized (queue) {
            charged -= request.charge;
            inFlight--;
            request.next = free;
            free = request;
        }
        if (waiting) readSelector.wakeup();
    }

    private boolean idle() {
        synchronized (queue) {
            return inFlight == 0;
        }
    }

    // ---- end

    /** Makes the owner look around: {@link #fillOrPoke} returns. Any thread. */
    void poke() {
        poked = true;
        readSelector.wakeup();
    }

    /** Nothing more is read; what is in flight is answered. Any thread. */
    void finish() {
        finishing = true;
        readSelector.wakeup();
    }

    /** Ends the connection at once; replies are dropped. Any thread. */
    void cut() {
        broken = true;
        blocked = false;
        try {
            channel.close();
        } catch (IOException e) {
            // nothing is left to be saved
        }
        readSelector.wakeup();
        Selector selector = writeSelector;
        if (selector != null) selector.wakeup();
    }

    /** Waits until no request is in flight, and sends the replies that it can; then closes. The owner's last call. */
    void close() {
        waiting = true;
        try {
            flush();
            while (!idle()) await(0);
        } catch (IOException e) {
            cut();
        }
        while (!idle()) {
            pushOn();
            try {
                readSelector.select(NOTHING, 1000);
            } catch (IOException e) {
                Thread.onSpinWait();
            }
        }
        cut();
        try {
            if (writeSelector != null) writeSelector.close();
            readSelector.close();
        } catch (IOException e) {
            // nothing is left to be saved
        }
        pool.give(inBuffer);
        pool.give(outBuffer);
    }

    /** Who is at the other end; empty where that has no name. */
    static String peer(SocketChannel channel) {
        try {
            SocketAddress address = channel.getRemoteAddress();
            return address instanceof java.net.InetSocketAddress
                    ? address.toString().replace("/", "")
                    : "";
        } catch (IOException e) {
            return "";
        }
    }
}
