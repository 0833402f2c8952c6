package io.github.ptq4vit.quant;

import java.util.Collections;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Bit widths of all layers.
 *
 * @param usual of every layer without an exception
 * @param exceptions by name of a layer
 */
public record BitPlan(BitWidths usual, SortedMap<String, BitWidths> exceptions) {

    public BitPlan {
        exceptions = Collections.unmodifiableSortedMap(new TreeMap<>(exceptions));
    }

    /** All layers alike. */
    public static BitPlan of(BitWidths usual) {
        return new BitPlan(usual, Collections.emptySortedMap());
    }

    /** Bit widths of a layer. */
    public BitWidths of(String layer) {
        return exceptions.getOrDefault(layer, usual);
    }

    /** The same with other widths for some layers. */
    public BitPlan with(Map<String, BitWidths> others) {
        TreeMap<String, BitWidths> all = new TreeMap<>(exceptions);
        all.putAll(others);
        all.values().removeIf(usual::equals);
        return new BitPlan(usual, all);
    }

    /** Such as {@code W4A4}, and the exceptions if there are any. */
    @Override
    public String toString() {
        return exceptions.isEmpty() ? usual.toString() : usual + " " + exceptions;
    }
}
