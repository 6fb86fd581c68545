package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;

/**
 * What is left to do of deleted volumes: a grave says that a volume is deleted, until all of it is gone. That can be
 * later: what clones use stays until they are gone too. Whoever deletes something sees to all graves, so a deletion
 * that was interrupted is completed by the next.
 */
final class Deletion {
    private static final System.Logger LOG = System.getLogger(Deletion.class.getName());

    private final Bucket bucket;
    private final String prefix;
    private final Rules rules;
    private final long patience;

    Deletion(Bucket bucket, String prefix, Rules rules, long patience) {
        this.bucket = bucket;
        this.prefix = prefix;
        this.rules = rules;
        this.patience = patience;
    }

    /** Says that a volume is deleted, whose log says so already: from now on nobody can begin to use its snapshots. */
    void bury(UUID volume) throws IOException {
        bucket.putIfAbsent(new Keys(prefix, volume).grave(), ByteBuffer.allocate(0), patience);
    }

    /** Deletes what nobody uses of all volumes that are deleted; returns how many have to stay. */
    int purge() throws IOException {
        return purge(null);
    }

    /** The same; of one volume also if its format is unreadable. */
    int purge(UUID damaged) throws IOException {
        while (true) {
            boolean erased = false;
            int left = 0;
            for (ObjectStore.Item item : bucket.listAll(Keys.graves(prefix), patience)) {
                UUID volume =
                        UUID.fromString(item.key().substring(Keys.graves(prefix).length()));
                if (erase(volume, volume.equals(damaged))) erased = true;
                else left++;
            }
            if (left == 0 || !erased) return left; // the end of a clone may be that of its parent
        }
    }

    private boolean erase(UUID volume, boolean damaged) throws IOException {
        Keys keys = new Keys(prefix, volume);
        Format format = null;
        try {
            format = Format.find(bucket, keys, patience);
        } catch (Corruption e) {
            if (!damaged) {
                LOG.log(System.Logger.Level.WARNING, "deleted volume " + volume + " stays: " + e.getMessage());
                return false;
            }
        }
        if (format != null && new Snapshots(bucket, keys, rules, patience).isUsed()) return false;
        erase(keys); // without a format: what was put since, by who came late
        if (format != null && format.isClone())
            bucket.delete(List.of(format.keys(prefix).parent().pin(format.base(), volume.toString())), patience);
        if (format != null || damaged) bucket.delete(List.of(keys.format()), patience);
        bucket.delete(List.of(new Keys(prefix, volume).grave()), patience);
        return true;
    }

    /** Deletes a volume's data, and then what stops an owner that is late. */
    private void erase(Keys keys) throws IOException {
        List<String> late = new ArrayList<>();
        String after = "";
        while (true) {
            List<String> data = new ArrayList<>();
            var some = bucket.list(keys.all(), after, 1000, patience);
            for (ObjectStore.Item item : some) {
                after = item.key();
                boolean mayStop = after.startsWith(keys.logs()) && item.size() == Header.BLOCK;
                if (mayStop) late.add(after);
                else if (!after.equals(keys.format())) data.add(after);
            }
            bucket.delete(data, patience);
            if (some.size() < 1000) break;
        }
        bucket.delete(late, patience);
    }
}
