package io.github.ptq4vit.quant;

import java.util.Collections;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Bit widths of all layers.
 *
 * @param usual of every layer without an exception
 * @param exceptions by name of a layer
 * @param excluded names of layers that stay float32
 */
public record BitPlan(BitWidths usual, SortedMap<String, BitWidths> exceptions, SortedSet<String> excluded) {

    public BitPlan {
        exceptions = Collections.unmodifiableSortedMap(new TreeMap<>(exceptions));
        excluded = Collections.unmodifiableSortedSet(new TreeSet<>(excluded));
    }

    /** All layers alike. */
    public static BitPlan of(BitWidths usual) {
        return new BitPlan(usual, Collections.emptySortedMap(), Collections.emptySortedSet());
    }

    /** Bit widths of a layer that is not excluded. */
    public BitWidths of(String layer) {
        return exceptions.getOrDefault(layer, usual);
    }

    /** The same with other widths for some layers. */
    public BitPlan with(Map<String, BitWidths> others) {
        TreeMap<String, BitWidths> all = new TreeMap<>(exceptions);
        all.putAll(others);
        return new BitPlan(usual, all, excluded);
    }

    /** The same without some layers. */
    public BitPlan without(Set<String> layers) {
        TreeSet<String> all = new TreeSet<>(excluded);
        all.addAll(layers);
        return new BitPlan(usual, exceptions, all);
    }
}
