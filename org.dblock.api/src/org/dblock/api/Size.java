package org.dblock.api;

import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Sizes as people write them: {@code 512}, {@code 64K}, {@code 1.5G}; units are powers of 1024. */
public final class Size {
    private static final Pattern FORM = Pattern.compile("(\\d+)(?:\\.(\\d{1,6}))?\\s*([KMGTP]?)(?:I?B)?");
    private static final String UNITS = " KMGTP";

    private Size() {}

    /**
     * Reads a size.
     *
     * @return bytes
     * @throws IllegalArgumentException with a message that shows the forms that are right
     */
    public static long parse(String text) {
        Matcher m = FORM.matcher(text.strip().toUpperCase(Locale.ROOT));
        if (m.matches()) {
            try {
                long unit = 1L << 10 * (m.group(3).isEmpty() ? 0 : UNITS.indexOf(m.group(3)));
                long whole = Math.multiplyExact(Long.parseLong(m.group(1)), unit);
                if (m.group(2) == null) return whole;
                double part = Double.parseDouble("0." + m.group(2)) * unit;
                if (part == Math.rint(part)) return Math.addExact(whole, (long) part);
            } catch (ArithmeticException | NumberFormatException e) {
                throw new IllegalArgumentException("size '" + text + "' is too large: at most 8191P", e);
            }
        }
        throw new IllegalArgumentException(
                "'" + text + "' is no size: write bytes or a unit, like 4096, 512K, 10G or 1.5T");
    }

    /** Writes a size so that {@link #parse} reads the same bytes, in the largest unit that is exact. */
    public static String exact(long bytes) {
        int unit = 0;
        while (bytes != 0 && bytes % 1024 == 0 && unit < 5) {
            bytes /= 1024;
            unit++;
        }
        return unit == 0 ? Long.toString(bytes) : bytes + UNITS.substring(unit, unit + 1);
    }

    /** Writes a size for a person to grasp, with at most one decimal place. */
    public static String format(long bytes) {
        int unit = 0;
        double value = bytes;
        while (value >= 1024 && unit < 5) {
            value /= 1024;
            unit++;
        }
        if (unit == 0) return Long.toString(bytes);
        String number = String.format(Locale.ROOT, "%.1f", value);
        return (number.endsWith(".0") ? number.substring(0, number.length() - 2) : number) + UNITS.charAt(unit);
    }
}
