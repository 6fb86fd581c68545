package org.dblock.shell;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Columns that align; one whose title begins with {@code >}, which isn't shown, stands to the right (numbers). */
final class Table {
    private final List<String[]> rows = new ArrayList<>();
    private final boolean[] right;

    Table(String... titles) {
        right = new boolean[titles.length];
        String[] row = titles.clone();
        for (int i = 0; i < row.length; i++) {
            right[i] = row[i].startsWith(">");
            if (right[i]) row[i] = row[i].substring(1);
        }
        rows.add(row);
    }

    void row(Object... cells) {
        if (cells.length != right.length)
            throw new IllegalArgumentException(cells.length + " cells: " + Arrays.toString(cells));
        rows.add(Arrays.stream(cells).map(Object::toString).map(Table::oneLine).toArray(String[]::new));
    }

    /** The text; columns that are empty but for their title are left out. */
    @Override
    public String toString() {
        StringBuilder text = new StringBuilder();
        int[] widths = new int[right.length];
        for (int i = 0; i < widths.length; i++) {
            int column = i;
            if (rows.size() > 1 && rows.stream().skip(1).allMatch(r -> r[column].isEmpty())) continue;
            widths[i] = rows.stream().mapToInt(r -> width(r[column])).max().getAsInt();
        }
        for (String[] row : rows) {
            StringBuilder line = new StringBuilder();
            for (int i = 0; i < row.length; i++) {
                if (widths[i] == 0) continue;
                if (line.length() > 0) line.append("  ");
                String fill = " ".repeat(widths[i] - width(row[i]));
                line.append(right[i] ? fill + row[i] : row[i] + fill);
            }
            text.append(line.toString().stripTrailing()).append('\n');
        }
        return text.toString();
    }

    /** A cell can't break its line, nor speak to the terminal. */
    private static String oneLine(String cell) {
        return cell.replaceAll("\\p{Cntrl}+", " ");
    }

    private static int width(String cell) {
        return cell.codePointCount(0, cell.length());
    }
}
