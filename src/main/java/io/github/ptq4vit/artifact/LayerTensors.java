package io.github.ptq4vit.artifact;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.DType;
import io.github.ptq4vit.tensor.SafetensorsFile;
import io.github.ptq4vit.tensor.SafetensorsWriter;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The tensors of quantised layers: {@code NAME.weight} int8 in the shape of the float32 weight, {@code NAME.weight_scale}
 * and {@code NAME.input_scale}, for products of attention {@code NAME.left_scale} and {@code NAME.right_scale}. Scales are
 * {@code [groups]}, or {@code [groups, 2]} for twins: softmax small and large range, GELU negative and positive.
 */
final class LayerTensors {
    private LayerTensors() {
    }

    static String codes(Layer layer) {
        return layer.name() + ".weight";
    }

    /** Adds the scales of these layers, then their codes: wide types come first. */
    static void add(SafetensorsWriter file, VitConfig config, List<QuantizedLayer> quantized) {
        Map<String, Layer> layers = byName(config);
        for (QuantizedLayer q : quantized) {
            LayerRole role = layers.get(q.name()).role();
            addScales(file, q.name() + "." + ManifestJson.left(role) + "_scale", q.leftGrids());
            addScales(file, q.name() + "." + ManifestJson.right(role) + "_scale", q.rightGrids());
        }
        for (QuantizedLayer q : quantized) {
            Layer layer = layers.get(q.name());
            if (!layer.role().isMatmul()) {
                file.addBytes(codes(layer), DType.I8, weightShape(config, layer), q.weightCodes());
            }
        }
    }

    /** The same layers with their codes, read from a file. */
    static List<QuantizedLayer> withCodes(SafetensorsFile file, VitConfig config, List<QuantizedLayer> quantized) {
        Map<String, Layer> layers = byName(config);
        return quantized.stream().map(q -> {
            Layer layer = layers.get(q.name());
            if (layer.role().isMatmul()) {
                return q;
            }
            Shape found = file.info(codes(layer)).shape();
            if (!found.equals(weightShape(config, layer))) {
                throw new ArtifactException(file.path() + ": tensor " + codes(layer) + " has shape " + found + ", expected "
                        + weightShape(config, layer));
            }
            return new QuantizedLayer(q.name(), q.left(), q.right(), file.readBytes(codes(layer)));
        }).toList();
    }

    static Shape weightShape(VitConfig c, Layer layer) {
        return switch (layer.role()) {
            case PATCH_EMBEDDING -> Shape.of(c.dim(), c.channels(), c.patchSize(), c.patchSize());
            case QKV -> Shape.of(3 * c.dim(), c.dim());
            case PROJECTION -> Shape.of(c.dim(), c.dim());
            case FC1 -> Shape.of(c.hidden(), c.dim());
            case FC2 -> Shape.of(c.dim(), c.hidden());
            case HEAD -> Shape.of(c.classes(), c.dim());
            case QUERY_KEY, PROBABILITY_VALUE -> throw new IllegalArgumentException(layer + " has no weight");
        };
    }

    /** What a network takes besides its layers' weights; biases of the qkv layers are optional. */
    static Map<String, Shape> unquantized(VitConfig c) {
        Map<String, Shape> shapes = new LinkedHashMap<>();
        Shape vector = Shape.of(c.dim());
        shapes.put("cls_token", Shape.of(1, 1, c.dim()));
        if (c.distilled()) {
            shapes.put("dist_token", Shape.of(1, 1, c.dim()));
        }
        shapes.put("pos_embed", Shape.of(1, c.tokens(), c.dim()));
        for (int i = 0; i < c.depth(); i++) {
            for (String norm : List.of(".norm1", ".norm2")) {
                shapes.put(c.block(i) + norm + ".weight", vector);
                shapes.put(c.block(i) + norm + ".bias", vector);
            }
        }
        shapes.put("norm.weight", vector);
        shapes.put("norm.bias", vector);
        for (Layer layer : c.layers()) {
            if (!layer.role().isMatmul()) {
                shapes.put(layer.name() + ".bias", Shape.of(weightShape(c, layer).size(0)));
            }
        }
        return shapes;
    }

    static Map<String, Layer> byName(VitConfig config) {
        Map<String, Layer> layers = new LinkedHashMap<>();
        config.layers().forEach(layer -> layers.put(layer.name(), layer));
        return layers;
    }

    private static void addScales(SafetensorsWriter file, String name, List<CodeGrid> grids) {
        if (grids.isEmpty()) {
            return;
        }
        int ranges = grids.get(0).ranges().size();
        float[] steps = new float[grids.size() * ranges];
        for (int i = 0; i < steps.length; i++) {
            CodeRange range = grids.get(i / ranges).ranges().get(i % ranges);
            steps[i] = range.step();
        }
        file.add(name, Tensor.of(ranges == 1 ? Shape.of(grids.size()) : Shape.of(grids.size(), ranges), steps));
    }
}
