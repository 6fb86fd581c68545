package org.dblock.api;

import java.util.List;

/**
 * A snapshot of a volume.
 *
 * @param name as {@link SnapshotStore#OPTION} takes it after the volume's name
 * @param size of the volume when it was made, in bytes
 * @param time when it was made, in milliseconds since 1970
 * @param users the clones that share it and those who read it, one line each
 */
public record SnapshotInfo(String name, long size, long time, List<String> users) {
    /** Copies the list. */
    public SnapshotInfo {
        users = List.copyOf(users);
    }
}
