package org.dblock.backend.ramdisk;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import org.dblock.api.BlockException;
import org.dblock.api.BlockVolume;
import org.dblock.api.Capability;
import org.dblock.api.ExtentVisitor;
import org.dblock.api.Geometry;
import org.dblock.api.Persistence;
import org.dblock.api.Reason;
import org.dblock.api.Size;

/** An open ramdisk. */
final class RamVolume implements BlockVolume {
    private final RamBlockStore store;
    private final Ramdisk disk;
    private volatile Geometry geometry;

    RamVolume(RamBlockStore store, Ramdisk disk, boolean readOnly) {
        this.store = store;
        this.disk = disk;
        geometry = Geometry.of(disk.size(), disk.blockSize())
                .withIo(Math.max(disk.blockSize(), 4096), 0)
                .withReadOnly(readOnly)
                .withPersistence(Persistence.VOLATILE)
                .atMemorySpeed()
                .with(Capability.values());
    }

    @Override
    public Geometry geometry() {
        return geometry;
    }

    @Override
    public void read(ByteBuffer into, long offset) throws IOException {
        disk.read(into, offset);
    }

    @Override
    public void write(ByteBuffer from, long offset, boolean fua) throws IOException {
        checkWritable();
        disk.write(from, offset);
    }

    /** Does nothing: the contents are as safe as they will ever be. */
    @Override
    public void flush() {}

    @Override
    public void discard(long offset, long length) throws IOException {
        checkWritable();
        disk.discard(offset, length, false);
    }

    @Override
    public void writeZeroes(long offset, long length, boolean mayUnmap, boolean fua) throws IOException {
        checkWritable();
        if (mayUnmap) disk.discard(offset, length, true);
        else BlockVolume.super.writeZeroes(offset, length, false, fua);
    }

    @Override
    public void extents(long offset, long length, ExtentVisitor visitor) throws IOException {
        disk.extents(offset, length, visitor);
    }

    @Override
    public void resize(long size) throws IOException {
        checkWritable();
        RamBlockStore.checkSize(size, disk.blockSize());
        if (size < geometry.size()) geometry = geometry.withSize(size);
        disk.resize(size);
        geometry = geometry.withSize(size);
    }

    @Override
    public Map<String, Object> handOver() {
        return store.release(disk) ? disk.handOver() : Map.of();
    }

    @Override
    public Map<String, String> details() {
        Map<String, String> details = new LinkedHashMap<>();
        details.put("memory", Size.format(disk.allocated()));
        details.put(
                "all ramdisks",
                Size.format(store.budget().used()) + " of "
                        + Size.format(store.budget().limit()));
        return details;
    }

    @Override
    public void close() {
        store.closed(this, disk);
    }

    private void checkWritable() throws BlockException {
        if (geometry.readOnly())
            throw new BlockException(Reason.READ_ONLY, "ramdisk '" + disk.name() + "' is open for reading only");
    }
}
