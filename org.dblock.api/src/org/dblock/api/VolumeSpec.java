package org.dblock.api;

import java.lang.annotation.Annotation;
import java.lang.reflect.Method;
import java.util.HashMap;
import java.util.Map;
import org.osgi.util.converter.Converter;
import org.osgi.util.converter.Converters;
import org.osgi.util.converter.TypeRule;

/**
 * Which volume to open, and how. Immutable but for {@link #inherited()}.
 *
 * @param volume its name within the store: what the backend makes of it (a path, a key prefix, just a name)
 * @param size the size in bytes that a new volume gets, and that an existing one must have; 0: as it is
 * @param blockSize the logical block size in bytes; 0: the store's choice
 * @param readOnly whether to open it for reading only
 * @param create whether to create it where it is absent
 * @param options the backend's own options, by the names of its Metatype definition; values are strings or what Config
 *     Admin stores
 * @param inherited what a predecessor handed over (see {@link BlockVolume#handOver()}); mutable: the volume removes
 *     what it takes
 */
public record VolumeSpec(
        String volume,
        long size,
        int blockSize,
        boolean readOnly,
        boolean create,
        Map<String, Object> options,
        Map<String, Object> inherited) {

    /** Sizes may be written with a unit wherever an option is a number. */
    private static final Converter CONVERTER = Converters.newConverterBuilder()
            .rule(new TypeRule<String, Long>(String.class, Long.class, Size::parse))
            .rule(new TypeRule<String, Long>(String.class, long.class, Size::parse))
            .rule(new TypeRule<String, Integer>(String.class, Integer.class, s -> Math.toIntExact(Size.parse(s))))
            .rule(new TypeRule<String, Integer>(String.class, int.class, s -> Math.toIntExact(Size.parse(s))))
            .rule(new TypeRule<String, Boolean>(String.class, Boolean.class, VolumeSpec::flag))
            .rule(new TypeRule<String, Boolean>(String.class, boolean.class, VolumeSpec::flag))
            .build();

    /** Copies the options. */
    public VolumeSpec {
        options = Map.copyOf(options);
    }

    /** A volume of a given size, created if it is absent, without options. */
    public static VolumeSpec of(String volume, long size) {
        return new VolumeSpec(volume, size, 0, false, true, Map.of(), new HashMap<>());
    }

    /** The same with another block size. */
    public VolumeSpec withBlockSize(int bytes) {
        return new VolumeSpec(volume, size, bytes, readOnly, create, options, inherited);
    }

    /** The same with another size. */
    public VolumeSpec withSize(long bytes) {
        return new VolumeSpec(volume, bytes, blockSize, readOnly, create, options, inherited);
    }

    /** The same, created if absent or not. */
    public VolumeSpec withCreate(boolean wanted) {
        return new VolumeSpec(volume, size, blockSize, readOnly, wanted, options, inherited);
    }

    /** The same, for reading only or not. */
    public VolumeSpec withReadOnly(boolean only) {
        return new VolumeSpec(volume, size, blockSize, only, create, options, inherited);
    }

    /** The same with one more option. */
    public VolumeSpec withOption(String name, Object value) {
        Map<String, Object> more = new HashMap<>(options);
        more.put(name, value);
        return new VolumeSpec(volume, size, blockSize, readOnly, create, more, inherited);
    }

    /** The same with what a predecessor handed over. */
    public VolumeSpec withInherited(Map<String, Object> state) {
        return new VolumeSpec(volume, size, blockSize, readOnly, create, options, state);
    }

    /**
     * The options as an instance of the backend's Metatype definition, with its defaults where nothing is given.
     *
     * @throws BlockException {@link Reason#INVALID} when a value doesn't fit its type
     */
    public <A extends Annotation> A options(Class<A> type) throws BlockException {
        A typed = CONVERTER.convert(options).to(type);
        // conversion is lazy: ask for each value once, so that a bad one is found here
        for (Method option : type.getDeclaredMethods()) {
            try {
                option.setAccessible(true); // the definition may be private to the backend
                option.invoke(typed);
            } catch (ReflectiveOperationException e) {
                Class<?> wanted = option.getReturnType();
                String right = wanted == boolean.class
                        ? "true or false"
                        : wanted.isPrimitive() ? "a number, or a size like 64K" : "a value of another type";
                throw new BlockException(
                        Reason.INVALID,
                        "option " + option.getName() + " '" + options.get(option.getName()) + "': must be " + right,
                        e);
            }
        }
        return typed;
    }

    private static boolean flag(String text) {
        return switch (text.strip()) {
            case "true" -> true;
            case "false" -> false;
            default -> throw new IllegalArgumentException(text);
        };
    }
}
