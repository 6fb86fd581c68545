package org.dblock.shell;

import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;

/** What to say of a name that doesn't exist: the names that were perhaps meant. */
final class Names {
    private Names() {}

    /** {@code no device 'dmeo': did you mean demo?} — or all names there are, when none is near. */
    static String unknown(String what, String name, Collection<String> known) {
        String message = "no " + what + " '" + name + "': ";
        if (known.isEmpty()) return message + "there is none";
        List<String> near = nearest(name, known);
        return near.isEmpty()
                ? message + "there " + (known.size() == 1 ? "is " : "are ") + String.join(", ", known)
                : message + "did you mean " + String.join(" or ", near) + "?";
    }

    /** At most three names that are near, the nearest first. */
    static List<String> nearest(String name, Collection<String> known) {
        int limit = Math.max(1, name.length() / 3);
        String word = name.toLowerCase(Locale.ROOT);
        return known.stream()
                .filter(k -> distance(word, k) <= limit
                        || word.length() > 1 && k.toLowerCase(Locale.ROOT).startsWith(word))
                .sorted(Comparator.comparingInt((String k) -> distance(word, k)).thenComparing(k -> k))
                .limit(3)
                .toList();
    }

    /** How many letters to insert, delete, replace or swap with the next one. */
    private static int distance(String a, String other) {
        String b = other.toLowerCase(Locale.ROOT);
        int[][] d = new int[a.length() + 1][b.length() + 1];
        for (int i = 0; i <= a.length(); i++) {
            for (int j = 0; j <= b.length(); j++) {
                if (i == 0 || j == 0) {
                    d[i][j] = i + j;
                    continue;
                }
                int replaced = d[i - 1][j - 1] + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
                d[i][j] = Math.min(replaced, 1 + Math.min(d[i - 1][j], d[i][j - 1]));
                if (i > 1 && j > 1 && a.charAt(i - 1) == b.charAt(j - 2) && a.charAt(i - 2) == b.charAt(j - 1))
                    d[i][j] = Math.min(d[i][j], 1 + d[i - 2][j - 2]);
            }
        }
        return d[a.length()][b.length()];
    }
}
