package org.dblock.tck;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.LockSupport;
import org.dblock.api.BlockException;
import org.dblock.api.BlockStore;
import org.dblock.api.BlockVolume;
import org.dblock.api.Capability;
import org.dblock.api.ExtentVisitor;
import org.dblock.api.Geometry;
import org.dblock.api.Reason;
import org.dblock.api.VolumeInfo;
import org.dblock.api.VolumeSpec;

/**
 * A store that keeps the contract on a pretended disk with a page cache, or breaks it in one way. A page of 4096 bytes
 * is allocated if it isn't all zeroes.
 */
final class ToyStore implements BlockStore {
    /** Ways to break the contract. */
    enum Defect {
        NONE,
        LOSES_THE_LAST_BLOCK_OF_LONG_WRITES,
        READS_ONE_BLOCK_SHORT,
        READS_TOO_MUCH,
        WRITES_WHOLE_PAGES_WITHOUT_A_LOCK,
        ROUNDS_ZEROES_UP_TO_PAGES,
        DISCARDS_INTO_GARBAGE,
        CLAIMS_TO_DISCARD,
        MAPS_DATA_AS_HOLES,
        MAPS_WITH_A_GAP,
        IGNORES_THE_VISITOR,
        GROWS_INTO_OLD_DATA,
        CLAIMS_TO_RESIZE,
        FORGETS_UNFLUSHED_WRITES_AT_CLOSE,
        FORGETS_AT_REOPENING,
        IGNORES_FLUSH,
        IGNORES_FUA,
        LETS_TWO_WRITE,
        IGNORES_READ_ONLY,
        IGNORES_THE_SIZE_ASKED_FOR,
        CREATES_UNASKED,
        FAILS_WITHOUT_A_REASON,
        DELETES_WHAT_IS_OPEN,
        HANDS_OVER_ITS_OWN_CLASSES,
        MAKES_A_GEOMETRY_PER_CALL,
        DAMAGES_DATA_WHEN_FULL,
        STAYS_FULL
    }

    /** What outlives stores and volumes: by volume, what a read finds, and what is on the disk. */
    static final class Disk {
        final Map<String, byte[]> cache = new ConcurrentHashMap<>();
        final Map<String, byte[]> platter = new ConcurrentHashMap<>();
        final Set<String> open = ConcurrentHashMap.newKeySet();
        volatile boolean full;

        /** Loses what has not been flushed, or not, page by page. */
        void crash(Random random) {
            cache.forEach((name, bytes) -> {
                byte[] durable = platter.get(name);
                for (int at = 0; at < bytes.length; at += 512)
                    if (random.nextBoolean()) System.arraycopy(durable, at, bytes, at, 512);
            });
            cache.forEach((name, bytes) -> platter.put(name, bytes.clone()));
        }
    }

    private final Disk disk;
    private final Defect defect;

    ToyStore(Disk disk, Defect defect) {
        this.disk = disk;
        this.defect = defect;
    }

    @Override
    public BlockVolume open(VolumeSpec spec) throws IOException {
        String name = spec.volume();
        byte[] bytes = disk.cache.get(name);
        if (bytes == null && !spec.create() && is(Defect.FAILS_WITHOUT_A_REASON)) throw new IOException("no " + name);
        if (bytes == null && !spec.create() && !is(Defect.CREATES_UNASKED))
            throw new BlockException(Reason.NOT_FOUND, "no volume " + name);
        if (bytes == null) {
            int size = spec.size() == 0 ? 4096 : (int) spec.size();
            disk.cache.put(name, new byte[size]);
            disk.platter.put(name, new byte[size]);
        } else if (spec.size() != 0 && spec.size() != bytes.length && !is(Defect.IGNORES_THE_SIZE_ASKED_FOR)) {
            throw new BlockException(Reason.INVALID, name + " has " + bytes.length + " bytes, not " + spec.size());
        }
        if (!disk.open.add(name) && !is(Defect.LETS_TWO_WRITE))
            throw new BlockException(Reason.IN_USE, name + " is open already");
        if (is(Defect.FORGETS_AT_REOPENING)) Arrays.fill(disk.cache.get(name), 0, 512, (byte) 0);
        return new Volume(spec);
    }

    @Override
    public List<VolumeInfo> list(VolumeSpec spec) {
        return disk.cache.entrySet().stream()
                .map(e -> new VolumeInfo(e.getKey(), e.getValue().length, allocated(e.getValue())))
                .toList();
    }

    @Override
    public void delete(VolumeSpec spec) throws IOException {
        if (disk.open.contains(spec.volume()) && !is(Defect.DELETES_WHAT_IS_OPEN))
            throw new BlockException(Reason.IN_USE, spec.volume() + " is open");
        disk.cache.remove(spec.volume());
    }

    private boolean is(Defect which) {
        return defect == which;
    }

    private static boolean isZero(byte[] bytes, int from) {
        for (int i = from; i < Math.min(from + 4096, bytes.length); i++) if (bytes[i] != 0) return false;
        return true;
    }

    private static long allocated(byte[] bytes) {
        long sum = 0;
        for (int at = 0; at < bytes.length; at += 4096) if (!isZero(bytes, at)) sum += 4096;
        return sum;
    }

    private final class Volume implements BlockVolume {
        private final String name;
        private volatile Geometry geometry;

        Volume(VolumeSpec spec) {
            name = spec.volume();
            EnumSet<Capability> can =
                    EnumSet.of(Capability.DISCARD, Capability.WRITE_ZEROES, Capability.EXTENTS, Capability.RESIZE);
            geometry = Geometry.of(bytes().length, 512)
                    .withIo(4096, 0)
                    .withReadOnly(spec.readOnly())
                    .with(can.toArray(Capability[]::new));
        }

        @Override
        public Geometry geometry() {
            return is(Defect.MAKES_A_GEOMETRY_PER_CALL) ? geometry.withSize(geometry.size()) : geometry;
        }

        @Override
        public void read(ByteBuffer into, long offset) {
            int length = into.remaining();
            if (is(Defect.READS_ONE_BLOCK_SHORT) && length > 512) length -= 512;
            if (is(Defect.READS_TOO_MUCH)) {
                into.limit(into.capacity());
                length = (int) Math.min(into.remaining(), bytes().length - offset);
            }
            into.put(bytes(), (int) offset, length);
        }

        @Override
        public void write(ByteBuffer from, long offset, boolean fua) throws IOException {
            checkWritable();
            int length = from.remaining();
            if (disk.full) {
                if (is(Defect.DAMAGES_DATA_WHEN_FULL)) bytes()[512] ^= 1;
                throw new BlockException(Reason.NO_SPACE, "full");
            }
            if (is(Defect.LOSES_THE_LAST_BLOCK_OF_LONG_WRITES) && length > 8 * 512) length -= 512;
            if (is(Defect.WRITES_WHOLE_PAGES_WITHOUT_A_LOCK)) {
                int start = (int) (offset / 4096 * 4096);
                int end = (int) Math.min(bytes().length, (offset + length + 4095) / 4096 * 4096);
                byte[] pages = Arrays.copyOfRange(bytes(), start, end);
                from.get(pages, (int) offset - start, length);
                LockSupport.parkNanos(200_000);
                System.arraycopy(pages, 0, bytes(), start, pages.length);
            } else {
                from.get(bytes(), (int) offset, length);
            }
            if (fua && !is(Defect.IGNORES_FUA))
                System.arraycopy(bytes(), (int) offset, disk.platter.get(name), (int) offset, length);
        }

        @Override
        public void flush() {
            if (!is(Defect.IGNORES_FLUSH)) disk.platter.put(name, bytes().clone());
        }

        @Override
        public void discard(long offset, long length) throws IOException {
            checkWritable();
            if (is(Defect.CLAIMS_TO_DISCARD)) return;
            Arrays.fill(
                    bytes(), (int) offset, (int) (offset + length), (byte) (is(Defect.DISCARDS_INTO_GARBAGE) ? 9 : 0));
        }

        @Override
        public void writeZeroes(long offset, long length, boolean mayUnmap, boolean fua) throws IOException {
            checkWritable();
            long end = offset + length;
            if (is(Defect.ROUNDS_ZEROES_UP_TO_PAGES)) end = Math.min(bytes().length, (end + 4095) / 4096 * 4096);
            Arrays.fill(bytes(), (int) offset, (int) end, (byte) 0);
            if (fua) Arrays.fill(disk.platter.get(name), (int) offset, (int) end, (byte) 0);
        }

        @Override
        public void extents(long offset, long length, ExtentVisitor visitor) {
            for (long at = offset; at < offset + length; ) {
                long end = Math.min((at / 4096 + 1) * 4096, offset + length);
                boolean hole = isZero(bytes(), (int) (at / 4096 * 4096)) || is(Defect.MAPS_DATA_AS_HOLES);
                boolean skip = is(Defect.MAPS_WITH_A_GAP) && at > offset && at % 8192 == 0;
                int flags = hole ? ExtentVisitor.HOLE | ExtentVisitor.ZERO : ExtentVisitor.DATA;
                if (!skip && !visitor.extent(at, end - at, flags) && !is(Defect.IGNORES_THE_VISITOR)) return;
                at = end;
            }
        }

        @Override
        public void resize(long size) throws IOException {
            if (size % 512 != 0) throw new BlockException(Reason.INVALID, "size " + size);
            if (is(Defect.CLAIMS_TO_RESIZE)) return;
            byte[] grown = Arrays.copyOf(bytes(), (int) size);
            if (is(Defect.GROWS_INTO_OLD_DATA) && size > bytes().length) grown[bytes().length] = 1;
            disk.cache.put(name, grown);
            disk.platter.put(name, grown.clone());
            geometry = geometry.withSize(size);
        }

        @Override
        public Map<String, Object> handOver() {
            close();
            return is(Defect.HANDS_OVER_ITS_OWN_CLASSES) ? Map.of("store", ToyStore.this) : Map.of();
        }

        @Override
        public void close() {
            disk.open.remove(name);
            if (is(Defect.FORGETS_UNFLUSHED_WRITES_AT_CLOSE))
                disk.cache.put(name, disk.platter.get(name).clone());
        }

        private byte[] bytes() {
            return disk.cache.get(name);
        }

        private void checkWritable() throws BlockException {
            if (geometry.readOnly() && !is(Defect.IGNORES_READ_ONLY))
                throw new BlockException(Reason.READ_ONLY, name + " is read-only");
        }
    }
}
