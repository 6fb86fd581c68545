package org.dblock.nbd;

import java.util.Arrays;
import org.dblock.api.ExtentVisitor;

/** An allocation map of bounded length; neighbours of the same kind are one extent. Reused; not thread-safe. */
final class Extents implements ExtentVisitor {
    private long[] lengths = new long[16];
    private int[] flags = new int[16];
    private int count;
    private int most;
    private long end;

    /** Empties it, for a map of at most so many extents that ends at {@code end}. */
    void begin(int limit, long endOfRange) {
        count = 0;
        most = limit;
        end = endOfRange;
    }

    @Override
    public boolean extent(long offset, long length, int kind) {
        long inside = Math.min(length, end - offset);
        if (inside <= 0) return false;
        if (count > 0 && flags[count - 1] == kind) {
            lengths[count - 1] += inside;
        } else {
            if (count == most) return false;
            if (count == lengths.length) {
                lengths = Arrays.copyOf(lengths, 2 * count);
                flags = Arrays.copyOf(flags, 2 * count);
            }
            lengths[count] = inside;
            flags[count++] = kind;
        }
        return offset + length < end;
    }

    int count() {
        return count;
    }

    long length(int i) {
        return lengths[i];
    }

    int flags(int i) {
        return flags[i];
    }
}
