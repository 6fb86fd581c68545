package org.dblock.api.device;

import org.osgi.annotation.versioning.ConsumerType;

/** An OSGi service that is told, after the fact and in order, what becomes of devices. */
@ConsumerType
public interface DeviceListener {
    /** A device is in another state now; {@link Device.State#STARTING} when it is new. */
    void changed(Device device, Device.State state);
}
