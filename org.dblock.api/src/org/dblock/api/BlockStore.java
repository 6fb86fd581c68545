package org.dblock.api;

import java.io.IOException;
import java.util.List;
import org.osgi.annotation.versioning.ConsumerType;

/**
 * Opens, creates, lists and deletes the volumes of one kind of storage: the OSGi service that a backend registers.
 *
 * <p>A store is registered with the service property {@link #BACKEND}, the name by which devices ask for it. Where
 * several services have the same name, core takes the one of the highest bundle version, then of the highest service
 * ranking, and moves devices to a better one when it appears.
 *
 * <p>The options of a volume are declared once, by Metatype: an {@code @ObjectClassDefinition} whose factory PID is
 * {@link #OPTIONS} followed by the backend's name. Validation, help, completion and stored configuration come from it;
 * the store reads them with {@link VolumeSpec#options(Class)}.
 *
 * <p>Methods are called by several threads at once. They may block, but not for ever. When the service is unregistered,
 * core flushes and closes every volume of the store before the unregistration returns, unless that takes longer than
 * three seconds: then the volume is abandoned, and its late answers are dropped.
 */
@ConsumerType
public interface BlockStore {
    /** The service property that names the backend, e.g. {@code ramdisk}: letters, digits and dots. */
    String BACKEND = "dblock.backend";

    /** What precedes the backend's name in the factory PID of its options' Metatype definition. */
    String OPTIONS = "org.dblock.volume.";

    /**
     * Opens a volume, and creates it first if the spec says so and it is absent.
     *
     * <p>At most one volume that can be written is open for the same name at a time, unless the store can keep two
     * writers apart: a second one is refused with {@link Reason#IN_USE} and a message that names the holder. What has
     * been written before the open counts as unflushed: the first {@link BlockVolume#flush()} covers it.
     *
     * @throws BlockException {@link Reason#NOT_FOUND}, {@link Reason#INVALID} for options or a geometry that do not
     *     fit, {@link Reason#IN_USE}, {@link Reason#FENCED}, {@link Reason#NO_SPACE} or {@link Reason#IO}
     */
    BlockVolume open(VolumeSpec spec) throws IOException;

    /**
     * Lists the volumes that the store holds where the spec's options point; empty if it can't know.
     *
     * @param spec its options are read, its name is not
     */
    default List<VolumeInfo> list(VolumeSpec spec) throws IOException {
        return List.of();
    }

    /**
     * Destroys a volume and all that it holds; a volume that is absent is not an error.
     *
     * @throws BlockException {@link Reason#IN_USE} while it is open, {@link Reason#UNSUPPORTED} if the store deletes
     *     nothing
     */
    default void delete(VolumeSpec spec) throws IOException {
        throw new BlockException(Reason.UNSUPPORTED, "this backend deletes no volumes");
    }
}
