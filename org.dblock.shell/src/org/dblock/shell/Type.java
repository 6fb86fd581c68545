package org.dblock.shell;

import java.util.List;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Supplier;
import org.dblock.api.Size;

/**
 * What a parameter's value may be.
 *
 * @param placeholder how usage lines write it; empty: a flag, which needs no value
 * @param read turns the text into the value; throws IllegalArgumentException with a message that shows what is right
 * @param candidates what completion offers
 */
record Type(String placeholder, Function<String, Object> read, Supplier<List<String>> candidates) {
    static final Type FLAG = new Type("", Type::truth, List::of);
    static final Type SIZE = new Type("SIZE", Size::parse, List::of);

    static Type text(String placeholder) {
        return new Type(placeholder, text -> text, List::of);
    }

    /** A text that is to be one of these, and is checked by who uses it: completion only. */
    static Type known(String placeholder, Supplier<List<String>> candidates) {
        return new Type(placeholder, text -> text, candidates);
    }

    /** One of these and nothing else. */
    static Type choice(List<String> choices) {
        return new Type(
                String.join("|", choices),
                text -> {
                    if (choices.contains(text)) return text;
                    throw new IllegalArgumentException("'" + text + "' must be one of " + String.join(", ", choices));
                },
                () -> choices);
    }

    static Type number(long least, long most) {
        return new Type("N", text -> number(text, least, most), List::of);
    }

    /** Seconds, with decimal places if wanted; the value is a Double. */
    static Type seconds(double least, double most) {
        return new Type("SECONDS", text -> seconds(text, least, most), List::of);
    }

    boolean isFlag() {
        return placeholder.isEmpty();
    }

    private static Object truth(String text) {
        if (Set.of("true", "false").contains(text)) return Boolean.valueOf(text);
        throw new IllegalArgumentException("'" + text + "' must be true or false");
    }

    private static Object number(String text, long least, long most) {
        try {
            long number = Long.parseLong(text);
            if (number >= least && number <= most) return number;
        } catch (NumberFormatException e) {
            // said below
        }
        throw new IllegalArgumentException("'" + text + "' must be a number from " + least + " to " + most);
    }

    private static Object seconds(String text, double least, double most) {
        try {
            double number = Double.parseDouble(text);
            if (number >= least && number <= most) return number;
        } catch (NumberFormatException e) {
            // said below
        }
        throw new IllegalArgumentException("'" + text + "' must be seconds, from " + least + " to " + (long) most);
    }
}
