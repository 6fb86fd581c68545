package org.dblock.core.kernel;

import java.util.Map;
import java.util.regex.Pattern;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.dblock.api.Size;

/**
 * What may follow {@code kernel} in a device's exports.
 *
 * @param name the disk's name; the device's where none is given
 * @param readOnly whether the disk refuses writes, though the device may take them
 * @param partitions whether the kernel reads the partition table and allows partitions
 * @param recoverSeconds how long requests wait in the kernel for a new gateway when this one dies; -1: for ever
 * @param ioTimeoutSeconds how long a request may take before it fails with EIO, although a late write may still reach
 *     the storage; 0: for ever
 * @param queueDepth how many requests may be in flight; 0: the device's queue depth
 * @param maxIo the longest read or write in bytes
 */
record ExportOptions(
        String name,
        boolean readOnly,
        boolean partitions,
        int recoverSeconds,
        int ioTimeoutSeconds,
        int queueDepth,
        int maxIo) {

    private static final int RECOVER_SECONDS = 300;
    private static final int MAX_IO = 1 << 20;
    /** Beyond a month, milliseconds no longer fit the module's 32 bits, or somebody has erred. */
    private static final int MAX_SECONDS = 2_000_000;

    private static final Pattern NAME = Pattern.compile("[A-Za-z][A-Za-z0-9_-]{0,26}");

    /** Reads the options of an export of the device of that name. */
    static ExportOptions of(String device, Map<String, String> options) throws BlockException {
        ExportOptions result = new ExportOptions(device, false, false, RECOVER_SECONDS, 0, 0, MAX_IO);
        for (Map.Entry<String, String> option : options.entrySet())
            result = result.with(option.getKey(), option.getValue());
        if (!NAME.matcher(result.name).matches())
            throw invalid(
                    "'" + result.name + "' can't be the name of a kernel device: 1 to 27 letters, digits, underscores"
                            + " or dashes that begin with a letter; name it with kernel,name=…");
        return result;
    }

    private ExportOptions with(String key, String value) throws BlockException {
        String disk = name;
        boolean only = readOnly, parts = partitions;
        int recover = recoverSeconds, timeout = ioTimeoutSeconds, depth = queueDepth, io = maxIo;
        switch (key) {
            case "name" -> disk = value;
            case "readOnly" -> only = flag(key, value);
            case "partitions" -> parts = flag(key, value);
            case "recoverSeconds" -> recover = value.equals("forever") ? -1 : number(key, value, 0, MAX_SECONDS);
            case "ioTimeoutSeconds" -> timeout = number(key, value, 0, MAX_SECONDS);
            case "queueDepth" -> depth = number(key, value, 1, 1024);
            case "maxIo" -> io = number(key, value, 4096, MAX_IO);
            default ->
                throw invalid("the kernel front end has no option '" + key + "': it has name, readOnly, partitions,"
                        + " recoverSeconds, ioTimeoutSeconds, queueDepth and maxIo");
        }
        if (io % 4096 != 0) throw invalid("maxIo=" + value + ": must be a multiple of 4096");
        return new ExportOptions(disk, only, parts, recover, timeout, depth, io);
    }

    private static boolean flag(String key, String value) throws BlockException {
        return switch (value) {
            case "true", "" -> true;
            case "false" -> false;
            default -> throw invalid(key + "=" + value + ": must be true or false");
        };
    }

    private static int number(String key, String value, int least, int most) throws BlockException {
        try {
            long number = Size.parse(value);
            if (number >= least && number <= most) return (int) number;
        } catch (IllegalArgumentException e) {
            // said below
        }
        String forever = key.equals("recoverSeconds") ? ", or forever" : "";
        throw invalid(key + "=" + value + ": must be a number from " + least + " to " + most + forever);
    }

    private static BlockException invalid(String message) {
        return new BlockException(Reason.INVALID, message);
    }

    int recoverMs() {
        return recoverSeconds < 0 ? Abi.FOREVER : recoverSeconds * 1000;
    }
}
