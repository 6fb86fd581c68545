package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/** Finds out whether a store's put-if-absent can be trusted, by trying: fencing hangs on it. */
final class Probe {
    private static final int RACERS = 8;
    private static final int ROUNDS = 2;

    private Probe() {}

    /** Throws {@link Reason#UNSUPPORTED} if a key can be created twice. */
    static void check(ObjectStore store, String prefix) throws IOException {
        List<String> keys = new ArrayList<>();
        try {
            String key = key(prefix, keys);
            if (!store.putIfAbsent(key, body(0))) throw refused("it says that a key exists which was never used");
            if (store.putIfAbsent(key, body(1))) throw refused("it overwrites an object with If-None-Match: *");
            for (int round = 0; round < ROUNDS; round++) {
                int winners = race(store, key(prefix, keys));
                if (winners > 1)
                    throw refused("of " + RACERS + " puts of one key at once " + winners + " were told that they won");
            }
        } finally {
            try {
                store.delete(keys);
            } catch (IOException e) {
                // a few bytes stay; what the probe has found, or why it could not, matters more
                System.getLogger(Probe.class.getName()).log(System.Logger.Level.DEBUG, "deleting the probe", e);
            }
        }
    }

    private static String key(String prefix, List<String> keys) {
        keys.add(prefix + "probe/" + UUID.randomUUID());
        return keys.get(keys.size() - 1);
    }

    private static ByteBuffer body(int number) {
        return ByteBuffer.wrap(("dblock probe " + number).getBytes(StandardCharsets.US_ASCII));
    }

    private static int race(ObjectStore store, String key) throws IOException {
        ExecutorService threads = Executors.newFixedThreadPool(RACERS);
        try {
            List<Future<Boolean>> racers = new ArrayList<>();
            for (int i = 0; i < RACERS; i++) {
                int number = i;
                racers.add(threads.submit(() -> {
                    try {
                        return store.putIfAbsent(key, body(number));
                    } catch (IOException e) {
                        return false; // a 409 among others: did not win
                    }
                }));
            }
            int winners = 0;
            for (Future<Boolean> racer : racers) if (racer.get()) winners++;
            return winners;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted", e);
        } catch (ExecutionException e) {
            throw new IOException(e.getCause());
        } finally {
            threads.shutdown();
        }
    }

    private static BlockException refused(String why) {
        return new BlockException(
                Reason.UNSUPPORTED,
                "this object store can't keep two gateways apart: " + why
                        + ". A store with an atomic If-None-Match is needed");
    }
}
