/** What the author of a backend sees: a store of volumes, and the volume that core reads and writes. */
@Export
@Version("1.2.0")
package org.dblock.api;

import org.osgi.annotation.bundle.Export;
import org.osgi.annotation.versioning.Version;
