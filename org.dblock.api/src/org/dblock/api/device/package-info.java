/** What front ends, shells and host applications see: the devices, and how to serve them. */
@Export
@Version("1.1.0")
package org.dblock.api.device;

import org.osgi.annotation.bundle.Export;
import org.osgi.annotation.versioning.Version;
