package io.github.ptq4vit.artifact;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.CodeTable;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.DType;
import io.github.ptq4vit.tensor.SafetensorsWriter;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * The tensors of quantised layers: {@code NAME.weight} int8 in the shape of the float32 weight, {@code NAME.weight_scale}
 * and {@code NAME.input_scale}, for products of attention {@code NAME.left_scale} and {@code NAME.right_scale}. Scales are
 * {@code [groups]}, or {@code [groups, 2]} for twins: softmax small and large range, GELU negative and positive; for logarithmic
 * levels those of large and of small levels, 0 where one is enough.
 */
final class LayerTensors {
    private LayerTensors() {
    }

    static String codes(Layer layer) {
        return layer.name() + ".weight";
    }

    /** Adds the scales of these layers, then their codes: wide types come first. */
    static void add(SafetensorsWriter file, Architecture config, List<QuantizedLayer> quantized) {
        Map<String, Layer> layers = byName(config);
        for (QuantizedLayer q : quantized) {
            LayerRole role = layers.get(q.name()).role();
            addScales(file, q.name() + "." + ManifestJson.left(role) + "_scale", q.leftGrids());
            addScales(file, q.name() + "." + ManifestJson.right(role) + "_scale", q.rightGrids());
        }
        for (QuantizedLayer q : quantized) {
            Layer layer = layers.get(q.name());
            if (q.weightCodes().length > 0) {
                file.addBytes(codes(layer), DType.I8, layer.weight().orElseThrow(), q.weightCodes());
            }
        }
    }

    /**
     * The same layers with their codes, read from a file.
     *
     * @throws ArtifactException if scales are others than those of the quantisers, or codes are beyond their bits
     */
    static List<QuantizedLayer> withCodes(CheckedTensors file, Architecture config, List<QuantizedLayer> quantized) {
        Map<String, Layer> layers = byName(config);
        return quantized.stream().map(q -> {
            Layer layer = layers.get(q.name());
            checkScales(file, q, ManifestJson.left(layer.role()), q.leftGrids());
            checkScales(file, q, ManifestJson.right(layer.role()), q.rightGrids());
            return layer.role().isMatmul() || !q.isQuantized() ? q : q.withCodes(codes(file, layer, q.rightGrids()));
        }).toList();
    }

    private static void checkScales(CheckedTensors file, QuantizedLayer layer, String operand, List<CodeGrid> grids) {
        if (grids.isEmpty()) {
            return;
        }
        Tensor expected = scales(grids);
        String name = layer.name() + "." + operand + "_scale";
        float[] found = file.floats(name, expected.shape()).toArray();
        for (int i = 0; i < found.length; i++) {
            if (found[i] != expected.data().get(i)) {
                throw file.wrong(name, "at index " + i + " " + expected.data().get(i) + " as in " + ManifestJson.FILE, found[i]);
            }
        }
    }

    private static byte[] codes(CheckedTensors file, Layer layer, List<CodeGrid> grids) {
        byte[] codes = file.bytes(codes(layer), layer.weight().orElseThrow());
        int size = codes.length / grids.size();
        for (int i = 0; i < codes.length; i++) {
            CodeRange range = grids.get(i / size).ranges().get(0);
            int code = codes[i];
            if (grids.get(i / size).table().filter(table -> !holds(table, code)).isPresent()) {
                throw file.wrong(codes(layer), "codes of its levels", code + " at index " + i);
            }
            if (codes[i] < range.min() || codes[i] > range.max()) {
                throw file.wrong(codes(layer), "codes from " + range.min() + " to " + range.max(), codes[i] + " at index " + i);
            }
        }
        return codes;
    }

    private static boolean holds(CodeTable table, int code) {
        return IntStream.range(0, table.levels()).anyMatch(level -> table.code(0, level) == code);
    }

    static Map<String, Layer> byName(Architecture config) {
        Map<String, Layer> layers = new LinkedHashMap<>();
        config.layers().forEach(layer -> layers.put(layer.name(), layer));
        return layers;
    }

    private static void addScales(SafetensorsWriter file, String name, List<CodeGrid> grids) {
        if (!grids.isEmpty()) {
            file.add(name, scales(grids));
        }
    }

    private static Tensor scales(List<CodeGrid> grids) {
        int ranges = grids.stream().mapToInt(grid -> grid.ranges().size()).max().orElseThrow();
        float[] steps = new float[grids.size() * ranges];
        for (int i = 0; i < steps.length; i++) {
            List<CodeRange> own = grids.get(i / ranges).ranges();
            steps[i] = i % ranges < own.size() ? own.get(i % ranges).step() : 0;
        }
        return Tensor.of(ranges == 1 ? Shape.of(grids.size()) : Shape.of(grids.size(), ranges), steps);
    }
}
