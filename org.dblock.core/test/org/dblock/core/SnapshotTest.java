package org.dblock.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.dblock.core.DeviceTest.fails;
import static org.dblock.core.Gateway.SIZE;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.dblock.api.BlockException;
import org.dblock.api.BlockVolume;
import org.dblock.api.Reason;
import org.dblock.api.SnapshotInfo;
import org.dblock.api.SnapshotStore;
import org.dblock.api.VolumeSpec;
import org.dblock.api.device.DeviceSpec;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.osgi.framework.Version;

/** Snapshots are made by the store that serves the device, if it can. */
class SnapshotTest {
    private final Gateway gateway = new Gateway();
    private final DeviceRegistry registry = gateway.registry;
    private final FakeStore plain = gateway.add(FakeStore.durable());
    private final Able able = new Able();

    /** A store that says what it was asked. */
    private final class Able implements SnapshotStore {
        final List<String> calls = new CopyOnWriteArrayList<>();
        BlockException failure;

        @Override
        public BlockVolume open(VolumeSpec spec) throws IOException {
            return plain.open(spec);
        }

        @Override
        public void createSnapshot(VolumeSpec spec, String snapshot) throws IOException {
            if (failure != null) throw failure;
            calls.add("create " + spec.volume() + "@" + snapshot + " " + spec.options());
        }

        @Override
        public List<SnapshotInfo> snapshots(VolumeSpec spec) {
            return List.of(new SnapshotInfo(spec.volume() + " 1", 4096, 7, new ArrayList<>()));
        }

        @Override
        public void deleteSnapshot(VolumeSpec spec, String snapshot, boolean force) {
            calls.add("delete " + spec.volume() + "@" + snapshot + (force ? " by force" : ""));
        }
    }

    @AfterEach
    void close() {
        gateway.close();
    }

    private void create() throws BlockException {
        registry.storeArrived(new Store("able", able, null, Version.emptyVersion, 0, 99));
        registry.create(DeviceSpec.of("disk", "able", SIZE).withVolume("vault"));
    }

    @Test
    void theStoreOfADeviceMakesListsAndDeletesThem() throws BlockException {
        create();
        registry.snapshot("disk", "monday");
        assertThat(registry.snapshots("disk")).extracting(SnapshotInfo::name).containsExactly("vault 1");
        registry.deleteSnapshot("disk", "monday", true);
        assertThat(able.calls).containsExactly("create vault@monday {}", "delete vault@monday by force");
        able.failure = new BlockException(Reason.EXISTS, "there is one");
        fails(Reason.EXISTS, "there is one", () -> registry.snapshot("disk", "monday"));
    }

    @Test
    void aBackendThatMakesNoneIsSaidToMakeNone() throws BlockException {
        gateway.create("disk");
        fails(Reason.UNSUPPORTED, "fake 1.0.0 makes no snapshots", () -> registry.snapshot("disk", "monday"));
        fails(Reason.UNSUPPORTED, "fake 1.0.0 makes no snapshots", () -> registry.snapshots("disk"));
        fails(
                Reason.UNSUPPORTED,
                "fake 1.0.0 makes no snapshots",
                () -> registry.deleteSnapshot("disk", "monday", false));
        fails(Reason.NOT_FOUND, "no device 'other'", () -> registry.snapshot("other", "monday"));
    }

    @Test
    void aDeviceThatIsNotServedHasNoMomentToKeep() throws BlockException {
        create();
        registry.find("disk").get().park();
        fails(Reason.IO, "parked on command", () -> registry.snapshot("disk", "monday"));
        registry.find("disk").get().resume();
        registry.snapshot("disk", "monday");
    }
}
