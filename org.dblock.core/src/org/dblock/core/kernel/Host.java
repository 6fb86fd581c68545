package org.dblock.core.kernel;

import java.util.Dictionary;
import java.util.Hashtable;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import org.dblock.api.BlockStore;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;
import org.osgi.framework.InvalidSyntaxException;
import org.osgi.framework.ServiceReference;
import org.osgi.framework.ServiceRegistration;

/**
 * What kernel exports have to know of the framework that they run in; and where a channel is kept while this bundle is
 * replaced: with the framework's own bundle, as objects of the JDK's and the framework's classes.
 */
class Host {
    /** Framework property: whether a gateway that stops leaves no kernel devices behind but those in use. */
    private static final String REMOVE_DEVICES = "dblock.removeDevices";

    private static final String CHANNEL = "dblock.kernel.channel";
    private static final String REGISTRATION = "registration", STORES = "stores";

    private final BundleContext context;

    Host(BundleContext context) {
        this.context = context;
    }

    /** Whether the whole gateway stops, and not just this bundle. */
    boolean stops() {
        return context.getBundle(0).getState() == Bundle.STOPPING;
    }

    /** Whether kernel devices are to go with the gateway. */
    boolean removesDevices() {
        return stops() && Boolean.parseBoolean(context.getProperty(REMOVE_DEVICES));
    }

    /** Keeps a device's channel for this bundle's next version. */
    void keep(UUID device, String backend, Map<String, Object> channel) {
        channel.put(STORES, stores(backend).toString());
        Dictionary<String, Object> properties = new Hashtable<>(Map.of(CHANNEL, device.toString()));
        ServiceRegistration<?> registration =
                context.getBundle(0).getBundleContext().registerService(Map.class, channel, properties);
        channel.put(REGISTRATION, registration);
    }

    /** The channel that was kept for a device; null if there is none. */
    @SuppressWarnings("unchecked")
    Map<String, Object> take(UUID device) {
        try {
            for (ServiceReference<?> each :
                    context.getServiceReferences(Map.class, "(" + CHANNEL + "=" + device + ")")) {
                Map<String, Object> channel = (Map<String, Object>) context.getService(each);
                if (channel == null) continue;
                ((ServiceRegistration<?>) channel.remove(REGISTRATION)).unregister();
                return channel;
            }
            return null;
        } catch (InvalidSyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Whether contents in memory are still those that the channel's clients know: no store has come or gone. */
    boolean sameStores(String backend, Map<String, Object> channel) {
        return stores(backend).toString().equals(channel.get(STORES));
    }

    /** The services of a backend, by numbers that are never used again. */
    private Set<Long> stores(String backend) {
        try {
            Set<Long> ids = new TreeSet<>();
            context.getServiceReferences(BlockStore.class, "(" + BlockStore.BACKEND + "=" + backend + ")")
                    .forEach(each -> ids.add((Long) each.getProperty("service.id")));
            return ids;
        } catch (InvalidSyntaxException e) {
            throw new IllegalStateException(e);
        }
    }
}
