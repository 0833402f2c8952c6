package io.github.ptq4vit.artifact;

import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;

/**
 * What {@code manifest.json} says.
 *
 * @param config the architecture
 * @param transform of the images, as text
 * @param provenance where the model comes from
 * @param complete whether {@code model.safetensors} is there; else there is a part for each finished unit
 * @param units layers of the finished units, without their codes, in network order
 * @param digests SHA-256 of the parts by name, while there are parts: of each finished unit, and of the transformed network if
 *     there is one
 */
record Manifest(Architecture config, String transform, Provenance provenance, boolean complete,
        Map<String, List<QuantizedLayer>> units, Map<String, String> digests) {
    /** Name of the part with the transformed float32 network. */
    static final String NETWORK = "network";

    Manifest {
        digests = Collections.unmodifiableMap(new TreeMap<>(digests));
        units = Collections.unmodifiableMap(inNetworkOrder(config, units));
    }

    /** Embedding, what lies between, and head. */
    int allUnits() {
        return config.units().size() + 2;
    }

    /** How far it is, in words. */
    String extent() {
        return units.size() + " of " + allUnits() + " units";
    }

    /** All layers of the finished units, in network order. */
    List<QuantizedLayer> layers() {
        return units.values().stream().flatMap(List::stream).toList();
    }

    /** Layers with weights that stay float32. */
    List<Layer> floatWeights() {
        Set<String> names = layers().stream().filter(layer -> !layer.isQuantized()).map(QuantizedLayer::name).collect(Collectors.toSet());
        return config.layers().stream().filter(layer -> names.contains(layer.name()) && layer.weight().isPresent()).toList();
    }

    /** With a finished unit, whose part has this digest. */
    Manifest with(String unit, List<QuantizedLayer> layers, String digest) {
        Map<String, List<QuantizedLayer>> more = new LinkedHashMap<>(units);
        more.put(unit, layers.stream().map(l -> l.withCodes(new byte[0])).toList());
        Manifest next = new Manifest(config, transform, provenance, complete, more, digests);
        return next.withDigest(unit, digest);
    }

    /** With the digest of a part. */
    Manifest withDigest(String part, String digest) {
        Map<String, String> more = new TreeMap<>(digests);
        more.put(part, digest);
        return new Manifest(config, transform, provenance, complete, units, more);
    }

    /** With nothing finished. */
    Manifest withoutParts() {
        return new Manifest(config, transform, provenance, false, Map.of(), Map.of());
    }

    /** Names of all parts that there may be. */
    Set<String> partNames() {
        Set<String> names = LayerPlace.of(config).values().stream().map(LayerPlace::unit).collect(Collectors.toCollection(TreeSet::new));
        names.add(NETWORK);
        return names;
    }

    Manifest completed() {
        return new Manifest(config, transform, provenance, true, units, Map.of());
    }

    /** However they came, so that the same units give the same bytes. */
    private static Map<String, List<QuantizedLayer>> inNetworkOrder(Architecture config, Map<String, List<QuantizedLayer>> units) {
        List<String> order = config.layers().stream().map(Layer::name).toList();
        Map<Integer, String> sorted = new TreeMap<>();
        Map<String, List<QuantizedLayer>> layersOf = new LinkedHashMap<>();
        units.forEach((unit, layers) -> {
            List<QuantizedLayer> inOrder = new ArrayList<>(layers);
            inOrder.sort((a, b) -> Integer.compare(order.indexOf(a.name()), order.indexOf(b.name())));
            if (inOrder.isEmpty() || !order.contains(inOrder.get(0).name())) {
                throw new IllegalArgumentException("Unit " + unit + " has no layers of this network");
            }
            sorted.put(order.indexOf(inOrder.get(0).name()), unit);
            layersOf.put(unit, List.copyOf(inOrder));
        });
        Map<String, List<QuantizedLayer>> result = new LinkedHashMap<>();
        sorted.values().forEach(unit -> result.put(unit, layersOf.get(unit)));
        return result;
    }
}
