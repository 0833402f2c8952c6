package io.github.ptq4vit.quant;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.HostOperations;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * How one layer is quantised. With an input transform T, shift s and factors f, the layer computes {@code y = Wq Q(T(x)) + b -
 * Wq T'(s)}, where Q(T(x)) is what the codes of the transformed input stand for, Wq what the codes of the weight stand for, and T'
 * is T without the shift.
 *
 * @param name timm's name of the layer
 * @param left quantisers of the left operand (input, queries, probabilities): one, or one a head, or one for most tokens and
 *     one for {@link InputTransform#prefixTokens}; none leaves it float32
 * @param right quantisers of the right operand (weight, keys, values): one, or one a group; none of a layer that stays float32
 * @param weightCodes for a layer with weights their codes, {@code [outputs, inputs]}; else empty
 * @param input what happens to the left operand beside rounding
 */
public record QuantizedLayer(String name, List<Quantizer> left, List<Quantizer> right, byte[] weightCodes, InputTransform input) {

    public QuantizedLayer {
        left = List.copyOf(left);
        right = List.copyOf(right);
    }

    /** A layer whose left operand is quantised as it is. */
    public QuantizedLayer(String name, List<Quantizer> left, List<Quantizer> right, byte[] weightCodes) {
        this(name, left, right, weightCodes, InputTransform.NONE);
    }

    /** A layer that stays float32: it has neither quantisers nor codes. */
    public static QuantizedLayer unquantized(String name) {
        return new QuantizedLayer(name, List.of(), List.of(), new byte[0]);
    }

    /** Whether anything of it is quantised. */
    public boolean isQuantized() {
        return !right.isEmpty();
    }

    /** The same with other codes. */
    public QuantizedLayer withCodes(byte[] codes) {
        return new QuantizedLayer(name, left, right, codes, input);
    }

    /** Grids of the left operand. */
    public List<CodeGrid> leftGrids() {
        return left.stream().map(q -> q.grid().with(input.rows())).toList();
    }

    /** Grids of the right operand. */
    public List<CodeGrid> rightGrids() {
        return right.stream().map(q -> q.grid().with(input.columns())).toList();
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

    /** The bias with what the shift of the input adds to each output taken off, {@code [outputs]}. */
    public Optional<Tensor> biasWithoutShift(Optional<Tensor> bias, int outputs) {
        if (input.shift() == 0) {
            return bias;
        }
        float[] weight = dequantizedWeight(outputs);
        int inputs = weight.length / outputs;
        float[] shifts = input.shifts(inputs);
        if (input.hadamard() > 1) {
            HostOperations.hadamard(shifts, inputs, input.hadamard());
        }
        float[] result = bias.map(Tensor::toArray).orElse(new float[outputs]).clone();
        for (int o = 0; o < outputs; o++) {
            double sum = 0;
            for (int c = 0; c < inputs; c++) {
                sum += (double) weight[o * inputs + c] * shifts[c];
            }
            result[o] -= (float) sum;
        }
        return Optional.of(Tensor.of(Shape.of(outputs), result));
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
                && right.equals(layer.right) && Arrays.equals(weightCodes, layer.weightCodes) && input.equals(layer.input);
    }

    @Override
    public int hashCode() {
        return name.hashCode();
    }
}
