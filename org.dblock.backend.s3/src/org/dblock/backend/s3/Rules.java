package org.dblock.backend.s3;

/**
 * The clauses on which safety hangs, each by itself, so that the tests can break one and show that the simulation
 * notices. What they are for: docs/s3-format.md.
 */
class Rules {
    /** Where the log goes on after a takeover at a slot: beyond all that the old owner may still put. */
    long resumeAt(long slot, int window) {
        return slot + window + 64;
    }

    /** Whether nothing that a taker has read can have been deleted meanwhile: looked at before its takeover is put … */
    boolean unchangedBefore(String rootRead, String newestRoot) {
        return rootRead.equals(newestRoot);
    }

    /** … and after it. */
    boolean unchangedAfter(String rootRead, String newestRoot) {
        return rootRead.equals(newestRoot);
    }

    /** Whether an object that was there already is what this owner tried to put, its reply lost. */
    boolean isOwn(Header mine, Header found) {
        return found.epoch == mine.epoch && found.nonce == mine.nonce && found.crc == mine.crc;
    }

    /** Whether a journal holds what the log's last owner wrote. */
    boolean isOurs(Journal journal, State state) {
        return journal.knows(state.nonce);
    }

    /** Whether a stored object may be applied while older ones are still under way. */
    boolean appliesEarly() {
        return false;
    }

    /** The epoch in the journal's records. */
    long recordEpoch(long epoch) {
        return epoch;
    }

    /** The record after which a journal goes on. */
    long lastRecord(long ofJournal, long ofLog) {
        return Math.max(ofJournal, ofLog);
    }

    /** Whether an idle owner looks for a takeover. */
    boolean looksAhead() {
        return true;
    }

    /** Whether objects that the newest root no longer needs may go while the older root needs them. */
    boolean forgetsOlderRoot() {
        return false;
    }

    /** Whether takeovers stay while the volume exists. */
    boolean keepsTakeovers() {
        return true;
    }

    /** Whether objects stay that a snapshot shows. */
    boolean keepsWhatSnapshotsShow() {
        return true;
    }

    /** Whether the parts stay that a snapshot's root names. */
    boolean keepsPartsOfSnapshots() {
        return true;
    }

    /** Whether a checkpoint waits until the snapshots before it are written. */
    boolean writesSnapshotsFirst() {
        return true;
    }

    /** Whether who wants to use a snapshot says so before it looks whether the snapshot is being deleted. */
    boolean pinsBeforeLooking() {
        return true;
    }

    /** Whether a deleted snapshot, or volume, stays while somebody uses it. */
    boolean heedsPins() {
        return true;
    }

    /** Whether a flush waits for the local disk. */
    boolean syncs() {
        return true;
    }

    /** Whether an object beyond a gap shows that the gap was an object once. */
    boolean beyondWindow(long slot, long last, int window) {
        return slot > last + window;
    }

    /** Whether a copied extent is still what it was copied from. */
    boolean stillThere(long object, int at, long sourceSlot, int sourceAt) {
        return object == sourceSlot && at == sourceAt;
    }

    /** Whether the journal's space is written again only when a synced header no longer needs it. */
    boolean headerBeforeReuse() {
        return true;
    }

    /** The last record that counts as stored remotely. */
    long stored(long contiguous, long newestStored) {
        return contiguous;
    }
}
