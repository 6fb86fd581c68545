package org.dblock.backend.ramdisk;

import java.util.concurrent.atomic.AtomicLong;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.dblock.api.Size;

/** The memory that all ramdisks together may take. Thread-safe. */
final class Budget {
    private final AtomicLong used = new AtomicLong();
    private volatile long limit;

    Budget(long limit) {
        this.limit = limit;
    }

    /** Changes the limit; what is in use beyond it stays. */
    void limit(long bytes) {
        limit = bytes;
    }

    long limit() {
        return limit;
    }

    long used() {
        return used.get();
    }

    /** Takes memory within the limit. */
    void take(long bytes) throws BlockException {
        if (used.addAndGet(bytes) <= limit) return;
        used.addAndGet(-bytes);
        throw new BlockException(
                Reason.NO_SPACE,
                "all ramdisks together are at their limit of " + Size.format(limit)
                        + ": discard or delete something, or raise 'limit' of org.dblock.backend.ramdisk");
    }

    /** Counts memory that is in use already, whatever the limit. */
    void count(long bytes) {
        used.addAndGet(bytes);
    }

    void give(long bytes) {
        used.addAndGet(-bytes);
    }
}
