package org.dblock.core;

import org.dblock.api.BlockStore;
import org.osgi.framework.Bundle;
import org.osgi.framework.Version;

/**
 * A store that is registered now.
 *
 * @param backend the name by which devices ask for it
 * @param service the store itself, held as long as it is registered
 * @param bundle the bundle that brought it; null in tests
 * @param version that bundle's version
 * @param ranking its service ranking
 * @param serviceId its service id: of two that are equal otherwise, the older one stays
 */
record Store(String backend, BlockStore service, Bundle bundle, Version version, int ranking, long serviceId) {

    boolean betterThan(Store other) {
        int order = version.compareTo(other.version);
        if (order == 0) order = Integer.compare(ranking, other.ranking);
        if (order == 0) order = Long.compare(other.serviceId, serviceId);
        return order > 0;
    }

    /** Name and version, for people. */
    String describe() {
        return backend + " " + version;
    }
}
