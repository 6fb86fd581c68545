package org.dblock.nbd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** Who may spin on a machine with four processors: two connections with traffic, and none when there are more. */
class SpinnersTest {
    private static final long SOON = TimeUnit.MICROSECONDS.toNanos(10);
    private static final long LATER = TimeUnit.MILLISECONDS.toNanos(100);

    private final Spinners spinners = new Spinners(4, 1);
    private final long[] ticks = new long[3];
    // the beginning of a tick, so that what comes soon is in the same one
    private long now = 5L << 22;

    private void traffic(int connection) {
        ticks[connection] = spinners.note(ticks[connection], now += SOON);
    }

    @Test
    void asManyAsHalfOfTheProcessorsMaySpin() {
        for (int i = 0; i < 100; i++) {
            traffic(0);
            traffic(1);
        }
        assertTrue(spinners.room());
    }

    @Test
    void noneSpinsWhenMoreHaveTraffic() {
        for (int connection = 0; connection < 3; connection++) traffic(connection);
        assertFalse(spinners.room());
    }

    @Test
    void theCountOfTheTickBeforeHoldsUntilTheNextIsOver() {
        for (int connection = 0; connection < 3; connection++) traffic(connection);
        now = 6L << 22;
        traffic(0);
        assertFalse(spinners.room());
        now = 7L << 22;
        traffic(0);
        assertTrue(spinners.room());
    }

    @Test
    void aBusyMomentLongAgoIsForgotten() {
        for (int connection = 0; connection < 3; connection++) traffic(connection);
        now += LATER;
        traffic(2);
        assertTrue(spinners.room());
    }

    @Test
    void nobodySpinsOnASingleProcessor() {
        assertEquals(0, new Spinners(1, 1000).most());
    }
}
