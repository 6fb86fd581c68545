package org.dblock.api.device;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Dictionary;
import java.util.Hashtable;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.dblock.api.Size;

/**
 * What a device is made of, as its configuration stores it. Immutable.
 *
 * <p>The keys of the configuration are the components' names ({@code exports} is an array of strings), and
 * {@code option.NAME} for each of the backend's options.
 *
 * @param name a letter or digit, then letters, digits, dots, underscores or dashes; at most 31 characters
 * @param backend the backend's name
 * @param volume the volume's name within the backend; empty: the device's name
 * @param size in bytes; 0: that of the existing volume
 * @param blockSize the logical block size in bytes; 0: the backend's choice
 * @param readOnly whether writes are refused
 * @param create whether to create the volume where it is absent
 * @param queueDepth how many requests may be inside the volume at a time, 1 to 1024
 * @param parkSeconds how long requests wait for a backend that went away before they fail with EIO; 0: for ever
 * @param exports the front ends that serve it, each a name with options: {@code nbd}, {@code nbd,readOnly=true}
 * @param options the backend's options
 */
public record DeviceSpec(
        String name,
        String backend,
        String volume,
        long size,
        int blockSize,
        boolean readOnly,
        boolean create,
        int queueDepth,
        int parkSeconds,
        List<String> exports,
        Map<String, Object> options) {

    /** The queue depth where none is given. */
    public static final int QUEUE_DEPTH = 128;

    /** The park timeout in seconds where none is given. */
    public static final int PARK_SECONDS = 60;

    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,30}");
    private static final String OPTION = "option.";

    /** Copies the lists; an empty volume becomes the device's name. */
    public DeviceSpec {
        if (volume == null || volume.isEmpty()) volume = name;
        exports = List.copyOf(exports);
        options = Map.copyOf(options);
    }

    /** A device with defaults for everything else: created if absent, no exports. */
    public static DeviceSpec of(String name, String backend, long size) {
        return new DeviceSpec(name, backend, "", size, 0, false, true, QUEUE_DEPTH, PARK_SECONDS, List.of(), Map.of());
    }

    /** The same with these exports. */
    public DeviceSpec withExports(List<String> list) {
        return new DeviceSpec(
                name, backend, volume, size, blockSize, readOnly, create, queueDepth, parkSeconds, list, options);
    }

    /** The same with these options of the backend. */
    public DeviceSpec withOptions(Map<String, Object> map) {
        return new DeviceSpec(
                name, backend, volume, size, blockSize, readOnly, create, queueDepth, parkSeconds, exports, map);
    }

    /** The same with another volume. */
    public DeviceSpec withVolume(String other) {
        return new DeviceSpec(
                name, backend, other, size, blockSize, readOnly, create, queueDepth, parkSeconds, exports, options);
    }

    /** The same with another size. */
    public DeviceSpec withSize(long bytes) {
        return new DeviceSpec(
                name, backend, volume, bytes, blockSize, readOnly, create, queueDepth, parkSeconds, exports, options);
    }

    /** The same with another park timeout. */
    public DeviceSpec withParkSeconds(int seconds) {
        return new DeviceSpec(
                name, backend, volume, size, blockSize, readOnly, create, queueDepth, seconds, exports, options);
    }

    /**
     * Reads a configuration.
     *
     * @throws BlockException {@link Reason#INVALID}, naming the key and what it takes
     */
    public static DeviceSpec of(Map<String, ?> configuration) throws BlockException {
        Map<String, Object> options = new LinkedHashMap<>();
        configuration.forEach((key, value) -> {
            if (key.startsWith(OPTION)) options.put(key.substring(OPTION.length()), value);
        });
        DeviceSpec spec = new DeviceSpec(
                text(configuration, "name"),
                text(configuration, "backend"),
                text(configuration, "volume"),
                number(configuration, "size", 0, 0, Long.MAX_VALUE),
                (int) number(configuration, "blockSize", 0, 0, 4096),
                flag(configuration, "readOnly", false),
                flag(configuration, "create", true),
                (int) number(configuration, "queueDepth", QUEUE_DEPTH, 1, 1024),
                (int) number(configuration, "parkSeconds", PARK_SECONDS, 0, Integer.MAX_VALUE),
                strings(configuration.get("exports")),
                options);
        spec.check();
        return spec;
    }

    /**
     * Checks what can be checked without the backend.
     *
     * @throws BlockException {@link Reason#INVALID}, naming the value and what would be right
     */
    public void check() throws BlockException {
        if (!NAME.matcher(name).matches())
            throw invalid("device name '" + name
                    + "': must be 1 to 31 letters, digits, dots, underscores or dashes and begin with a letter"
                    + " or digit");
        if (backend.isEmpty()) throw invalid("device '" + name + "' names no backend: set backend, e.g. to ramdisk");
        if (blockSize != 0 && (blockSize < 512 || blockSize > 4096 || Integer.bitCount(blockSize) != 1))
            throw invalid("block size " + blockSize + ": must be 512, 1024, 2048 or 4096");
        int unit = blockSize == 0 ? 512 : blockSize;
        if (size < 0 || size % unit != 0)
            throw invalid("size " + size + ": must be a multiple of the block size, " + unit);
        if (queueDepth < 1 || queueDepth > 1024) throw invalid("queue depth " + queueDepth + ": must be 1 to 1024");
        if (parkSeconds < 0) throw invalid("park timeout " + parkSeconds + " s: must be 0 (for ever) or more");
    }

    /** This device's configuration. */
    public Dictionary<String, Object> configuration() {
        Dictionary<String, Object> table = new Hashtable<>();
        table.put("name", name);
        table.put("backend", backend);
        table.put("volume", volume);
        table.put("size", size);
        table.put("blockSize", blockSize);
        table.put("readOnly", readOnly);
        table.put("create", create);
        table.put("queueDepth", queueDepth);
        table.put("parkSeconds", parkSeconds);
        table.put("exports", exports.toArray(String[]::new));
        options.forEach((key, value) -> table.put(OPTION + key, value));
        return table;
    }

    private static String text(Map<String, ?> configuration, String key) {
        Object value = configuration.get(key);
        return value == null ? "" : value.toString().strip();
    }

    private static long number(Map<String, ?> configuration, String key, long absent, long least, long most)
            throws BlockException {
        Object value = configuration.get(key);
        if (value == null) return absent;
        long number;
        try {
            number = value instanceof Number n ? n.longValue() : Size.parse(value.toString());
        } catch (IllegalArgumentException e) {
            throw invalid(key + ": " + e.getMessage());
        }
        if (number < least || number > most) throw invalid(key + " " + value + ": must be " + least + " to " + most);
        return number;
    }

    private static boolean flag(Map<String, ?> configuration, String key, boolean absent) throws BlockException {
        Object value = configuration.get(key);
        if (value == null) return absent;
        return switch (value.toString().strip()) {
            case "true" -> true;
            case "false" -> false;
            default -> throw invalid(key + " '" + value + "': must be true or false");
        };
    }

    /** A list of strings, as Config Admin's typed files, or a text with blanks between, have it. */
    private static List<String> strings(Object value) {
        List<String> list = new ArrayList<>();
        if (value instanceof Object[] array) {
            for (Object each : array) list.add(each.toString().strip());
        } else if (value instanceof Collection<?> collection) {
            for (Object each : collection) list.add(each.toString().strip());
        } else if (value != null && !value.toString().isBlank()) {
            list.addAll(List.of(value.toString().strip().split("\\s+")));
        }
        return list;
    }

    private static BlockException invalid(String message) {
        return new BlockException(Reason.INVALID, message);
    }
}
