package org.dblock.dist;

import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceListener;
import org.dblock.api.device.Export;
import org.osgi.service.component.annotations.Component;

/** Tells the person at the console, once, how to use the first device that is served. */
@Component
public final class Welcome implements DeviceListener {
    private static final String NBD = "nbd";

    private boolean told;

    @Override
    public void changed(Device device, Device.State state) {
        // nobody else can come where standard input is the one client
        if (state != Device.State.ONLINE || System.getProperty("dblock.nbd.stdio") != null) return;
        synchronized (this) {
            if (told) return;
            told = true;
        }
        Thread waiter = new Thread(() -> tellOnceServed(device), "dblock welcome");
        waiter.setDaemon(true);
        waiter.start();
    }

    /** A device is online a moment before its exports are there. */
    private static void tellOnceServed(Device device) {
        try {
            for (int i = 0; i < 500; i++) {
                for (Export export : device.exports()) {
                    if (!export.frontEnd().equals(NBD)) continue;
                    System.out.print(text(device.name(), export.address()));
                    System.out.flush();
                    return;
                }
                Thread.sleep(20);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    static String text(String name, String address) {
        return """

            %1$s is served. As a disk of NBD clients:
              nbdinfo '%2$s'
              qemu-img info '%2$s'
            As a file system, without a kernel module:
              mkdir -p /tmp/%1$s && touch /tmp/%1$s/disk
              nbdfuse /tmp/%1$s/disk '%2$s' &
              mkfs.ext4 /tmp/%1$s/disk && mount -o loop /tmp/%1$s/disk /mnt

            """.formatted(name, address);
    }
}
