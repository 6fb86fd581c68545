package org.dblock.nbd;

/** One request of a client, reused for the next; it runs on a worker when the volume may block. */
final class Request implements Runnable {
    final Extents extents = new Extents();
    int flags;
    int type;
    long cookie;
    long offset;
    long length;
    /** Its data or its reply; null while it is served straight from the connection's buffers. */
    BufferPool.Buffer buffer;
    /** What it counts against its connection's limit of memory. */
    int charge;
    /** The next one in the list of free requests or of ready replies that it is in. */
    Request next;

    private final Transmission transmission;

    Request(Transmission transmission) {
        this.transmission = transmission;
    }

    boolean has(int flag) {
        return (flags & flag) != 0;
    }

    @Override
    public void run() {
        transmission.complete(this);
    }
}
