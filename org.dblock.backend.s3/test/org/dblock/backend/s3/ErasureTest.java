package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.dblock.backend.s3.Direct.BLOCK;
import static org.dblock.backend.s3.Direct.data;
import static org.dblock.backend.s3.Direct.read;

import java.io.IOException;
import java.nio.file.Files;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.Callable;
import org.dblock.api.BlockVolume;
import org.dblock.api.Reason;
import org.dblock.api.VolumeSpec;
import org.junit.jupiter.api.Test;

/** A volume that is too damaged to be opened is erased if, and only if, that is asked for. */
class ErasureTest extends OneBucket {
    private static final VolumeSpec SPEC = spec("v", 1 << 20).withOption("flush", "remote-durable");
    private static final VolumeSpec ERASE = SPEC.withOption("eraseDamaged", true);

    private BlockVolume create() throws Exception {
        BlockVolume volume = host("one").open(SPEC);
        for (int i = 0; i < 20; i++) volume.write(data(i, 1), (long) i * BLOCK, true);
        return volume;
    }

    private Callable<?> erase(VolumeSpec spec) {
        return () -> {
            host("one").delete(spec);
            return null;
        };
    }

    private String below(String volume) {
        return "dblock/" + new String(bucket.objects.get("dblock/names/" + volume)) + "/";
    }

    private String format() {
        return below("v") + "format";
    }

    private void damageFormat() {
        bucket.objects.put(format(), "dblock-s3=7\n".getBytes());
    }

    private void damageLog() {
        bucket.objects.get(below("v") + "log/000000000000004c")[40] ^= 1; // behind the takeover's void slots
    }

    private void loseRoots() {
        bucket.objects.put(below("v") + "ckpt/ffffffffffffff00-0000000000000001", new byte[500]);
        bucket.objects.remove(below("v") + "log/0000000000000001"); // as if it had been collected
    }

    @Test
    void everythingOfItGoesAndNothingElseWhateverIsDamaged() throws Exception {
        host("two").open(spec("sound", 1 << 20)).close();
        List<String> sound = List.copyOf(bucket.objects.keySet());
        for (Runnable damage : List.<Runnable>of(
                this::damageFormat, () -> bucket.objects.remove(format()), this::damageLog, this::loseRoots)) {
            create().close();
            damage.run();
            String below = below("v");
            List<String> before = List.copyOf(bucket.objects.keySet());
            assertThatThrownBy(() -> host("one").delete(SPEC))
                    .isInstanceOf(Corruption.class)
                    .hasMessageContaining("eraseDamaged=true")
                    .hasMessageContaining(below);
            assertThat(bucket.objects.keySet()).containsExactlyElementsOf(before);
            // where the log is damaged it can't be known that the owner has released the volume
            host("one").delete(ERASE.withOption("takeover", true));
            assertThat(bucket.objects.keySet()).containsExactlyElementsOf(sound);
        }
        try (var files = Files.list(folder.resolve("one"))) {
            assertThat(files).noneMatch(file -> file.toString().endsWith(".journal"));
        }
    }

    @Test
    void aSoundVolumeIsDeletedAsEverAndNoneIsOpenedWithThatOption() throws Exception {
        refusal(Reason.INVALID, () -> host("one").open(ERASE));
        create().close();
        host("one").delete(ERASE);
        assertThat(bucket.objects).isEmpty();
    }

    @Test
    void whoHoldsItIsNamedAndByForceFindsOut() throws Exception {
        BlockVolume volume = host("two").open(SPEC);
        for (int i = 0; i < 20; i++) volume.write(data(i, 1), (long) i * BLOCK, true);
        damageLog();
        assertThat(refusal(Reason.IN_USE, erase(ERASE))).hasMessageContaining("is held by ");
        String next = below("v") + "log/" + String.format("%016x", Long.parseLong("4b", 16) + 20);
        Erasure erasure = erasure();
        erasure.stopOwner();
        assertThat(bucket.objects).containsKey(next);
        assertThat(refusal(Reason.FENCED, () -> {
                    volume.write(data(1, 1), 0, true);
                    return null;
                }))
                .hasMessageContaining("taken over by");
        volume.close();
        host("one").delete(ERASE.withOption("takeover", true));
        assertThat(bucket.objects).isEmpty();
    }

    private Erasure erasure() throws Exception {
        Scheduler scheduler = new Threads("test");
        UUID id = UUID.fromString(new String(bucket.objects.get("dblock/names/v")));
        Settings settings = Direct.create(folder, new FaultyStore(0)).settings("host");
        return new Erasure("v", id, "dblock/", new Bucket(bucket, scheduler, "v"), scheduler, settings, new Rules());
    }

    @Test
    void whatClonesNeedStaysAsLongAsTheyDo() throws Exception {
        create().close();
        host("one").createSnapshot(SPEC, "s");
        VolumeSpec clone = spec("c", 0).withOption("snapshot", "v@s");
        host("two").open(clone).close();
        damageFormat();
        assertThat(refusal(Reason.IN_USE, erase(ERASE.withOption("takeover", true))))
                .hasMessageContaining("used by volume 'c'")
                .hasMessageContaining("delete these first");
        try (BlockVolume volume = host("two").open(clone)) {
            assertThat(read(volume, 5)).isEqualTo(5);
        }
        host("two").delete(clone);
        host("one").delete(ERASE.withOption("takeover", true));
        assertThat(bucket.objects).isEmpty();
    }

    @Test
    void anErasureThatIsInterruptedCanBeAskedForAgain() throws Exception {
        create().close();
        damageFormat();
        bucket.failingDeletes = "/log/";
        assertThatThrownBy(() ->
                        host("one").delete(ERASE.withOption("takeover", true).withOption("timeoutSeconds", 1)))
                .isInstanceOf(IOException.class);
        bucket.failingDeletes = null;
        host("one").open(spec("other", 1 << 20)).close();
        host("one").delete(spec("other", 0)); // isn't stopped by what is left
        host("one").delete(ERASE.withOption("takeover", true));
        assertThat(bucket.objects).isEmpty();
    }
}
