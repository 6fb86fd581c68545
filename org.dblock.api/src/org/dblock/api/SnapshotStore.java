package org.dblock.api;

import java.io.IOException;
import java.util.List;
import org.osgi.annotation.versioning.ConsumerType;

/**
 * A store whose volumes can have snapshots: what a volume was at one moment, kept without a copy. It is registered as a
 * {@link BlockStore}, as any other.
 *
 * <p>Such a store's volumes have an option {@link #OPTION}, {@code VOLUME@SNAPSHOT}. Opened for reading only, a spec
 * with that option shows the snapshot itself. Otherwise it says what a volume begins with that is created, as a clone:
 * it shares what the snapshot holds, and its writes are its own; once there, the volume is opened as any other and the
 * option says nothing more.
 *
 * <p>Snapshots, clones and the volume can be deleted in any order: what is deleted can no longer be seen or used anew,
 * and its storage is given back when the last that shares it is gone. Deleting a volume deletes its snapshots.
 */
@ConsumerType
public interface SnapshotStore extends BlockStore {
    /** The option that names a snapshot. */
    String OPTION = "snapshot";

    /**
     * Makes a snapshot of a volume, open or not, in a time that doesn't depend on its size. It shows one moment in the
     * volume's order of writing, not before what had returned when this was called, so it is what a crash of the host
     * at that moment would have left after a flush. Writes go on meanwhile. When this returns the snapshot is durable.
     *
     * @param spec its name and options say which volume
     * @param snapshot its name, unique among the volume's snapshots: a letter or digit, then letters, digits, dots,
     *     underscores or dashes, at most 64 characters
     * @throws BlockException {@link Reason#EXISTS}, {@link Reason#NOT_FOUND}, {@link Reason#INVALID} for the name,
     *     {@link Reason#IN_USE} if somebody else has the volume, {@link Reason#FENCED}
     */
    void createSnapshot(VolumeSpec spec, String snapshot) throws IOException;

    /**
     * Lists a volume's snapshots, the oldest first.
     *
     * @throws BlockException {@link Reason#NOT_FOUND} if there is no such volume
     */
    List<SnapshotInfo> snapshots(VolumeSpec spec) throws IOException;

    /**
     * Deletes a snapshot. Clones of it go on.
     *
     * @param force also while somebody reads it, who will then get errors
     * @throws BlockException {@link Reason#NOT_FOUND}; {@link Reason#IN_USE} while somebody reads it, with who that is
     */
    void deleteSnapshot(VolumeSpec spec, String snapshot, boolean force) throws IOException;
}
