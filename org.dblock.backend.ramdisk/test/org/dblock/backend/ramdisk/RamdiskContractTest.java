package org.dblock.backend.ramdisk;

import org.dblock.api.BlockStore;
import org.dblock.tck.BlockVolumeContract;

class RamdiskContractTest extends BlockVolumeContract {
    @Override
    protected BlockStore newStore() {
        return new RamBlockStore(RamBlockStoreTest.limit("64M"));
    }

    @Override
    protected void release(BlockStore store) {
        ((RamBlockStore) store).deactivate();
    }

    @Override
    protected AutoCloseable full(BlockStore store) {
        ((RamBlockStore) store).modified(RamBlockStoreTest.limit("1M"));
        return () -> ((RamBlockStore) store).modified(RamBlockStoreTest.limit("64M"));
    }
}
