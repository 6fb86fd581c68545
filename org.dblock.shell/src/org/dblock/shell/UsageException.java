package org.dblock.shell;

/** A command that was not written as it must be; the message says what was wrong and what would be right. */
final class UsageException extends IllegalArgumentException {
    private static final long serialVersionUID = 1;

    UsageException(String message) {
        super(message);
    }

    /** Just the message, for interactive shells print this. */
    @Override
    public String toString() {
        return getMessage();
    }
}
