package org.dblock.api;

import java.io.IOException;

/** A failure with a {@link Reason}; its message names the offending value and says what would be right. */
public class BlockException extends IOException {
    private static final long serialVersionUID = 1;

    private final Reason reason;

    /** A failure of the given kind. */
    public BlockException(Reason reason, String message) {
        super(message);
        this.reason = reason;
    }

    /** A failure of the given kind that another one caused. */
    public BlockException(Reason reason, String message, Throwable cause) {
        super(message, cause);
        this.reason = reason;
    }

    /** The kind of failure. */
    public Reason reason() {
        return reason;
    }

    /** The kind of any failure: its own where it is a {@link BlockException}, else {@link Reason#IO}. */
    public static Reason reasonOf(Throwable failure) {
        return failure instanceof BlockException e ? e.reason : Reason.IO;
    }
}
