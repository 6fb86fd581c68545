package org.dblock.core.kernel;

import java.util.Map;
import org.dblock.api.BlockException;
import org.dblock.api.device.Device;
import org.dblock.api.device.Export;
import org.dblock.api.device.FrontEnd;
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

    private final Libc libc = new Libc();
    private final Host host;

    /** Made by Declarative Services. */
    @Activate
    public KernelFrontEnd(BundleContext context) {
        host = new Host(context);
    }

    @Deactivate
    void deactivate() {
        // a thread that is stuck inside a volume closes its channel some day
        if (libc.descriptors() == 0) libc.unregister();
    }

    @Override
    public Export export(Device device, Map<String, String> options) throws BlockException {
        KernelExport export = new KernelExport(libc, device, ExportOptions.of(device.name(), options), host);
        export.begin();
        return export;
    }
}
