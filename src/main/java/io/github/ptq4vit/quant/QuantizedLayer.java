package io.github.ptq4vit.quant;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import java.util.Arrays;
import java.util.List;

/**
 * How one layer is quantised.
 *
 * @param name timm's name of the layer
 * @param left quantisers of the left operand (input, queries, probabilities): one, or one a head; none leaves it float32
 * @param right quantisers of the right operand (weight, keys, values): one, or one a group
 * @param weightCodes for a layer with weights their codes, {@code [outputs, inputs]}; else empty
 */
public record QuantizedLayer(String name, List<Quantizer> left, List<Quantizer> right, byte[] weightCodes) {

    public QuantizedLayer {
        left = List.copyOf(left);
        right = List.copyOf(right);
    }

    /** Grids of the left operand. */
    public List<CodeGrid> leftGrids() {
        return left.stream().map(Quantizer::grid).toList();
    }

    /** Grids of the right operand. */
    public List<CodeGrid> rightGrids() {
        return right.stream().map(Quantizer::grid).toList();
    }

    /** Scale of each output row of the weight. */
    public float[] weightSteps(int outputs) {
        float[] steps = new float[outputs];
        for (int i = 0; i < outputs; i++) {
            steps[i] = right.get((int) ((long) i * right.size() / outputs)).grid().ranges().get(0).step();
        }
        return steps;
    }

    /** What the codes of the weight stand for, {@code [outputs, inputs]}. */
    public float[] dequantizedWeight(int outputs) {
        float[] steps = weightSteps(outputs);
        int inputs = weightCodes.length / outputs;
        float[] numbers = new float[weightCodes.length];
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = weightCodes[i] * steps[i / inputs];
        }
        return numbers;
    }

    /** Codes of a weight {@code [outputs, inputs]} whose rows are split evenly over uniform quantisers. */
    public static byte[] codes(float[] weight, List<Quantizer> groups) {
        byte[] codes = new byte[weight.length];
        int size = weight.length / groups.size();
        for (int group = 0; group < groups.size(); group++) {
            CodeRange range = groups.get(group).grid().ranges().get(0);
            for (int i = group * size; i < (group + 1) * size; i++) {
                codes[i] = (byte) range.code(weight[i]);
            }
        }
        return codes;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof QuantizedLayer layer && name.equals(layer.name) && left.equals(layer.left)
                && right.equals(layer.right) && Arrays.equals(weightCodes, layer.weightCodes);
    }

    @Override
    public int hashCode() {
        return name.hashCode();
    }
}
