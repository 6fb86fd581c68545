package org.dblock.api.device;

import java.util.Map;
import org.dblock.api.BlockException;
import org.osgi.annotation.versioning.ConsumerType;

/**
 * A way to serve devices: an OSGi service that the NBD server and the kernel queues register.
 *
 * <p>Core calls {@link #export} for each device that is configured for it, once the device has been online, and closes
 * the exports when the device goes away, when somebody ends them, or before the front end's service is gone.
 */
@ConsumerType
public interface FrontEnd {
    /** The service property that names the front end, e.g. {@code nbd}. */
    String NAME = "dblock.frontend";

    /**
     * Begins to serve a device.
     *
     * @param options what followed the front end's name in {@link DeviceSpec#exports()}
     * @throws BlockException {@link org.dblock.api.Reason#INVALID} for an option it doesn't know, and whatever else
     *     stands in the way, with a message that says what to do
     */
    Export export(Device device, Map<String, String> options) throws BlockException;
}
