package org.dblock.backend.s3;

import java.nio.ByteBuffer;
import java.util.Arrays;

/** A page of an {@link ExtentMap}: extents sorted by their first block, 20 bytes each. */
final class ExtentPage {
    /** Bytes per extent in a checkpoint. */
    static final int STORED = 20;

    /** Where the last checkpoint has it; null: it was changed since. */
    Part part;

    int offset;
    int crc;
    /** How many images it belongs to that are still being written. */
    int frozen;

    private int count;
    private short[] from = new short[2];
    private short[] blocks = new short[2]; // minus 1, to fit
    private long[] object = new long[2];
    private int[] at = new int[2];

    /** An object that holds pages of checkpoints. */
    static final class Part {
        final String key;
        final int size;

        Part(String key, int size) {
            this.key = key;
            this.size = size;
        }

        /** Writes what tells a part's key from others: 20 bytes. */
        static void encode(String key, ByteBuffer out) {
            String[] fields = key.substring(key.lastIndexOf('/') + 1).split("-");
            out.putLong(Long.parseUnsignedLong(fields[0], 16)).putLong(Long.parseUnsignedLong(fields[1], 16));
            out.putInt(Integer.parseInt(fields[2]));
        }
    }

    int count() {
        return count;
    }

    int stored() {
        return count * STORED;
    }

    ExtentPage copy() {
        ExtentPage copy = new ExtentPage();
        copy.count = count;
        copy.from = from.clone();
        copy.blocks = blocks.clone();
        copy.object = object.clone();
        copy.at = at.clone();
        return copy;
    }

    /** Moves what it says one generation up: what is the volume's own is a clone's parent's. */
    void inherit() {
        for (int i = 0; i < count; i++) object[i] += 1L << Keys.GENERATION;
    }

    void visit(int start, int end, long base, ExtentMap.Visitor visitor) {
        for (int i = firstEndingAfter(start); i < count && from[i] < end; i++) {
            int a = Math.max(start, from[i]);
            int b = Math.min(end, from[i] + blocks[i] + 1);
            visitor.extent(base + a, b - a, object[i], at[i] == ExtentMap.ZEROES ? at[i] : at[i] + a - from[i]);
        }
    }

    /** Takes away what is mapped from {@code start} to {@code end}, and puts a new extent there if there is one. */
    void replace(int start, int end, boolean add, long newObject, int newAt) {
        int low = firstEndingAfter(start);
        int high = low;
        while (high < count && from[high] < end) high++;
        boolean left = low < high && from[low] < start;
        boolean right = low < high && from[high - 1] + blocks[high - 1] + 1 > end;
        int rightEnd = right ? from[high - 1] + blocks[high - 1] + 1 : 0;
        long rightObject = right ? object[high - 1] : 0;
        int rightAt =
                !right ? 0 : at[high - 1] == ExtentMap.ZEROES ? ExtentMap.ZEROES : at[high - 1] + end - from[high - 1];
        int kept = low + (left ? 1 : 0);
        if (add && kept > 0 && follows(left ? low : low - 1, left ? start : -1, start, newObject, newAt)) {
            // grows the extent before it
            int i = kept - 1;
            blocks[i] = (short) (end - from[i] - 1);
            room(kept, high, right ? 1 : 0);
            if (right) put(kept, end, rightEnd, rightObject, rightAt);
            return;
        }
        if (left) blocks[low] = (short) (start - from[low] - 1);
        room(kept, high, (add ? 1 : 0) + (right ? 1 : 0));
        if (add) put(kept++, start, end, newObject, newAt);
        if (right) put(kept, end, rightEnd, rightObject, rightAt);
    }

    /** Whether a new extent goes on where extent {@code i}, cut to end at {@code cut} (-1: as it is), ends. */
    private boolean follows(int i, int cut, int start, long newObject, int newAt) {
        int end = cut >= 0 ? cut : from[i] + blocks[i] + 1;
        if (end != start || object[i] != newObject) return false;
        return at[i] == ExtentMap.ZEROES ? newAt == ExtentMap.ZEROES : newAt == at[i] + end - from[i];
    }

    private void put(int i, int start, int end, long newObject, int newAt) {
        from[i] = (short) start;
        blocks[i] = (short) (end - start - 1);
        object[i] = newObject;
        at[i] = newAt;
    }

    /** Moves the extents from {@code high} so that {@code extra} places are free at {@code low}. */
    private void room(int low, int high, int extra) {
        int after = count - high;
        int wanted = low + extra + after;
        if (wanted > from.length) {
            int capacity = Math.max(wanted, Math.min(ExtentMap.PAGE, from.length + from.length / 2 + 1));
            capacity(capacity);
        }
        if (low + extra != high) {
            System.arraycopy(from, high, from, low + extra, after);
            System.arraycopy(blocks, high, blocks, low + extra, after);
            System.arraycopy(object, high, object, low + extra, after);
            System.arraycopy(at, high, at, low + extra, after);
        }
        count = wanted;
    }

    private void capacity(int capacity) {
        from = Arrays.copyOf(from, capacity);
        blocks = Arrays.copyOf(blocks, capacity);
        object = Arrays.copyOf(object, capacity);
        at = Arrays.copyOf(at, capacity);
    }

    private int firstEndingAfter(int block) {
        int low = 0;
        for (int high = count; low < high; ) {
            int middle = (low + high) >>> 1;
            if (from[middle] + blocks[middle] + 1 > block) high = middle;
            else low = middle + 1;
        }
        return low;
    }

    void encode(ByteBuffer out) {
        for (int i = 0; i < count; i++) {
            out.putInt(from[i]).putInt(blocks[i] + 1).putLong(object[i]).putInt(at[i]);
        }
    }

    /** Reads what {@link #encode} wrote; the buffer has nothing else. */
    static ExtentPage decode(ByteBuffer in) throws Corruption {
        ExtentPage page = new ExtentPage();
        page.capacity(in.remaining() / STORED);
        int end = 0;
        while (in.hasRemaining()) {
            int start = in.getInt();
            int length = in.getInt();
            if (start < end || length <= 0 || start + length > ExtentMap.PAGE)
                throw new Corruption("a checkpoint's page has an extent of " + length + " blocks at " + start);
            page.room(page.count, page.count, 1);
            page.put(page.count - 1, start, end = start + length, in.getLong(), in.getInt());
        }
        return page;
    }
}
