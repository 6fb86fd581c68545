package org.dblock.api;

import java.io.IOException;
import org.osgi.annotation.versioning.ConsumerType;

/**
 * A store that can verify its volumes where they lie, open or not. It is registered as a {@link BlockStore}, as any
 * other.
 */
@ConsumerType
public interface InspectableStore extends BlockStore {
    /**
     * Reads a volume and its snapshots and verifies them; whoever has it open goes on and doesn't notice. Changes
     * nothing.
     *
     * @param spec its name and options say which volume
     * @param scrub whether all data are read and verified, and not only what describes them; takes as long as that
     *     takes
     * @throws BlockException {@link Reason#NOT_FOUND}; {@link Reason#IO} if the storage doesn't answer. Damage is no
     *     exception but a result.
     */
    Inspection inspect(VolumeSpec spec, boolean scrub) throws IOException;
}
