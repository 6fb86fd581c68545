package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;

/** What is told of a store that fails. */
class BucketTest {
    private final Threads scheduler = new Threads("test");

    private String trouble(Bucket bucket) {
        scheduler.lock();
        try {
            return bucket.trouble();
        } finally {
            scheduler.unlock();
        }
    }

    @Test
    void readsThatSucceedDoNotHidePutsThatFail() throws Exception {
        CountDownLatch failed = new CountDownLatch(1);
        boolean[] denied = {true};
        FaultyStore store = new FaultyStore(0);
        Bucket bucket = new Bucket(
                new Interposed(store) {
                    @Override
                    public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
                        synchronized (denied) {
                            if (!denied[0]) return super.putIfAbsent(key, body);
                        }
                        failed.countDown();
                        throw new IOException("403, AccessDenied");
                    }
                },
                scheduler,
                "test");
        Thread putter = new Thread(() -> {
            try {
                bucket.putIfAbsent("a", ByteBuffer.allocate(1), Bucket.EVER);
            } catch (IOException e) {
                throw new AssertionError(e);
            }
        });
        putter.start();
        failed.await();
        while (trouble(bucket).isEmpty()) Thread.onSpinWait();
        for (int i = 0; i < 100; i++) {
            bucket.list("", "", 1, Bucket.EVER);
            assertThat(trouble(bucket)).contains("403");
        }
        synchronized (denied) {
            denied[0] = false;
        }
        putter.join();
        assertThat(trouble(bucket)).isEmpty();
        scheduler.join(0);
    }
}
