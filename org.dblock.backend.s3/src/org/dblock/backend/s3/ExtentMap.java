package org.dblock.backend.s3;

/**
 * Maps ranges of blocks to places: an object (a log slot, or a position in the journal) and a block within it.
 *
 * <p>Pages of {@value #PAGE} blocks in a two-level directory, each page a sorted array of disjoint extents; empty
 * ranges cost nothing. Not thread-safe, but a page that was frozen is never changed again: changes go to a copy.
 */
final class ExtentMap {
    /** Blocks that a page covers. */
    static final int PAGE = 4096;

    /** The place of a range that reads as zeroes; its block number doesn't count on. */
    static final int ZEROES = -1;

    private static final int LEAF = 2048;
    private static final Visitor NOBODY = (lba, blocks, object, at) -> {};

    /** Is told pieces of the map. */
    interface Visitor {
        void extent(long lba, int blocks, long object, int at);
    }

    private final ExtentPage[][] directory;
    /**
     * How many pages each leaf of the directory has; one without any is taken away, as {@link #next} goes through it.
     */
    private final int[] pages;

    /** @param blocks the largest block number there will be, and 1 */
    ExtentMap(long blocks) {
        directory = new ExtentPage[(int) ((blocks + (long) PAGE * LEAF - 1) / ((long) PAGE * LEAF))][];
        pages = new int[directory.length];
    }

    /** Maps a range, and tells what it covers up. */
    void set(long lba, int blocks, long object, int at, Visitor displaced) {
        for (long end = lba + blocks; lba < end; ) {
            int from = (int) (lba % PAGE);
            int count = (int) Math.min(PAGE - from, end - lba);
            ExtentPage page = writable(lba / PAGE);
            page.visit(from, from + count, lba - from, displaced);
            page.replace(from, from + count, true, object, at);
            lba += count;
            if (at != ZEROES) at += count;
        }
    }

    void set(long lba, int blocks, long object, int at) {
        set(lba, blocks, object, at, NOBODY);
    }

    /** Unmaps a range, and tells what was there. */
    void clear(long lba, long blocks, Visitor displaced) {
        for (long end = lba + blocks; lba < end; ) {
            long number = lba / PAGE;
            if (page(number) == null) {
                lba = next(number + 1) * PAGE;
                continue;
            }
            int from = (int) (lba % PAGE);
            int count = (int) Math.min(PAGE - from, end - lba);
            ExtentPage page = writable(number);
            page.visit(from, from + count, lba - from, displaced);
            page.replace(from, from + count, false, 0, 0);
            if (page.count() == 0) remove(number);
            lba += count;
        }
    }

    /** Visits the mapped pieces of a range, in ascending order. */
    void visit(long lba, long blocks, Visitor visitor) {
        for (long end = lba + blocks; lba < end; ) {
            long number = lba / PAGE;
            ExtentPage page = page(number);
            if (page == null) {
                lba = next(number + 1) * PAGE;
                continue;
            }
            int from = (int) (lba % PAGE);
            int count = (int) Math.min(PAGE - from, end - lba);
            page.visit(from, from + count, lba - from, visitor);
            lba += count;
        }
    }

    /** Visits everything. */
    void visit(Visitor visitor) {
        visit(0, limit() * PAGE, visitor);
    }

    /** How many pages the directory has room for. */
    long limit() {
        return (long) directory.length * LEAF;
    }

    /** The number of the first page from {@code number} on that is not empty; {@link #limit()} if none is. */
    long next(long number) {
        while (number < limit()) {
            ExtentPage[] leaf = directory[(int) (number / LEAF)];
            if (leaf == null) number = (number / LEAF + 1) * LEAF;
            else if (leaf[(int) (number % LEAF)] == null) number++;
            else return number;
        }
        return limit();
    }

    /** A page, or null if nothing is mapped in it. */
    ExtentPage page(long number) {
        if (number >= limit()) return null;
        ExtentPage[] leaf = directory[(int) (number / LEAF)];
        return leaf == null ? null : leaf[(int) (number % LEAF)];
    }

    void put(long number, ExtentPage page) {
        int top = (int) (number / LEAF);
        int at = (int) (number % LEAF);
        if (directory[top] == null) directory[top] = new ExtentPage[LEAF];
        if (directory[top][at] == null) pages[top]++;
        directory[top][at] = page;
    }

    private void remove(long number) {
        int top = (int) (number / LEAF);
        directory[top][(int) (number % LEAF)] = null;
        if (--pages[top] == 0) directory[top] = null;
    }

    private ExtentPage writable(long number) {
        ExtentPage page = page(number);
        if (page == null) put(number, page = new ExtentPage());
        else if (page.frozen > 0) put(number, page = page.copy());
        page.part = null;
        return page;
    }
}
