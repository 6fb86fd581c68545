package org.dblock.tck;

import static org.junit.jupiter.api.Assertions.fail;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What a volume has to hold, and what else each block may hold after a discard or a crash. Not thread-safe. */
final class Model {
    private final int blockSize;
    private byte[] now;
    /** Blocks that have been discarded, so that they may turn into zeroes. */
    private final BitSet discarded = new BitSet();
    /** By block: what it may go back to when the host crashes before the next flush. */
    private final Map<Integer, List<byte[]>> unflushed = new HashMap<>();

    Model(int size, int blockSize) {
        this.blockSize = blockSize;
        now = new byte[size];
    }

    int size() {
        return now.length;
    }

    byte[] range(int offset, int length) {
        return Arrays.copyOfRange(now, offset, offset + length);
    }

    void write(int offset, byte[] bytes, boolean fua) {
        for (int block = offset / blockSize; block < (offset + bytes.length) / blockSize; block++) {
            if (fua) unflushed.remove(block);
            else remember(block);
            discarded.clear(block);
        }
        System.arraycopy(bytes, 0, now, offset, bytes.length);
    }

    void discard(int offset, int length) {
        for (int block = offset / blockSize; block < (offset + length) / blockSize; block++) {
            remember(block);
            discarded.set(block);
        }
    }

    void flush() {
        unflushed.clear();
    }

    void resize(int size) {
        discarded.clear(size / blockSize, Math.max(size, now.length) / blockSize + 1);
        unflushed.clear(); // the suite flushes after a resize
        now = Arrays.copyOf(now, size);
    }

    /** Checks what has been read, and takes note of discarded blocks that are zeroes now. */
    void check(String what, int offset, byte[] found) {
        for (int at = 0; at < found.length; at += blockSize) {
            byte[] block = Arrays.copyOfRange(found, at, at + blockSize);
            int index = (offset + at) / blockSize;
            if (Arrays.equals(block, range(offset + at, blockSize))) continue;
            if (!discarded.get(index) || !isZero(block)) mismatch(what, offset + at, block);
            Arrays.fill(now, offset + at, offset + at + blockSize, (byte) 0);
            discarded.clear(index);
        }
    }

    /** Checks what is there after a crash of the host, and goes on with it. */
    void recover(byte[] found) {
        for (int at = 0; at < found.length; at += blockSize) {
            byte[] block = Arrays.copyOfRange(found, at, at + blockSize);
            boolean known =
                    Arrays.equals(block, range(at, blockSize)) || discarded.get(at / blockSize) && isZero(block);
            for (byte[] earlier : unflushed.getOrDefault(at / blockSize, List.of()))
                known |= Arrays.equals(block, earlier);
            if (!known) mismatch("after a crash of the host", at, block);
        }
        now = found.clone();
        unflushed.clear();
    }

    static boolean isZero(byte[] bytes) {
        for (byte each : bytes) if (each != 0) return false;
        return true;
    }

    private void remember(int block) {
        unflushed.computeIfAbsent(block, b -> new ArrayList<>()).add(range(block * blockSize, blockSize));
        if (discarded.get(block)) unflushed.get(block).add(new byte[blockSize]);
    }

    private void mismatch(String what, int offset, byte[] found) {
        byte[] expected = range(offset, blockSize);
        int at = Arrays.mismatch(expected, found);
        fail(what + ": the block at " + offset + " differs from byte " + at + " on: found " + hex(found, at)
                + (isZero(found) ? " (all zeroes)" : "") + ", expected " + hex(expected, at)
                + (discarded.get(offset / blockSize) ? " or zeroes" : ""));
    }

    private static String hex(byte[] bytes, int from) {
        StringBuilder text = new StringBuilder();
        for (int i = from; i < Math.min(from + 8, bytes.length); i++) text.append(String.format("%02x", bytes[i]));
        return text.append(from + 8 < bytes.length ? "…" : "").toString();
    }
}
