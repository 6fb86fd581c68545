package org.dblock.api;

/** Why something failed: the kinds of failure that a client is told apart, each with its Linux errno. */
public enum Reason {
    /** The storage failed; also whatever a volume throws that is no {@link BlockException}. */
    IO(5, "input/output error"),
    /** The storage is full, or a limit is reached; may heal. */
    NO_SPACE(28, "no space left"),
    /** A write to what can only be read. */
    READ_ONLY(30, "read-only"),
    /** The operation does not exist here. */
    UNSUPPORTED(95, "not supported"),
    /** A bad argument: range, option, name, geometry. */
    INVALID(22, "invalid"),
    /** No such volume, device, backend or front end. */
    NOT_FOUND(2, "not found"),
    /** Something of that name exists. */
    EXISTS(17, "exists already"),
    /** Somebody else has it open. */
    IN_USE(16, "in use"),
    /** Another gateway has taken the volume over; this one must not go on. */
    FENCED(116, "taken over by another gateway"),
    /** No answer in time. */
    TIMED_OUT(110, "timed out"),
    /** The process is about to end. */
    SHUTTING_DOWN(108, "shutting down");

    private final int errno;
    private final String words;

    Reason(int errno, String words) {
        this.errno = errno;
        this.words = words;
    }

    /** The errno on Linux (the generic numbers, which x86 and ARM share). */
    public int errno() {
        return errno;
    }

    /** A few words for people. */
    public String words() {
        return words;
    }
}
