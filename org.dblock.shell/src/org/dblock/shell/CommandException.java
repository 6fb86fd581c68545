package org.dblock.shell;

import org.dblock.api.BlockException;

/** A command that failed for a reason that its message tells in full. */
final class CommandException extends Exception {
    private static final long serialVersionUID = 1;

    CommandException(BlockException cause) {
        super(cause.getMessage(), cause);
    }

    /** Just the message, for interactive shells print this. */
    @Override
    public String toString() {
        return getMessage();
    }
}
