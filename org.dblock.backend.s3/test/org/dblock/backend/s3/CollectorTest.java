package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Collecting keeps pace with what is written. */
class CollectorTest extends OneBucket {
    private static final int BLOCKS = 256;

    /** How much of what is stored is live, in percent. */
    private static double live(S3Volume volume) {
        String[] words = volume.details().get("data").split(" "); // 1M live of 1.2M stored
        return 100 * bytes(words[0]) / bytes(words[3]);
    }

    private static double bytes(String text) {
        int last = text.length() - 1;
        return Double.parseDouble(text.substring(0, last)) * (text.charAt(last) == 'M' ? 1 << 20 : 1 << 10);
    }

    @Test
    void spaceStaysBoundedWhileWritesNeverPause() throws Exception {
        Direct direct = Direct.create(folder, bucket);
        direct.checkpointObjects = 4;
        direct.collectBelow = 75;
        // so that all places for puts are taken all the time
        ObjectStore slow = new Interposed(bucket) {
            @Override
            public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
                try {
                    if (key.contains("/log/")) Thread.sleep(40);
                } catch (InterruptedException e) {
                    throw new IOException(e);
                }
                return super.putIfAbsent(key, body);
            }
        };
        Random random = new Random(1);
        double least = 100;
        try (S3Volume volume = direct.open("one", slow, true)) {
            for (int i = 0; i < BLOCKS; i++) volume.write(Direct.data(i, 1), (long) i * Direct.BLOCK, false);
            for (int i = 0; i < 40 * BLOCKS; i++) {
                volume.write(Direct.data(i, 1), (long) random.nextInt(BLOCKS) * Direct.BLOCK, false);
                if (i % 100 == 0) least = Math.min(least, live(volume));
            }
        }
        System.out.println("at least " + least + "% of what was stored was live");
        assertThat(least).isGreaterThan(40);
    }
}
