package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.UUID;
import org.dblock.api.BlockException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What a checkpoint names is stored. */
class CheckpointsTest {
    private static final UUID VOLUME = new UUID(1, 2);

    private final FaultyStore store = new FaultyStore(0);
    private final Keys keys = new Keys("p/", VOLUME);
    private final Threads scheduler = new Threads("test");
    private final State state = new State(VOLUME, 1 << 30, new Rules());

    @AfterEach
    void end() {
        scheduler.join(0);
    }

    private void write(long lba) {
        Header header = new Header();
        header.type = Header.Type.DATA;
        header.slot = state.slot + 1;
        header.room(1);
        header.add(lba, 1, 0);
        header.payloadCrc = new int[1];
        state.apply(header);
    }

    private Checkpoints checkpoints(Bucket bucket) {
        return new Checkpoints(bucket, keys, VOLUME, new Rules(), 1_000_000_000L);
    }

    @Test
    void noCheckpointHidesThatTheVolumeIsDeleted() throws Exception {
        write(0);
        Header header = new Header();
        header.type = Header.Type.DELETE;
        header.slot = state.slot + 1;
        state.apply(header);
        checkpoints(new Bucket(store, scheduler, "test")).write(state, 1, scheduler);
        assertThat(store.objects.keySet()).as("a root doesn't say so").noneMatch(key -> key.startsWith(keys.roots()));
    }

    @Test
    void aRootOfAnotherVersionIsRefused() throws Exception {
        write(0);
        Checkpoints checkpoints = checkpoints(new Bucket(store, scheduler, "test"));
        checkpoints.write(state, 1, scheduler);
        String root = checkpoints.newest();
        for (int version : new int[] {Checkpoints.VERSION - 1, Checkpoints.VERSION + 1, Checkpoints.VERSION}) {
            ByteBuffer bytes = ByteBuffer.wrap(store.objects.get(root)).order(ByteOrder.LITTLE_ENDIAN);
            int end = bytes.limit() - 4;
            bytes.putInt(8, version).putInt(end, Header.crcOf(bytes, 0, end));
            if (version == Checkpoints.VERSION)
                assertThat(checkpoints.load(root).slot).isEqualTo(1);
            else
                assertThatThrownBy(() -> checkpoints.load(root))
                        .isInstanceOf(Corruption.class)
                        .hasMessageContaining("version " + version + ": this gateway knows " + Checkpoints.VERSION);
        }
    }

    @Test
    void aPartWhosePutFailedIsNotNamedByALaterRoot() throws Exception {
        boolean[] down = {true};
        Bucket bucket = new Bucket(
                new Interposed(store) {
                    @Override
                    public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
                        if (down[0] && key.contains("/part/")) throw new IOException("503");
                        return super.putIfAbsent(key, body);
                    }
                },
                scheduler,
                "test");
        Checkpoints checkpoints = checkpoints(bucket);
        write(0);
        scheduler.lock();
        bucket.end(); // as when the gateway is told that it will stop soon: nothing is repeated
        scheduler.unlock();
        assertThatThrownBy(() -> checkpoints.write(state, 1, scheduler)).isInstanceOf(BlockException.class);
        down[0] = false;
        write(ExtentMap.PAGE); // another page
        checkpoints.write(state, 1, scheduler);
        Checkpoints reader = checkpoints(bucket);
        State found = reader.load(reader.newest());
        assertThat(found.slot).isEqualTo(2);
        assertThat(found.map.page(0).count()).isEqualTo(1);
    }
}
