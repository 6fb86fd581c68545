package org.dblock.tck;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.dblock.api.BlockException;
import org.dblock.api.BlockStore;
import org.dblock.api.BlockVolume;
import org.dblock.api.Capability;
import org.dblock.api.ExtentVisitor;
import org.dblock.api.Geometry;
import org.dblock.api.Persistence;
import org.dblock.api.Reason;
import org.dblock.api.VolumeInfo;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/**
 * What every backend has to do, as {@link BlockStore} and {@link BlockVolume} promise it. A backend's test extends this
 * class and implements {@link #newStore}; it overrides the other hooks where its storage can or must do something
 * special. JUnit makes an instance for each test, which may rely on storage of its own that is empty.
 *
 * <p>Random tests print their seed; the system property {@code dblock.seed} repeats one. {@code dblock.operations} says
 * how many operations each of them does, 400 by default.
 */
public abstract class BlockVolumeContract {
    private static final int THREADS = 4;

    private final List<BlockStore> stores = new ArrayList<>();

    /** Makes a store. A test may call this several times; durable volumes of one store have to be found by the next. */
    protected abstract BlockStore newStore() throws Exception;

    /**
     * Releases a store when its test is over, volumes that are still open included. By default there is nothing to do.
     */
    protected void release(BlockStore store) throws Exception {}

    /**
     * How to open a volume: by default as {@link VolumeSpec#of}; with a block size or options if they are to be tested.
     */
    protected VolumeSpec spec(String volume, long size) {
        return VolumeSpec.of(volume, size);
    }

    /** The size in bytes of the volumes that are tested: a few MiB, not too round. */
    protected int size() {
        return (4 << 20) + 3 * 4096;
    }

    /**
     * Pretends a crash, as far as it can be simulated: gets rid of the volume and returns the store that comes after,
     * or null if it can't. By default a killed process is a volume that is closed without a flush.
     */
    protected BlockStore crash(BlockStore store, BlockVolume volume, Crash level) throws Exception {
        if (level != Crash.GATEWAY) return null;
        volume.close();
        return newStore();
    }

    /**
     * Makes the storage full, or its limit be reached, until the returned object is closed; null if that can't be
     * provoked. What is allocated already may still be overwritten.
     */
    protected AutoCloseable full(BlockStore store) throws Exception {
        return null;
    }

    /** How many operations a random test does: 400, or what the system property {@code dblock.operations} says. */
    protected int operations() {
        return Integer.getInteger("dblock.operations", 400);
    }

    /** Whether two gateways may have the same volume open for writing. */
    protected boolean allowsTwoWriters() {
        return false;
    }

    @AfterEach
    final void releaseStores() throws Exception {
        for (BlockStore store : stores) release(store);
    }

    // ---- contents ----

    @Test
    void randomOperationsGiveWhatAByteArrayGives() throws Exception {
        seeded(random -> {
            BlockStore store = store();
            BlockVolume volume = store.open(spec("random", size()));
            Model model = new Model(size(), volume.geometry().blockSize());
            for (int i = 0; i < operations(); i++) {
                if (random.nextInt(operations() / 8 + 1) == 0) {
                    volume.close();
                    store = successor(store, volume);
                    volume = store.open(spec("random", 0).withCreate(false));
                    check(volume, model, 0, model.size());
                } else if (random.nextInt(operations() / 8 + 1) == 0
                        && volume.geometry().can(Capability.RESIZE)) {
                    int block = volume.geometry().blockSize();
                    int size = block + random.nextInt(2 * size() / block) * block;
                    volume.resize(size);
                    volume.flush();
                    model.resize(size);
                    assertEquals(size, volume.geometry().size());
                } else {
                    operate(
                            volume,
                            model,
                            random,
                            0,
                            model.size() / volume.geometry().blockSize());
                }
            }
            check(volume, model, 0, model.size());
            volume.close();
        });
    }

    @Test
    void clientsOnDisjointBlocksDoNotDisturbEachOther() throws Exception {
        seeded(random -> {
            try (BlockVolume volume = store().open(spec("disjoint", size()))) {
                int block = volume.geometry().blockSize();
                int blocks = Math.min(size() / block, 128); // few, so that clients are neighbours all the time
                int run = 1 + 2 * random.nextInt(6); // blocks in a row of a client; never whole pages of 4 KiB
                List<Model> models = new ArrayList<>();
                ExecutorService threads = Executors.newFixedThreadPool(THREADS);
                CyclicBarrier start = new CyclicBarrier(THREADS);
                List<Future<?>> done = new ArrayList<>();
                for (int t = 0; t < THREADS; t++) {
                    int mine = t;
                    long seed = random.nextLong();
                    Model model = new Model(size(), block);
                    models.add(model);
                    done.add(threads.submit(() -> {
                        Random own = new Random(seed);
                        start.await();
                        for (int i = 0; i < operations(); i++) {
                            int first = (own.nextInt(blocks / run / THREADS) * THREADS + mine) * run;
                            operate(volume, model, own, first, Math.min(run, blocks - first));
                        }
                        return null;
                    }));
                }
                finish(threads, done);
                for (int first = 0; first < blocks; first += run) {
                    int length = Math.min(run, blocks - first) * block;
                    check(volume, models.get(first / run % THREADS), first * block, length);
                }
            }
        });
    }

    @Test
    void ofOverlappingWritesEachByteIsOfOneAndStaysSo() throws Exception {
        try (BlockVolume volume = store().open(spec("overlap", size()))) {
            int block = volume.geometry().blockSize();
            int length = 64 * 4096;
            for (int round = 0; round < operations() / 20; round++) {
                ExecutorService threads = Executors.newFixedThreadPool(THREADS);
                CyclicBarrier start = new CyclicBarrier(THREADS);
                List<Future<?>> done = new ArrayList<>();
                for (int t = 1; t <= THREADS; t++) {
                    byte[] bytes = new byte[length];
                    Arrays.fill(bytes, (byte) (round * THREADS + t));
                    int skew = t;
                    done.add(threads.submit(() -> {
                        ByteBuffer buffer = buffer(bytes, skew);
                        start.await();
                        volume.write(buffer, block, false);
                        return null;
                    }));
                }
                finish(threads, done);
                byte[] found = read(volume, block, length, 0);
                for (byte each : found) {
                    int writer = (byte) (each - round * THREADS);
                    if (writer < 1 || writer > THREADS) fail("nobody wrote " + each + " in round " + round);
                }
                assertArrayEquals(found, read(volume, block, length, 0));
            }
        }
    }

    @Test
    void aNewVolumeIsZeroesToItsVeryEnd() throws Exception {
        try (BlockVolume volume = store().open(spec("new", size()))) {
            assertEquals(size(), volume.geometry().size());
            assertTrue(Model.isZero(read(volume, 0, size(), 0)));
            int block = volume.geometry().blockSize();
            byte[] last = new byte[block];
            Arrays.fill(last, (byte) 1);
            volume.write(buffer(last, 0), size() - block, true);
            assertArrayEquals(last, read(volume, size() - block, block, 0));
        }
    }

    @Test
    void aReadFillsTheBuffersRemainderAndNothingElse() throws Exception {
        try (BlockVolume volume = store().open(spec("remainder", size()))) {
            int block = volume.geometry().blockSize();
            ByteBuffer buffer = ByteBuffer.allocateDirect(4 * block);
            while (buffer.hasRemaining()) buffer.put((byte) 0x55);
            volume.read(buffer.limit(3 * block).position(block), 0);
            buffer.clear();
            for (int i = 0; i < 4 * block; i++)
                assertEquals(i / block == 0 || i / block == 3 ? 0x55 : 0, buffer.get(i), "byte " + i);
        }
    }

    @Test
    void writesTakeReadOnlyBuffersAndLeaveThemUnchanged() throws Exception {
        try (BlockVolume volume = store().open(spec("constant", size()))) {
            byte[] bytes = new byte[3 * volume.geometry().blockSize()];
            new Random(1).nextBytes(bytes);
            ByteBuffer buffer = buffer(bytes, 3);
            ByteBuffer view = buffer.duplicate();
            volume.write(buffer.asReadOnlyBuffer(), 0, false);
            byte[] after = new byte[bytes.length];
            view.get(after);
            assertArrayEquals(bytes, after);
            assertArrayEquals(bytes, read(volume, 0, bytes.length, 1));
        }
    }

    // ---- what outlives what ----

    @Test
    void closingAndOpeningKeepsContents() throws Exception {
        BlockStore store = store();
        byte[] bytes = new byte[size()];
        new Random(2).nextBytes(bytes);
        BlockVolume volume = store.open(spec("kept", size()));
        volume.write(buffer(bytes, 0), 0, false);
        volume.flush();
        volume.close();
        volume.close();
        try (BlockVolume again = successor(store, volume).open(spec("kept", size()))) {
            assertArrayEquals(bytes, read(again, 0, size(), 0));
            again.flush();
        }
    }

    @Test
    void everyCompletedWriteOutlivesTheGateway() throws Exception {
        seeded(random -> crashes(random, Crash.GATEWAY));
    }

    @Test
    void everyFlushedWriteOutlivesTheHost() throws Exception {
        seeded(random -> crashes(random, Crash.HOST));
    }

    @Test
    void handsOverToAnotherStore() throws Exception {
        BlockStore store = store();
        byte[] bytes = new byte[size()];
        new Random(3).nextBytes(bytes);
        BlockVolume volume = store.open(spec("handed", size()));
        volume.write(buffer(bytes, 0), 0, false);
        volume.flush();
        Map<String, Object> state = new HashMap<>(volume.handOver());
        state.forEach((key, value) -> assertTrue(outlivesBundles(value), key + " is of " + value.getClass()));
        volume.close();
        try (BlockVolume next = store().open(spec("handed", 0).withCreate(false).withInherited(state))) {
            assertArrayEquals(bytes, read(next, 0, size(), 0));
            next.write(buffer(new byte[next.geometry().blockSize()], 0), 0, false);
            next.flush();
        } finally {
            for (Object each : state.values()) if (each instanceof AutoCloseable closeable) closeable.close();
        }
    }

    // ---- capabilities ----

    @Test
    void theGeometryIsConstant() throws Exception {
        try (BlockVolume volume = store().open(spec("geometry", size()))) {
            Geometry geometry = volume.geometry();
            assertFalse(geometry.readOnly());
            volume.write(buffer(new byte[geometry.blockSize()], 0), 0, true);
            assertSame(geometry, volume.geometry(), "no new one for each call");
            if (geometry.can(Capability.FAST_ZEROES)) assertTrue(geometry.can(Capability.WRITE_ZEROES));
            assertNotNull(volume.details());
        }
    }

    @Test
    void zeroesAreReadAfterWritingThemWithAnyFlags() throws Exception {
        try (BlockVolume volume = store().open(spec("zeroes", size()))) {
            int block = volume.geometry().blockSize();
            byte[] ones = new byte[size()];
            Arrays.fill(ones, (byte) 1);
            for (int flags = 0; flags < 4; flags++) {
                volume.write(buffer(ones, 0), 0, false);
                volume.writeZeroes(block, size() - 2L * block, (flags & 1) != 0, (flags & 2) != 0);
                byte[] found = read(volume, 0, size(), 0);
                for (int i = 0; i < found.length; i++)
                    if (found[i] != (i < block || i >= found.length - block ? 1 : 0))
                        fail("flags " + flags + ": byte " + i + " is " + found[i]);
            }
        }
    }

    @Test
    void discardGivesStorageBackIfItSaysSo() throws Exception {
        BlockStore store = store();
        try (BlockVolume volume = store.open(spec("discard", size()))) {
            byte[] ones = new byte[size()];
            Arrays.fill(ones, (byte) 1);
            volume.write(buffer(ones, 0), 0, false);
            volume.flush();
            long before = allocated(store, "discard");
            volume.discard(0, size());
            volume.flush();
            byte[] found = read(volume, 0, size(), 0);
            if (!volume.geometry().can(Capability.DISCARD)) {
                assertArrayEquals(ones, found, "a discard that does nothing");
                return;
            }
            for (int i = 0; i < size(); i++) if (found[i] != 0 && found[i] != 1) fail("byte " + i + " is " + found[i]);
            long after = allocated(store, "discard");
            if (before > 0 && after >= 0) assertTrue(after < before, "allocated " + before + ", then " + after);
            if (volume.geometry().can(Capability.EXTENTS))
                assertTrue(map(volume, 0, size()).stream().anyMatch(e -> (e.flags & ExtentVisitor.HOLE) != 0));
        }
    }

    @Test
    void theMapAgreesWithTheData() throws Exception {
        seeded(random -> {
            try (BlockVolume volume = store().open(spec("map", size()))) {
                int block = volume.geometry().blockSize();
                Model model = new Model(size(), block);
                for (int i = 0; i < 20; i++) {
                    for (int j = 0; j < 10; j++) operate(volume, model, random, 0, size() / block);
                    int first = random.nextInt(size() / block);
                    int offset = i == 0 ? 0 : first * block;
                    int length = i == 0 ? size() : (1 + random.nextInt(size() / block - first)) * block;
                    List<Extent> map = map(volume, offset, length);
                    if (!volume.geometry().can(Capability.EXTENTS))
                        assertEquals(List.of(new Extent(offset, length, ExtentVisitor.DATA)), map);
                    for (Extent each : map) {
                        if (each.flags == ExtentVisitor.DATA) continue;
                        int from = (int) Math.max(offset, each.offset);
                        int to = (int) Math.min(offset + length, each.offset + each.length);
                        assertTrue(
                                (each.flags & ExtentVisitor.ZERO) != 0, each + ": a hole that doesn't read as zeroes");
                        assertTrue(Model.isZero(read(volume, from, to - from, 0)), each + " isn't zeroes");
                    }
                }
                int[] calls = {0};
                volume.extents(0, size(), (o, l, f) -> ++calls[0] < 1);
                assertEquals(1, calls[0], "calls of a visitor that has had enough with the first");
            }
        });
    }

    @Test
    void resizesIfItSaysSo() throws Exception {
        try (BlockVolume volume = store().open(spec("resize", size()))) {
            int block = volume.geometry().blockSize();
            if (!volume.geometry().can(Capability.RESIZE)) {
                assertReason(Reason.UNSUPPORTED, () -> volume.resize(2L * size()));
                assertEquals(size(), volume.geometry().size());
                return;
            }
            byte[] ones = new byte[size()];
            Arrays.fill(ones, (byte) 1);
            volume.write(buffer(ones, 0), 0, false);
            volume.resize(3L * block);
            assertEquals(3 * block, volume.geometry().size());
            volume.resize(size() + 5L * block);
            byte[] found = read(volume, 0, size() + 5 * block, 0);
            for (int i = 0; i < found.length; i++)
                if (found[i] != (i < 3 * block ? 1 : 0)) fail("byte " + i + " is " + found[i]);
            assertThrows(IOException.class, () -> volume.resize(block + 1L));
            assertEquals(size() + 5L * block, volume.geometry().size());
        }
    }

    // ---- errors ----

    @Test
    void opensOnlyWhatIsThereAndFits() throws Exception {
        BlockStore store = store();
        BlockException absent = assertReason(
                Reason.NOT_FOUND, () -> store.open(spec("absent", 0).withCreate(false)));
        assertTrue(absent.getMessage().contains("absent"), absent.getMessage());
        BlockVolume volume = store.open(spec("present", size()));
        volume.close();
        BlockException misfit =
                assertReason(Reason.INVALID, () -> successor(store, volume).open(spec("present", 2L * size())));
        assertTrue(misfit.getMessage().contains(Integer.toString(size())), misfit.getMessage());
    }

    @Test
    void refusesASecondWriterAndNamesTheVolume() throws Exception {
        if (allowsTwoWriters()) return;
        BlockStore store = store();
        try (BlockVolume first = store.open(spec("shared", size()))) {
            BlockException refusal = assertReason(Reason.IN_USE, () -> store.open(spec("shared", 0)));
            assertTrue(refusal.getMessage().contains("shared"), refusal.getMessage());
            first.write(buffer(new byte[first.geometry().blockSize()], 0), 0, true);
        }
        store.open(spec("shared", 0)).close();
    }

    @Test
    void aReadOnlyVolumeRefusesChanges() throws Exception {
        BlockStore store = store();
        byte[] bytes = new byte[size()];
        new Random(4).nextBytes(bytes);
        BlockVolume writer = store.open(spec("constant", size()));
        writer.write(buffer(bytes, 0), 0, true);
        writer.close();
        try (BlockVolume volume = successor(store, writer)
                .open(spec("constant", 0).withReadOnly(true).withCreate(false))) {
            int block = volume.geometry().blockSize();
            assertTrue(volume.geometry().readOnly());
            assertReason(Reason.READ_ONLY, () -> volume.write(buffer(new byte[block], 0), 0, false));
            assertReason(Reason.READ_ONLY, () -> volume.writeZeroes(0, block, true, false));
            volume.flush();
            assertArrayEquals(bytes, read(volume, 0, size(), 0));
        }
    }

    @Test
    void deletesAndListsIfItCan() throws Exception {
        BlockStore store = store();
        BlockVolume volume = store.open(spec("doomed", size()));
        volume.write(buffer(new byte[volume.geometry().blockSize()], 0), 0, true);
        List<VolumeInfo> list = store.list(spec("", 0));
        for (VolumeInfo each : list)
            if (each.name().equals("doomed")) assertTrue(each.size() == 0 || each.size() == size(), each.toString());
        try {
            store.delete(spec("never there", 0));
        } catch (BlockException e) {
            assertEquals(Reason.UNSUPPORTED, e.reason());
            volume.close();
            return;
        }
        assertReason(Reason.IN_USE, () -> store.delete(spec("doomed", 0)));
        volume.close();
        store.delete(spec("doomed", 0));
        assertTrue(store.list(spec("", 0)).stream().noneMatch(v -> v.name().equals("doomed")));
        assertReason(Reason.NOT_FOUND, () -> store.open(spec("doomed", 0).withCreate(false)));
    }

    @Test
    void aFullStorageIsNoSpaceAndHeals() throws Exception {
        BlockStore store = store();
        try (BlockVolume volume = store.open(spec("full", size()))) {
            byte[] bytes = new byte[size() / 2 / 4096 * 4096];
            new Random(5).nextBytes(bytes);
            volume.write(buffer(bytes, 0), 0, true);
            try (AutoCloseable full = full(store)) {
                if (full == null) return;
                assertReason(Reason.NO_SPACE, () -> volume.write(buffer(bytes, 0), bytes.length, true));
                assertArrayEquals(bytes, read(volume, 0, bytes.length, 0), "what had been there before");
            }
            volume.write(buffer(bytes, 0), bytes.length, true);
            assertArrayEquals(bytes, read(volume, bytes.length, bytes.length, 0));
            volume.flush();
        }
    }

    // ---- how it is done ----

    /** A test that draws at random. */
    private interface Seeded {
        void run(Random random) throws Exception;
    }

    private record Extent(long offset, long length, int flags) {}

    private void seeded(Seeded test) throws Exception {
        long seed = Long.getLong("dblock.seed", System.nanoTime());
        System.out.println(getClass().getSimpleName() + ": -Ddblock.seed=" + seed);
        try {
            test.run(new Random(seed));
        } catch (AssertionError | IOException e) {
            throw new AssertionError("with -Ddblock.seed=" + seed + ": " + e.getMessage(), e);
        }
    }

    private void crashes(Random random, Crash level) throws Exception {
        BlockStore store = store();
        BlockVolume volume = store.open(spec("crash", size()));
        Model model = new Model(size(), volume.geometry().blockSize());
        int blocks = size() / volume.geometry().blockSize();
        for (int round = 0; round < 5; round++) {
            for (int i = 0; i < operations() / 10; i++) operate(volume, model, random, 0, blocks);
            byte[] last = new byte[17 * volume.geometry().blockSize()];
            random.nextBytes(last);
            boolean fua = round % 2 == 0; // and the others are flushed
            volume.write(buffer(last, round), 0, fua);
            model.write(0, last, fua);
            if (!fua) {
                volume.flush();
                model.flush();
            }
            if (volume.geometry().persistence() == Persistence.VOLATILE) break; // promises nothing
            store = crash(store, volume, level);
            if (store == null) break;
            if (!stores.contains(store)) stores.add(store);
            volume = store.open(spec("crash", 0).withCreate(false));
            if (level == Crash.HOST) model.recover(read(volume, 0, size(), 0));
            else check(volume, model, 0, size());
        }
        volume.close();
    }

    /** Does one operation in a range of blocks, to the volume and to the model. */
    private static void operate(BlockVolume volume, Model model, Random random, int firstBlock, int blocks)
            throws IOException {
        int block = volume.geometry().blockSize();
        // mostly short, sometimes across several of whatever the volume is made of
        int most = Math.min(blocks, random.nextInt(8) == 0 ? 256 : 17);
        int count = 1 + random.nextInt(most);
        int offset = (firstBlock + random.nextInt(blocks - count + 1)) * block;
        int length = count * block;
        boolean flag = random.nextInt(8) == 0;
        switch (random.nextInt(10)) {
            case 0, 1, 2, 3 -> {
                byte[] bytes = new byte[length];
                random.nextBytes(bytes);
                volume.write(buffer(bytes, random.nextInt(64)), offset, flag);
                model.write(offset, bytes, flag);
            }
            case 4, 5, 6 -> check(volume, model, offset, length);
            case 7 -> {
                model.discard(offset, length);
                volume.discard(offset, length);
            }
            case 8 -> {
                volume.writeZeroes(offset, length, random.nextBoolean(), flag);
                model.write(offset, new byte[length], flag);
            }
            default -> {
                volume.flush();
                model.flush();
            }
        }
    }

    private static void check(BlockVolume volume, Model model, int offset, int length) throws IOException {
        model.check("reading " + offset + "+" + length, offset, read(volume, offset, length, offset % 61));
    }

    /** @param skew how far to move the data from the beginning of the memory, for the sake of alignment */
    private static ByteBuffer buffer(byte[] bytes, int skew) {
        return ByteBuffer.allocateDirect(skew + bytes.length + 1)
                .position(skew)
                .put(bytes)
                .flip()
                .position(skew);
    }

    private static byte[] read(BlockVolume volume, long offset, int length, int skew) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocateDirect(skew + length);
        volume.read(buffer.position(skew), offset);
        byte[] bytes = new byte[length];
        buffer.clear().position(skew).get(bytes);
        return bytes;
    }

    /** The map of a range, checked for what every map has to be. */
    private static List<Extent> map(BlockVolume volume, long offset, long length) throws IOException {
        List<Extent> map = new ArrayList<>();
        volume.extents(offset, length, (o, l, f) -> map.add(new Extent(o, l, f)));
        long end = offset;
        for (Extent each : map) {
            assertEquals(end, each.offset, "where " + each + " begins");
            assertTrue(each.length > 0, each.toString());
            assertTrue(each.flags >= 0 && each.flags <= 3, each.toString());
            end += each.length;
        }
        assertTrue(end >= offset + length, "the map ends at " + end);
        return map;
    }

    private long allocated(BlockStore store, String name) throws IOException {
        for (VolumeInfo each : store.list(spec("", 0))) if (each.name().equals(name)) return each.allocated();
        return -1;
    }

    private BlockStore store() throws Exception {
        BlockStore store = newStore();
        stores.add(store);
        return store;
    }

    /** Where to look for a volume that has been closed: in a new store if that can have it. */
    private BlockStore successor(BlockStore store, BlockVolume volume) throws Exception {
        return volume.geometry().persistence() == Persistence.VOLATILE ? store : store();
    }

    private static void finish(ExecutorService threads, Collection<Future<?>> done) throws Exception {
        threads.shutdown();
        for (Future<?> each : done) {
            try {
                each.get();
            } catch (ExecutionException e) {
                if (e.getCause() instanceof Error error) throw error;
                throw e;
            }
        }
    }

    private static boolean outlivesBundles(Object value) {
        Class<?> type = value.getClass();
        while (type.isArray()) type = type.getComponentType();
        return type.isPrimitive()
                || type.getClassLoader() == null
                || type.getClassLoader() == ClassLoader.getPlatformClassLoader()
                || type.getPackageName().startsWith("com.sun.jna")
                || type.getPackageName().equals(Geometry.class.getPackageName());
    }

    private static BlockException assertReason(Reason reason, Executable call) {
        BlockException e = assertThrows(BlockException.class, call);
        assertEquals(reason, e.reason(), e.getMessage());
        return e;
    }
}
