/** The contract suite for backends: extend {@link org.dblock.tck.BlockVolumeContract} and say how to make the store. */
@Export
@Version("1.0.0")
package org.dblock.tck;

import org.osgi.annotation.bundle.Export;
import org.osgi.annotation.versioning.Version;
