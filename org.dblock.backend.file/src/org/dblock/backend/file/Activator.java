package org.dblock.backend.file;

import org.osgi.framework.BundleActivator;
import org.osgi.framework.BundleContext;

/** Binds libc while the bundle runs: JNA would hold on to the class of a bundle that is gone. */
public final class Activator implements BundleActivator {
    /** For the framework. */
    public Activator() {}

    @Override
    public void start(BundleContext context) {
        Posix.bind();
    }

    @Override
    public void stop(BundleContext context) {
        Posix.unbind();
    }
}
