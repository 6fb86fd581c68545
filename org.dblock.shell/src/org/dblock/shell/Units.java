package org.dblock.shell;

import java.util.Locale;
import org.dblock.api.Size;

/** Numbers with their units, for people. */
final class Units {
    private Units() {}

    /** A time: {@code 850 ns}, {@code 12.3 µs}, {@code 4.5 ms}, {@code 1.2 s}; {@code -} for none. */
    static String time(long nanos) {
        if (nanos <= 0) return "-";
        if (nanos < 1_000) return nanos + " ns";
        if (nanos < 999_950) return decimal(nanos / 1e3) + " µs";
        if (nanos < 999_950_000) return decimal(nanos / 1e6) + " ms";
        return decimal(nanos / 1e9) + " s";
    }

    /** Bytes a second: {@code 1.5G/s}. */
    static String bytesPerSecond(double bytes) {
        return Size.format(Math.round(bytes)) + "/s";
    }

    /** A size, and its bytes where they are not the same: {@code 10G (10737418240 bytes)}. */
    static String size(long bytes) {
        return bytes < 1024 ? bytes + " bytes" : Size.format(bytes) + " (" + bytes + " bytes)";
    }

    private static String decimal(double value) {
        return String.format(Locale.ROOT, "%.1f", value);
    }
}
