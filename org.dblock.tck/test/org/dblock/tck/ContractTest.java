package org.dblock.tck;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import java.util.List;
import java.util.Random;
import org.dblock.api.BlockStore;
import org.dblock.api.BlockVolume;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;
import org.junit.platform.launcher.listeners.TestExecutionSummary.Failure;

/** The suite itself: it passes a store that keeps the contract, and catches every way to break it. */
class ContractTest {
    private static ToyStore.Defect defect;

    @ParameterizedTest
    @EnumSource(ToyStore.Defect.class)
    void catchesAStoreThat(ToyStore.Defect which) {
        defect = which;
        LauncherDiscoveryRequest request = LauncherDiscoveryRequestBuilder.request()
                .selectors(selectClass(OnToyStore.class))
                .configurationParameter("junit.platform.reporting.output.dir", "generated/toy-reports")
                .build();
        SummaryGeneratingListener listener = new SummaryGeneratingListener();
        LauncherFactory.create().execute(request, listener);
        List<Failure> failures = listener.getSummary().getFailures();
        assertTrue(listener.getSummary().getTestsFoundCount() > 15);
        if (which == ToyStore.Defect.NONE) {
            for (Failure each : failures)
                throw new AssertionError(each.getTestIdentifier() + " fails", each.getException());
        } else {
            assertFalse(failures.isEmpty(), "not caught: " + which);
            for (Failure each : failures)
                System.out.println(
                        "  " + which + ": " + each.getTestIdentifier().getDisplayName());
        }
    }

    /** Run by the test above only. */
    static class OnToyStore extends BlockVolumeContract {
        private final ToyStore.Disk disk = new ToyStore.Disk();

        @Override
        protected BlockStore newStore() {
            return new ToyStore(disk, defect);
        }

        @Override
        protected BlockStore crash(BlockStore store, BlockVolume volume, Crash level) throws Exception {
            volume.close();
            if (level == Crash.HOST) disk.crash(new Random(1));
            return newStore();
        }

        @Override
        protected int operations() {
            return 100;
        }

        @Override
        protected int size() {
            return 515 << 10;
        }

        @Override
        protected AutoCloseable full(BlockStore store) {
            disk.full = true;
            return () -> disk.full = defect == ToyStore.Defect.STAYS_FULL;
        }
    }
}
