package org.dblock.core.kernel;

import java.util.UUID;

/**
 * A device of the kernel module: what it was created with.
 *
 * @param name the disk's name
 * @param uuid its identity, which a server gives when it attaches
 * @param capacity in bytes
 * @param flags the {@code F_} bits of {@link Abi}
 * @param logicalBlock in bytes
 * @param physicalBlock in bytes
 * @param optimalIo in bytes; 0: unknown
 * @param maxIo the longest read or write, which is the size of a slot, in bytes
 * @param depth how many requests may be in flight, which is the number of slots
 * @param ioTimeoutMs how long a delivered request waits for its answer; 0: for ever
 * @param recoverMs how long requests wait for a new server after the server's death; 0: not at all, {@link Abi#FOREVER}
 */
record KernelDevice(
        String name,
        UUID uuid,
        long capacity,
        int flags,
        int logicalBlock,
        int physicalBlock,
        int optimalIo,
        int maxIo,
        int depth,
        int ioTimeoutMs,
        int recoverMs) {

    /**
     * How a device is doing.
     *
     * @param device what it was created with
     * @param state one of the {@code STATE_} numbers of {@link Abi}
     * @param serverPid the process that serves it; 0: none
     * @param openers how often the disk is open; a mount counts as one
     * @param generation how many servers it has had
     */
    record Status(KernelDevice device, int state, int serverPid, int openers, long generation) {}

    KernelDevice withCapacity(long bytes) {
        return new KernelDevice(
                name, uuid, bytes, flags, logicalBlock, physicalBlock, optimalIo, maxIo, depth, ioTimeoutMs, recoverMs);
    }
}
