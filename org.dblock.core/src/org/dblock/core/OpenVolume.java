package org.dblock.core;

import org.dblock.api.BlockVolume;
import org.dblock.api.Geometry;

/** A volume between its opening and its closing, with the gate before it. */
final class OpenVolume {
    final BlockVolume volume;
    final Store store;
    final Gate gate = new Gate();
    /** Which contents these are: connections that knew others are not served. */
    final int epoch;

    /** What requests are checked against; changes with a resize. */
    volatile Geometry geometry;
    /** Set when a drain took too long: answers that arrive later count for nothing, the requests are made again. */
    volatile boolean abandoned;

    OpenVolume(BlockVolume volume, Store store, Geometry geometry, int epoch) {
        this.volume = volume;
        this.store = store;
        this.geometry = geometry;
        this.epoch = epoch;
    }
}
