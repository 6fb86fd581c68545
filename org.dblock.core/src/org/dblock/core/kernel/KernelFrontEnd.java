package org.dblock.core.kernel;

import java.util.Map;
import org.dblock.api.BlockException;
import org.dblock.api.device.Device;
import org.dblock.api.device.Export;
import org.dblock.api.device.FrontEnd;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;

/**
 * Shows devices as block devices of the kernel, {@code /dev/NAME}, through the module {@code dblock}. Is there with and
 * without the module; without it an export says how to get it.
 */
@Component(property = FrontEnd.NAME + "=" + KernelFrontEnd.KERNEL)
public final class KernelFrontEnd implements FrontEnd {
    static final String KERNEL = "kernel";

    /** Framework property: whether a gateway that stops leaves no kernel devices behind but those in use. */
    private static final String REMOVE_DEVICES = "dblock.removeDevices";

    private final Libc libc = new Libc();
    private final BundleContext context;

    /** Made by Declarative Services. */
    @Activate
    public KernelFrontEnd(BundleContext context) {
        this.context = context;
    }

    @Deactivate
    void deactivate() {
        // a thread that is stuck inside a volume closes its channel some day
        if (libc.descriptors() == 0) libc.unregister();
    }

    @Override
    public Export export(Device device, Map<String, String> options) throws BlockException {
        KernelExport export =
                new KernelExport(libc, device, ExportOptions.of(device.name(), options), this::removeDevices);
        export.begin();
        return export;
    }

    private boolean removeDevices() {
        // an update of this bundle is no reason
        return context.getBundle(0).getState() == Bundle.STOPPING
                && Boolean.parseBoolean(context.getProperty(REMOVE_DEVICES));
    }
}
