package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.BitSet;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/** A host's disk with one journal: a crash of the host loses any of the sectors that were not synced. */
final class SimDisk {
    private static final int SECTOR = 512;

    private final World world;
    private byte[] cached = new byte[0];
    private byte[] stable = new byte[0];
    private final BitSet unsynced = new BitSet();
    private final BitSet syncing = new BitSet();
    private World.Process owner;

    SimDisk(World world) {
        this.world = world;
    }

    void crash() {
        unsynced.or(syncing);
        syncing.clear();
        for (int s = unsynced.nextSetBit(0); s >= 0; s = unsynced.nextSetBit(s + 1)) {
            byte[] from = world.chance(0.5) ? cached : stable;
            byte[] to = from == cached ? stable : cached;
            System.arraycopy(from, s * SECTOR, to, s * SECTOR, SECTOR);
        }
        unsynced.clear();
    }

    void wipe() {
        cached = new byte[0];
        stable = new byte[0];
        unsynced.clear();
    }

    /** Opens it for a process. */
    Disk open() throws BlockException {
        World.Process process = world.process();
        if (owner != null && !owner.dead) throw new BlockException(Reason.IN_USE, "the journal is locked");
        owner = process;
        return new Disk() {
            private boolean closed;

            private void alive() throws IOException {
                if (process.dead) throw new World.Killed();
                if (closed) throw new IOException("closed");
            }

            @Override
            public long size() throws IOException {
                alive();
                return cached.length;
            }

            @Override
            public void replace(long bytes, boolean keep) throws IOException {
                alive();
                cached = new byte[(int) bytes];
                stable = new byte[(int) bytes];
                unsynced.clear();
            }

            @Override
            public void write(ByteBuffer from, long position) throws IOException {
                alive();
                int length = from.remaining();
                from.get(cached, (int) position, length);
                unsynced.set((int) position / SECTOR, (int) (position + length - 1) / SECTOR + 1);
            }

            @Override
            public void read(ByteBuffer into, long position) throws IOException {
                alive();
                into.put(cached, (int) position, into.remaining());
            }

            @Override
            public void sync() throws IOException {
                alive();
                BitSet begun = (BitSet) unsynced.clone();
                byte[] content = cached.clone();
                syncing.or(begun);
                unsynced.clear();
                byte[] before = cached;
                world.sleep(World.MS * (1 + world.random.nextInt(5)));
                alive();
                if (before != cached) return;
                for (int s = begun.nextSetBit(0); s >= 0; s = begun.nextSetBit(s + 1))
                    System.arraycopy(content, s * SECTOR, stable, s * SECTOR, SECTOR);
                syncing.andNot(begun);
            }

            @Override
            public void delete() throws IOException {
                alive();
                wipe();
            }

            @Override
            public void close() {
                if (!closed && owner == process) owner = null;
                closed = true;
            }
        };
    }
}
