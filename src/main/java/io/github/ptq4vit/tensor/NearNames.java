package io.github.ptq4vit.tensor;

import java.util.Collection;
import java.util.Comparator;
import java.util.List;

/** Finds the names most like one that was asked for, for messages. */
public final class NearNames {
    private NearNames() {
    }

    /** The {@code count} names with the smallest edit distance, nearest first. */
    public static List<String> of(String wanted, Collection<String> names, int count) {
        record Near(String name, int distance) {
        }

        return names.stream().map(name -> new Near(name, distance(wanted, name)))
                .sorted(Comparator.comparingInt(Near::distance)).limit(count).map(Near::name).toList();
    }

    /** Levenshtein distance: inserted, removed and replaced characters. */
    private static int distance(String a, String b) {
        int[] row = new int[b.length() + 1];
        for (int j = 0; j <= b.length(); j++) {
            row[j] = j;
        }
        for (int i = 1; i <= a.length(); i++) {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.length(); j++) {
                int replaced = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.min(replaced, 1 + Math.min(row[j], row[j - 1]));
            }
        }
        return row[b.length()];
    }
}
