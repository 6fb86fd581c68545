package org.dblock.api.device;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.dblock.api.BlockException;
import org.dblock.api.Inspection;
import org.dblock.api.SnapshotInfo;
import org.dblock.api.VolumeInfo;
import org.osgi.annotation.versioning.ProviderType;

/**
 * The devices of this gateway: the service by which a shell or a host application manages them.
 *
 * <p>A device is a Config Admin factory configuration of the PID {@link #PID}, so it survives restarts; this service
 * writes such configurations, and devices that others configure appear here too. Thread-safe.
 */
@ProviderType
public interface Devices {
    /** The factory PID of a device's configuration; its keys are {@link DeviceSpec}'s. */
    String PID = "org.dblock.device";

    /** All devices, by name. */
    List<Device> list();

    /** The device of that name. */
    Optional<Device> find(String name);

    /**
     * Checks a device's specification, stores it and waits until the device is online.
     *
     * @throws org.dblock.api.BlockException when the specification isn't right, the name is taken, or the volume can't
     *     be opened: then nothing is stored
     */
    Device create(DeviceSpec spec) throws BlockException;

    /**
     * Flushes a device, ends its exports and removes it with its configuration; its volume's contents stay.
     *
     * @param force also when clients have it open, and when its flush fails
     * @throws BlockException {@link org.dblock.api.Reason#IN_USE} with the clients' names,
     *     {@link org.dblock.api.Reason#NOT_FOUND}, {@link org.dblock.api.Reason#UNSUPPORTED} for a device that is
     *     configured by a file, or what the flush failed with
     */
    void remove(String name, boolean force) throws BlockException;

    /** Changes a device's size, for its clients too, and stores it. */
    void resize(String name, long size) throws BlockException;

    /**
     * Serves a device through one more front end, and stores that.
     *
     * @param export the front end's name, with options: {@code nbd} or {@code nbd,readOnly=true}
     */
    void export(String name, String export) throws BlockException;

    /**
     * Ends what {@link #export} began.
     *
     * @param frontEnd the front end's name
     * @param force also when clients are connected through it
     */
    void unexport(String name, String frontEnd, boolean force) throws BlockException;

    /** The backends that are there now. */
    List<Backend> backends();

    /** The front ends that are there now, by name. */
    List<String> frontEnds();

    /**
     * The volumes that a backend holds where its options point.
     *
     * @param options the backend's options, as in {@link DeviceSpec#options()}
     */
    List<VolumeInfo> volumes(String backend, Map<String, Object> options) throws BlockException;

    /**
     * Verifies a volume where it lies, open or not.
     *
     * @param options the backend's options, as in {@link DeviceSpec#options()}
     * @param scrub whether all data are read, too
     * @throws BlockException {@link org.dblock.api.Reason#UNSUPPORTED} if the backend can't
     */
    Inspection inspect(String backend, String volume, Map<String, Object> options, boolean scrub) throws BlockException;

    /**
     * Makes a snapshot of a device's volume, while it goes on: one moment in the order of writing, not before what had
     * returned when this was called. Of an outer cache, as that of a mounted file system, it knows nothing.
     *
     * @throws BlockException {@link org.dblock.api.Reason#UNSUPPORTED} if the backend makes no snapshots, and what
     *     {@link org.dblock.api.SnapshotStore#createSnapshot} fails with
     */
    void snapshot(String name, String snapshot) throws BlockException;

    /** The snapshots of a device's volume, the oldest first. */
    List<SnapshotInfo> snapshots(String name) throws BlockException;

    /**
     * Deletes a snapshot of a device's volume; clones of it go on.
     *
     * @param force also while somebody reads it
     */
    void deleteSnapshot(String name, String snapshot, boolean force) throws BlockException;

    /** Destroys a volume that no device uses. */
    void deleteVolume(String backend, String volume, Map<String, Object> options) throws BlockException;
}
