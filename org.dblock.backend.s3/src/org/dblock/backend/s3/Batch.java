package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * Gathers records of the journal into the header and the payload of one object. Used by the sequencer's thread only.
 */
final class Batch {
    /** The most blocks in one record of the journal: 1 MiB. */
    static final int RECORD_BLOCKS = 256;

    private static final int MOST_RECORDS = 4096;

    private final Journal journal;
    private final int blocks;
    private final ByteBuffer scratch = ByteBuffer.allocateDirect(RECORD_BLOCKS * Header.BLOCK);
    private ExtentMap merged;
    private Header header;
    private Journal.Mark end;
    private long time;

    Batch(Journal journal, int blocks) {
        this.journal = journal;
        this.blocks = blocks;
    }

    /** How many bytes of the journal fill an object. */
    long enough() {
        return (long) blocks * (Header.BLOCK + Journal.RECORD);
    }

    /** When a record was written, in milliseconds since 1970. */
    long timeOf(Journal.Mark mark) throws IOException {
        Journal.Record record = journal.record(mark.position(), scratch);
        if (record == null) throw new Corruption("record " + mark.number() + " of the journal can't be read back");
        return record.time;
    }

    /** Takes records from one place up to another, or until there are enough; later ones win. */
    void gather(Journal.Mark from, Journal.Mark to) throws IOException {
        merged = new ExtentMap(State.MOST_BLOCKS);
        header = new Header();
        header.type = Header.Type.DATA;
        header.firstRecord = from.number();
        end = from;
        long data = 0;
        for (int n = 0; n < MOST_RECORDS && data < blocks && end.position() < to.position(); n++) {
            Journal.Record record = journal.record(end.position(), scratch);
            if (record == null || record.number != end.number() || !journal.intact(record, scratch))
                throw new Corruption("record " + end.number() + " of the journal can't be read back");
            if (n == 0) time = record.time;
            if (n > 0 && data + record.blocks > blocks && !record.zeroes) break;
            merged.set(record.lba, record.blocks, record.dataPosition(), record.zeroes ? ExtentMap.ZEROES : 0);
            if (!record.zeroes) data += record.blocks;
            end = new Journal.Mark(record.end(), record.number + 1, record.crc);
        }
        header.lastRecord = end.number() - 1;
        int[] sizes = new int[2];
        merged.visit((lba, count, position, at) -> {
            sizes[0]++;
            if (at != ExtentMap.ZEROES) sizes[1] += count;
        });
        header.room(sizes[0]);
        header.payloadCrc = new int[sizes[1]];
        int[] next = new int[1];
        merged.visit((lba, count, position, at) -> {
            header.append(lba, count, at == ExtentMap.ZEROES ? at : next[0]);
            if (at != ExtentMap.ZEROES) next[0] += count;
        });
    }

    /** The object's header so far. */
    Header header() {
        return header;
    }

    /** When its first record was written, in milliseconds since 1970. */
    long time() {
        return time;
    }

    /** Behind the last record taken. */
    Journal.Mark end() {
        return end;
    }

    /** Copies the payload from the journal. */
    void fill(ByteBuffer body) throws IOException {
        IOException[] failure = new IOException[1];
        merged.visit((lba, count, position, at) -> {
            if (at == ExtentMap.ZEROES || failure[0] != null) return;
            int limit = body.limit();
            try {
                journal.read(body.limit(body.position() + count * Header.BLOCK), position + (long) at * Header.BLOCK);
            } catch (IOException e) {
                failure[0] = e;
            }
            body.limit(limit);
        });
        if (failure[0] != null) throw failure[0];
        merged = null;
    }
}
