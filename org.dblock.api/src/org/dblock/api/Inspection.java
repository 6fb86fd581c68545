package org.dblock.api;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What an inspection of a volume has found.
 *
 * @param facts what there is to know of it, for people, in this order
 * @param damage what is missing or not what was written; empty: all that was looked at is sound
 */
public record Inspection(Map<String, String> facts, List<Damage> damage) {
    /**
     * Something that is damaged.
     *
     * @param object what holds it, as the storage names it
     * @param problem what is wrong with it
     * @param snapshot the snapshot that shows it; empty: the volume itself does
     * @param offset where in the volume, or the snapshot, it is, in bytes; -1: it is no data of theirs
     * @param length in bytes
     */
    public record Damage(String object, String problem, String snapshot, long offset, long length) {}

    /** Copies what it is given. */
    public Inspection {
        facts = Collections.unmodifiableMap(new LinkedHashMap<>(facts));
        damage = List.copyOf(damage);
    }
}
