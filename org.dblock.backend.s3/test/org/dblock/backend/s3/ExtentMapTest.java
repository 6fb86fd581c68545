package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.assertTimeout;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** An extent map is what an array with a place for each block is. */
class ExtentMapTest {
    private static final int BLOCKS = 3 * ExtentMap.PAGE + 100;

    @Test
    void mapsUnmapsAndTellsWhatWasThere() throws Exception {
        long seed = Long.getLong("dblock.seed", System.nanoTime());
        System.out.println("ExtentMapTest: -Ddblock.seed=" + seed);
        Random random = new Random(seed);
        ExtentMap map = new ExtentMap(BLOCKS);
        long[] objects = new long[BLOCKS];
        int[] places = new int[BLOCKS];
        for (int round = 0; round < 4000; round++) {
            int lba = random.nextInt(BLOCKS);
            int count = 1 + random.nextInt(Math.min(BLOCKS - lba, random.nextInt(20) == 0 ? 6000 : 20));
            long[] found = new long[count];
            ExtentMap.Visitor displaced = (at, blocks, object, place) -> {
                for (int i = 0; i < blocks; i++) {
                    int block = (int) at + i;
                    found[block - lba] = object;
                    assertThat(place == ExtentMap.ZEROES ? place : place + i).isEqualTo(places[block]);
                }
            };
            long object = 0;
            int place = random.nextInt(4) == 0 ? ExtentMap.ZEROES : random.nextInt(1000);
            if (random.nextInt(4) == 0) {
                map.clear(lba, count, displaced);
            } else {
                object = 1 + random.nextInt(3);
                map.set(lba, count, object, place, displaced);
            }
            for (int i = 0; i < count; i++) {
                assertThat(found[i]).isEqualTo(objects[lba + i]);
                objects[lba + i] = object;
                places[lba + i] = place == ExtentMap.ZEROES ? place : place + i;
            }
            if (round % 100 == 0) check(map, objects, places);
        }
    }

    private static void check(ExtentMap map, long[] objects, int[] places) throws Corruption {
        ExtentMap stored = new ExtentMap(BLOCKS);
        for (long n = map.next(0); n < map.limit(); n = map.next(n + 1)) {
            ByteBuffer page = ByteBuffer.allocate(map.page(n).stored()).order(ByteOrder.LITTLE_ENDIAN);
            map.page(n).encode(page);
            stored.put(n, ExtentPage.decode(page.flip()));
        }
        for (ExtentMap each : new ExtentMap[] {map, stored}) {
            long[] found = new long[BLOCKS];
            each.visit((lba, blocks, object, at) -> {
                for (int i = 0; i < blocks; i++) {
                    found[(int) lba + i] = object;
                    assertThat(at == ExtentMap.ZEROES ? at : at + i).isEqualTo(places[(int) lba + i]);
                }
            });
            assertThat(found).isEqualTo(objects);
        }
    }

    @Test
    void whatWasEmptiedIsNotLookedThroughAgain() {
        ExtentMap map = new ExtentMap(State.MOST_BLOCKS);
        for (long page = 0; page < map.limit(); page += 100) map.set(page * ExtentMap.PAGE, 1, 1, 0);
        map.clear(0, State.MOST_BLOCKS, (lba, blocks, object, at) -> {});
        assertTimeout(Duration.ofSeconds(2), () -> {
            for (int i = 0; i < 100_000; i++) assertThat(map.next(0)).isEqualTo(map.limit());
        });
        map.set(5L * ExtentMap.PAGE, 1, 2, 0);
        assertThat(map.next(0)).isEqualTo(5);
        map.clear(5L * ExtentMap.PAGE, 1, (lba, blocks, object, at) -> {});
        assertThat(map.next(0)).isEqualTo(map.limit());
    }

    @Test
    void aFrozenPageIsLeftAsItIs() {
        ExtentMap map = new ExtentMap(BLOCKS);
        map.set(0, 10, 1, 0);
        ExtentPage page = map.page(0);
        page.frozen = 1;
        map.set(5, 1, 2, 0);
        assertThat(page.count()).isEqualTo(1);
        assertThat(map.page(0)).isNotSameAs(page);
        assertThat(map.page(0).count()).isEqualTo(3);
    }
}
