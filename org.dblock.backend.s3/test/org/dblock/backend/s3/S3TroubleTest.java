package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.dblock.backend.s3.Direct.BLOCK;
import static org.dblock.backend.s3.Direct.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.dblock.api.BlockVolume;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A store in trouble holds writers back, at worst; it never fails what was accepted, and one can see what is wrong. */
class S3TroubleTest extends OneBucket {
    private final ExecutorService threads = Executors.newCachedThreadPool();

    @AfterEach
    void endThreads() {
        threads.shutdown();
    }

    private BlockVolume open(String host, VolumeSpec spec) throws IOException {
        return host(host).open(spec);
    }

    private static VolumeSpec spec() {
        return spec("v", 16 << 20).withOption("diskCacheSize", 0).withOption("cacheSize", 0);
    }

    private static void write(BlockVolume volume, int number) throws IOException {
        volume.write(data(number, 1), (long) number % 4096 * BLOCK, false);
    }

    private static void check(BlockVolume volume, int number) throws IOException {
        ByteBuffer found = ByteBuffer.allocateDirect(BLOCK);
        volume.read(found, (long) number % 4096 * BLOCK);
        assertThat(found.flip()).as("block %d", number).isEqualTo(data(number, 1));
    }

    private static String state(BlockVolume volume) {
        return volume.details().get("store");
    }

    private static boolean allStored(BlockVolume volume) {
        return volume.details().get("not yet in bucket").equals("0");
    }

    @Test
    void oneSeesWhetherTheStoreIsHealthySlowOrUnreachable() throws Exception {
        try (BlockVolume volume = open("one", spec())) {
            assertThat(state(volume)).isEqualTo("healthy");
            bucket.delay = 1_000_000;
            write(volume, 1);
            until(() -> state(volume).startsWith("slow: no answer for "));
            bucket.delay = 0;
            until(() -> allStored(volume));
            bucket.down = true;
            write(volume, 2);
            until(() -> state(volume).matches("unreachable since 20\\d\\d-\\S+Z: 503 before"));
            bucket.down = false;
            until(() -> allStored(volume));
            assertThat(state(volume)).doesNotContain("unreachable");
        }
    }

    @Test
    void whateverTheTroubleIsItIsWaitedOut() throws Exception {
        String[] troubles = {
            "status 500, InternalError",
            "status 503, SlowDown",
            "no answer in 60 s",
            "Connection refused",
            "status 403, ExpiredToken: the credentials have expired",
            "status 403, RequestTimeTooSkewed: the clocks of this host and the store differ too much",
            "status 404, NoSuchBucket: there is no bucket b",
        };
        BlockVolume volume = open("one", spec());
        int number = 0;
        for (String trouble : troubles) {
            bucket.refusal = trouble;
            bucket.down = true;
            for (int i = 0; i < 60; i++) write(volume, ++number);
            volume.flush();
            for (int i = number - 59; i <= number; i++) check(volume, i);
            until(() -> state(volume).contains(trouble));
            bucket.down = false;
            until(() -> allStored(volume));
            for (int i = 1; i <= number; i++) check(volume, i);
        }
        volume.close();
    }

    @Test
    void damagedAndTruncatedAnswersAreAskedForAgain() throws Exception {
        try (BlockVolume volume = open("one", spec())) {
            for (int i = 0; i < 500; i++) write(volume, i);
            until(() -> allStored(volume));
            bucket.damage = 0.02;
            for (int i = 0; i < 500; i++) check(volume, i);
            bucket.damage = 0;
        }
    }

    @Test
    void inAnOutageNothingPilesUpBesideTheJournal() throws Exception {
        BlockVolume volume = open("one", spec());
        bucket.down = true;
        Future<?> writer = threads.submit(() -> {
            for (int i = 0; i < 2000; i++) write(volume, i); // 8 MiB, four times the journal
            return null;
        });
        until(() -> volume.details().get("journal").matches(".*\\(9\\d %\\)"));
        assertThatThrownBy(() -> writer.get(1, TimeUnit.SECONDS)).isInstanceOf(TimeoutException.class);
        assertThat(bucket.mostPuts.get()).as("puts under way").isLessThanOrEqualTo(8);
        bucket.down = false;
        writer.get();
        for (int i = 0; i < 2000; i++) check(volume, i);
        volume.close();
    }

    @Test
    void writesWaitWhileTheBucketLagsFurtherBehindThanAllowed() throws Exception {
        BlockVolume volume = open("one", spec().withOption("maxLagSeconds", 1));
        assertThat(volume.details().get("at most")).isEqualTo("2M, 1.0 s");
        bucket.down = true;
        write(volume, 1);
        Future<?> writer = threads.submit(() -> {
            for (int i = 2; i < 1000; i++) {
                write(volume, i);
                Thread.sleep(10);
            }
            return null;
        });
        until(() -> volume.details().get("not yet in bucket").matches(".*, ([2-9]|\\d\\d+)\\.\\d s"));
        String held = volume.details().get("not yet in bucket").replaceFirst(",.*", "");
        assertThatThrownBy(() -> writer.get(1, TimeUnit.SECONDS)).isInstanceOf(TimeoutException.class);
        assertThat(volume.details().get("not yet in bucket")).startsWith(held + ", ");
        check(volume, 1);
        volume.flush();
        // the bound outlives a restart, and so does the age of what the bucket lacks
        volume.handOver();
        writer.cancel(false);
        bucket.down = false;
        bucket.delay = 300;
        BlockVolume again = open("one", spec().withOption("maxLagSeconds", 1));
        write(again, 1000);
        check(again, 1);
        bucket.delay = 0;
        until(() -> allStored(again));
        again.close();
    }
}
