package io.github.ptq4vit.export;

import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.model.BlockShape;
import io.github.ptq4vit.model.Distribution;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.UnitShape;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.quant.TwinRule;
import java.util.ArrayList;
import java.util.List;

/** A model whose scales were not searched but fit activations of unit size; with quantisers of every kind. */
final class QuantizedBySize {
    private QuantizedBySize() {
    }

    static QuantizedModel of(VisionTransformer model, BitWidths bits, TwinRule rule) {
        List<QuantizedLayer> layers = new ArrayList<>();
        for (Layer layer : model.config().layers()) {
            int outputs = layer.role().isMatmul() ? 0 : layer.outputs();
            layers.add(switch (layer.role()) {
                case QUERY_KEY -> new QuantizedLayer(layer.name(), heads(model, layer, bits, 5), heads(model, layer, bits, 4.5f),
                        new byte[0]);
                case PROBABILITY_VALUE -> new QuantizedLayer(layer.name(),
                        List.of(new Quantizer.SoftmaxTwin(3, bits.activations(), rule)), heads(model, layer, bits, 4), new byte[0]);
                case PATCH_EMBEDDING -> weights(model, layer, List.of(), outputs, bits);
                case QKV -> weights(model, layer, List.of(uniform(bits, 4)), 3, bits);
                case FC2 -> weights(model, layer, List.of(layer.input() != Distribution.GELU ? uniform(bits, 3.7f)
                        : Quantizer.GeluTwin.of(3.5f / BitWidths.half(bits.activations()), bits.activations(), rule)), 1, bits);
                default -> weights(model, layer, List.of(uniform(bits, 3.7f)), 1, bits);
            });
        }
        return new QuantizedModel(model, layers);
    }

    private static List<Quantizer> heads(VisionTransformer model, Layer layer, BitWidths bits, float largest) {
        List<Quantizer> scales = new ArrayList<>();
        for (UnitShape unit : model.config().units()) {
            if (unit instanceof BlockShape block && layer.name().startsWith(block.name() + ".")) {
                for (int head = 0; head < block.heads(); head++) {
                    scales.add(uniform(bits, largest * (1 + 0.3f * head)));
                }
            }
        }
        return scales;
    }

    private static QuantizedLayer weights(VisionTransformer model, Layer layer, List<Quantizer> left, int groups, BitWidths bits) {
        float[] weight = model.weight(layer).toArray();
        List<Quantizer> right = new ArrayList<>();
        int size = weight.length / groups;
        for (int group = 0; group < groups; group++) {
            float largest = 0;
            for (int i = group * size; i < (group + 1) * size; i++) {
                largest = Math.max(largest, Math.abs(weight[i]));
            }
            right.add(new Quantizer.Uniform(largest / (BitWidths.half(bits.weights()) - 0.5f), bits.weights()));
        }
        return new QuantizedLayer(layer.name(), left, right, QuantizedLayer.codes(weight, right));
    }

    private static Quantizer uniform(BitWidths bits, float largest) {
        return new Quantizer.Uniform(largest / BitWidths.half(bits.activations()), bits.activations());
    }
}
