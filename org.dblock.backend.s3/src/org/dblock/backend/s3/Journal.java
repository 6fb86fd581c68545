package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.UUID;

/**
 * The ring of records on the local disk that holds what the log doesn't have yet.
 *
 * <p>Positions count bytes since the journal was made and never wrap; a record lies at its position modulo the ring's
 * size. Space is written again only after a header that no longer needs it was synced. Guarded by the volume's lock,
 * except {@link #read}, {@link #writeHeader} and the disk's sync.
 */
final class Journal {
    static final int RECORD = 64;
    static final int RING = 2 * Header.BLOCK;
    private static final long MAGIC = 0x314c4e4a4b4c4244L; // "DBLKJNL1"
    private static final int RECORD_MAGIC = 0x4345524a; // "JREC"

    /** What a record says. */
    static final class Record {
        long position;
        long number;
        long epoch;
        long lba;
        int blocks;
        boolean zeroes;
        int previousCrc;
        int dataCrc;
        /** When it was written, in milliseconds since 1970. */
        long time;

        int crc;

        long dataPosition() {
            return position + RECORD;
        }

        long end() {
            return dataPosition() + (zeroes ? 0 : (long) blocks * Header.BLOCK);
        }
    }

    private final Disk disk;
    private final UUID volume;
    private final long ring;
    private final ByteBuffer recordBuffer = ByteBuffer.allocateDirect(RECORD).order(ByteOrder.LITTLE_ENDIAN);

    private long[] nonces = new long[0];
    private long headerSequence;
    /** Where the next record goes, its number, and the CRC it has to name. */
    private long head;

    private long nextNumber = 1;
    private int lastCrc;
    /** The oldest record that is still needed, and the same as a synced header knows it. */
    private Mark tail = new Mark(0, 1, 0);

    private Mark durableTail = tail;
    private long epoch;

    /** A place between records. */
    record Mark(long position, long number, int previousCrc) {}

    private Journal(Disk disk, UUID volume, long size) {
        this.disk = disk;
        this.volume = volume;
        this.ring = size - RING;
    }

    /** Makes an empty journal whose first record will follow {@code lastRecord}; what was there may be put aside. */
    static Journal create(Disk disk, UUID volume, long size, long lastRecord, long nonce, boolean keep)
            throws IOException {
        disk.replace(size, keep);
        Journal journal = new Journal(disk, volume, size);
        journal.restartAfter(lastRecord);
        journal.remember(nonce);
        return journal;
    }

    /** Opens the journal that is there; null: there is none that can be read. */
    static Journal open(Disk disk, UUID volume) throws IOException {
        long size = disk.size();
        if (size <= RING) return null;
        Journal journal = new Journal(disk, volume, size);
        boolean first = journal.readHeader(0);
        boolean second = journal.readHeader(Header.BLOCK);
        if (!first && !second) return null;
        journal.scan();
        return journal;
    }

    /** Whether the owner of this nonce wrote with this journal. */
    boolean knows(long nonce) {
        for (long known : nonces) if (known == nonce) return true;
        return false;
    }

    /**
     * Makes room for an owner, durably, before it takes the volume, and returns its nonce: that of an opening after the
     * log's last owner whose takeover may still land, else a fresh one. Those before the last owner are forgotten, for
     * their slots are taken. So there are two at most, however many openings fail.
     */
    long join(long lastOwner, long fresh) throws IOException {
        int last = 0;
        while (last < nonces.length && nonces[last] != lastOwner) last++;
        long[] owners = Arrays.copyOfRange(nonces, Math.min(last, nonces.length - 1), nonces.length);
        if (owners.length == 1) owners = new long[] {owners[0], fresh};
        remember(owners);
        return owners[owners.length - 1];
    }

    private void remember(long... owners) throws IOException {
        nonces = owners;
        // both copies: an older one must not come back without them
        persist();
        persist();
    }

    /** Writes the header and waits for the disk. */
    void persist() throws IOException {
        Mark written = writeHeader();
        disk.sync();
        durableTail = written;
    }

    boolean isEmpty() {
        return head == tail.position;
    }

    /** Goes on behind a record that the log has: if this journal ends before it, with nothing. */
    void restartAfter(long lastRecord) {
        if (nextNumber == lastRecord + 1) return;
        nextNumber = lastRecord + 1;
        lastCrc = 0;
        tail = new Mark(head, nextNumber, lastCrc);
    }

    /** The epoch of the records to come. */
    void epoch(long value) {
        epoch = value;
    }

    long size() {
        return ring;
    }

    long used() {
        return head - durableTail.position;
    }

    /** Whether a record with so many bytes of data has room. */
    boolean fits(long bytes) {
        return used() + RECORD + bytes <= ring;
    }

    Mark head() {
        return new Mark(head, nextNumber, lastCrc);
    }

    Mark tail() {
        return tail;
    }

    long nextNumber() {
        return nextNumber;
    }

    /** Appends a record and returns its position; the data reach the page cache before it returns. */
    long append(long lba, int blocks, boolean zeroes, ByteBuffer data, int dataCrc, long time) throws IOException {
        recordBuffer.clear();
        recordBuffer
                .putInt(RECORD_MAGIC)
                .putInt(0)
                .putLong(nextNumber)
                .putLong(epoch)
                .putLong(lba)
                .putInt(blocks);
        recordBuffer
                .putInt(zeroes ? 1 : 0)
                .putInt(lastCrc)
                .putInt(zeroes ? 0 : dataCrc)
                .putLong(time);
        while (recordBuffer.hasRemaining()) recordBuffer.put((byte) 0);
        int crc = Header.crcOf(recordBuffer, 8, RECORD - 8);
        recordBuffer.putInt(4, crc);
        long position = head;
        write(recordBuffer.flip(), position);
        if (!zeroes) write(data, position + RECORD);
        head = position + RECORD + (zeroes ? 0 : (long) blocks * Header.BLOCK);
        nextNumber++;
        lastCrc = crc;
        return position;
    }

    private void write(ByteBuffer from, long position) throws IOException {
        int limit = from.limit();
        long at = position % ring;
        int whole = (int) Math.min(from.remaining(), ring - at);
        disk.write(from.limit(from.position() + whole), RING + at);
        if (limit > from.limit()) disk.write(from.limit(limit), RING);
    }

    /** Reads bytes at a position; they are those of the record only if {@link #holds} says so afterwards. */
    void read(ByteBuffer into, long position) throws IOException {
        int limit = into.limit();
        long at = position % ring;
        int whole = (int) Math.min(into.remaining(), ring - at);
        disk.read(into.limit(into.position() + whole), RING + at);
        if (limit > into.limit()) disk.read(into.limit(limit), RING);
    }

    /** Whether the ring has not been written again at a position. */
    boolean holds(long position) {
        return position >= durableTail.position;
    }

    /** Reads the record at a position; null: there is none. Says nothing about its data. */
    Record record(long position, ByteBuffer scratch) throws IOException {
        scratch.clear().limit(RECORD);
        read(scratch, position);
        scratch.flip().order(ByteOrder.LITTLE_ENDIAN);
        if (scratch.getInt(0) != RECORD_MAGIC) return null;
        Record record = new Record();
        record.crc = scratch.getInt(4);
        if (record.crc != Header.crcOf(scratch, 8, RECORD - 8)) return null;
        record.position = position;
        record.number = scratch.getLong(8);
        record.epoch = scratch.getLong(16);
        record.lba = scratch.getLong(24);
        record.blocks = scratch.getInt(32);
        record.zeroes = scratch.getInt(36) == 1;
        record.previousCrc = scratch.getInt(40);
        record.dataCrc = scratch.getInt(44);
        record.time = scratch.getLong(48);
        if (record.blocks <= 0 || record.end() - position > ring) return null;
        return record;
    }

    /** Whether a record's data, which {@code scratch} gets, are what was written. */
    boolean intact(Record record, ByteBuffer scratch) throws IOException {
        if (record.zeroes) return true;
        scratch.clear().limit(record.blocks * Header.BLOCK);
        read(scratch, record.dataPosition());
        return Header.crcOf(scratch, 0, record.blocks * Header.BLOCK) == record.dataCrc;
    }

    /** Finds the end: the first record that doesn't continue the chain. */
    private void scan() throws IOException {
        ByteBuffer scratch = ByteBuffer.allocateDirect(RECORD);
        head = tail.position;
        nextNumber = tail.number;
        lastCrc = tail.previousCrc;
        while (head - tail.position + RECORD <= ring) {
            Record record = record(head, scratch);
            if (record == null || record.number != nextNumber || record.previousCrc != lastCrc) return;
            if (record.end() - tail.position > ring) return;
            if (!record.zeroes && scratch.capacity() < record.blocks * Header.BLOCK)
                scratch = ByteBuffer.allocateDirect(record.blocks * Header.BLOCK);
            if (!intact(record, scratch)) return;
            head = record.end();
            nextNumber++;
            lastCrc = record.crc;
        }
    }

    /** Says that everything before a mark is in the log. */
    void free(Mark to) {
        tail = to;
    }

    /** Whether a new header would give back enough space to be worth a sync. */
    boolean wantsHeader(boolean urgent) {
        long gain = tail.position - durableTail.position;
        return gain > (urgent ? 0 : ring / 8);
    }

    /** Writes a header with the present tail, not yet synced: pass what it returns to {@link #headerSynced}. */
    Mark writeHeader() throws IOException {
        ByteBuffer out = ByteBuffer.allocateDirect(Header.BLOCK).order(ByteOrder.LITTLE_ENDIAN);
        Mark written = tail;
        headerSequence++;
        out.putLong(MAGIC).putInt(Header.VERSION).putInt(0);
        Uuids.put(out, volume);
        out.putLong(headerSequence).putLong(ring);
        out.putLong(written.position)
                .putLong(written.number)
                .putInt(written.previousCrc)
                .putInt(nonces.length);
        for (long nonce : nonces) out.putLong(nonce);
        out.position(Header.BLOCK - 4);
        out.putInt(Header.crcOf(out, 0, Header.BLOCK - 4));
        disk.write(out.flip(), headerSequence % 2 * Header.BLOCK);
        return written;
    }

    /** Says that the header that {@link #writeHeader} wrote has been synced. */
    void headerSynced(Mark written) {
        if (written.position > durableTail.position) durableTail = written;
    }

    void sync() throws IOException {
        disk.sync();
    }

    void close() {
        disk.close();
    }

    private boolean readHeader(long at) throws IOException {
        ByteBuffer in = ByteBuffer.allocateDirect(Header.BLOCK).order(ByteOrder.LITTLE_ENDIAN);
        disk.read(in, at);
        in.flip();
        if (in.getLong() != MAGIC || in.getInt() != Header.VERSION) return false;
        if (in.getInt(Header.BLOCK - 4) != Header.crcOf(in, 0, Header.BLOCK - 4)) return false;
        in.getInt();
        if (!Uuids.get(in).equals(volume)) return false;
        long sequence = in.getLong();
        if (in.getLong() != ring || sequence <= headerSequence) return false;
        headerSequence = sequence;
        tail = durableTail = new Mark(in.getLong(), in.getLong(), in.getInt());
        nonces = new long[in.getInt()];
        for (int i = 0; i < nonces.length; i++) nonces[i] = in.getLong();
        return true;
    }
}
