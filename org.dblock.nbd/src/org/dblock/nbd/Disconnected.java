package org.dblock.nbd;

import java.io.IOException;

/** The end of a connection, from either side: nothing can be answered any more. Its message says why. */
final class Disconnected extends IOException {
    private static final long serialVersionUID = 1;

    Disconnected(String why) {
        super(why);
    }

    Disconnected(String why, Throwable cause) {
        super(why, cause);
    }
}
