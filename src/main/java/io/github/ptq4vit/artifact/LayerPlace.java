package io.github.ptq4vit.artifact;

import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.BlockShape;
import io.github.ptq4vit.model.Distribution;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.model.UnitShape;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.quant.InputTransform;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;

/**
 * A layer in its network, and which quantisers it may have there.
 *
 * @param layer the layer
 * @param unit name of its unit, as calibrations name them
 * @param heads of attention where it is, 1 outside
 * @param prefixTokens most tokens that may have a quantiser of their own
 */
record LayerPlace(Layer layer, String unit, int heads, int prefixTokens) {

    /** All layers of a network by name, in network order. */
    static Map<String, LayerPlace> of(Architecture config) {
        Map<String, LayerPlace> places = new LinkedHashMap<>();
        put(places, config.embedding(), "embedding", 1, 0);
        for (UnitShape unit : config.units()) {
            boolean block = unit instanceof BlockShape;
            int prefix = block && config instanceof VitConfig vit ? vit.prefix().count() : 0;
            unit.layers().forEach(layer -> put(places, layer, unit.name(), unit instanceof BlockShape b ? b.heads() : 1, prefix));
        }
        config.headLayers().forEach(layer -> put(places, layer, "head", 1, 0));
        return places;
    }

    private static void put(Map<String, LayerPlace> places, Layer layer, String unit, int heads, int prefix) {
        places.put(layer.name(), new LayerPlace(layer, unit, heads, prefix));
    }

    /** Kinds of quantisers of the left operand. */
    Set<String> leftKinds(int version) {
        Set<String> kinds = new TreeSet<>(layer.role() == LayerRole.PATCH_EMBEDDING ? Set.of(QuantizerJson.NONE) : switch (layer.input()) {
            case GELU -> Set.of(QuantizerJson.UNIFORM, QuantizerJson.AFFINE, QuantizerJson.GELU_TWIN, QuantizerJson.LOGARITHMIC);
            case SOFTMAX -> Set.of(QuantizerJson.UNIFORM, QuantizerJson.AFFINE, QuantizerJson.SOFTMAX_TWIN,
                    QuantizerJson.LOGARITHMIC);
            case ANY -> Set.of(QuantizerJson.UNIFORM, QuantizerJson.AFFINE, QuantizerJson.COMPANDED);
        });
        if (version < ManifestJson.VERSION_WITH_TRANSFORMS) {
            kinds.removeAll(Set.of(QuantizerJson.AFFINE, QuantizerJson.LOGARITHMIC, QuantizerJson.COMPANDED));
        } else {
            kinds.add(QuantizerJson.NONE);
        }
        return kinds;
    }

    /** Kinds of quantisers of the right operand. */
    Set<String> rightKinds(int version) {
        return version < ManifestJson.VERSION_WITH_TRANSFORMS ? Set.of(QuantizerJson.UNIFORM)
                : Set.of(QuantizerJson.NONE, QuantizerJson.UNIFORM, QuantizerJson.AFFINE, QuantizerJson.COMPANDED);
    }

    /**
     * Throws unless groups and input transform fit.
     *
     * @param fields the layer's, to name it by
     */
    void check(Fields fields, QuantizedLayer q) {
        String left = ManifestJson.left(layer.role());
        String right = ManifestJson.right(layer.role());
        InputTransform transform = q.input();
        if (!q.isQuantized()) {
            groups(fields, left, q.left(), Set.of(0));
            require(fields, transform.equals(InputTransform.NONE), "none of a layer that stays float32", transform);
            return;
        }
        if (layer.role().isMatmul()) {
            groups(fields, left, q.left(), Set.of(1, heads));
            groups(fields, right, q.right(), Set.of(1, heads));
            require(fields, transform.equals(InputTransform.NONE.withRows(transform.rows(), transform.columns())),
                    "none but row scales", transform);
            require(fields, layer.input() == Distribution.SOFTMAX || transform.rows() != RowScale.SUM,
                    "row sums of probabilities only", transform.rows());
            require(fields, transform.columns() != RowScale.SUM, "columns none or range", transform.columns());
        } else {
            int inputs = Math.toIntExact(layer.weight().orElseThrow().elements() / layer.outputs());
            require(fields, transform.rows() != RowScale.SUM && transform.columns() == RowScale.NONE && (!q.left().isEmpty() || transform.equals(InputTransform.NONE)),
                    "none", transform);
            require(fields, transform.factors().length == 0 || transform.factors().length == inputs, inputs + " factors",
                    transform.factors().length);
            require(fields, inputs % transform.hadamard() == 0, "blocks that divide " + inputs + " inputs", transform.hadamard());
            require(fields, transform.prefixTokens() == 0 || transform.prefixTokens() == prefixTokens,
                    "0 or " + prefixTokens + " prefix tokens", transform.prefixTokens());
            groups(fields, left, q.left(), Set.of(layer.role() == LayerRole.PATCH_EMBEDDING ? 0 : transform.prefixTokens() > 0 ? 2 : 1));
            groups(fields, right, q.right(), layer.role() == LayerRole.QKV ? Set.of(1, 3, layer.outputs()) : Set.of(1, layer.outputs()));
        }
        if (!layer.role().isMatmul() && q.right().stream().filter(row -> row instanceof Quantizer.Companded)
                .map(row -> ((Quantizer.Companded) row).bend()).distinct().count() > 1) {
            throw fields.wrong(right + ".bends", "one bend for all rows", "several");
        }
        grids(fields, left, q::leftGrids);
        grids(fields, right, q::rightGrids);
    }

    private static void groups(Fields fields, String operand, List<Quantizer> groups, Set<Integer> possible) {
        if (!possible.contains(groups.size())) {
            throw fields.wrong(operand + ".groups", new TreeSet<>(possible).stream().map(String::valueOf).collect(Collectors.joining(" or ")),
                    groups.size());
        }
    }

    private static void require(Fields fields, boolean fits, String expected, Object found) {
        if (!fits) {
            throw fields.wrong(ManifestJson.TRANSFORM, expected, found);
        }
    }

    /** Levels of extreme scales may not fit float32. */
    private static void grids(Fields fields, String operand, Runnable grids) {
        try {
            grids.run();
        } catch (IllegalArgumentException e) {
            throw fields.wrong(operand, "a quantiser whose levels fit float32", e.getMessage());
        }
    }
}
