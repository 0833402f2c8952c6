package io.github.ptq4vit.quant;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.HostOperations;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.backend.RowTransform;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.Optional;

/**
 * What happens to the left operand of a layer beside rounding. A number x of channel c becomes
 * {@code (x + shift) * factors[c]}, then each block of channels is multiplied with a Hadamard matrix ({@link
 * io.github.ptq4vit.backend.Backend#hadamard}); the result is quantised. The codes of the weights belong to inputs so
 * transformed, with the shift taken back after the product: see {@link QuantizedLayer}.
 *
 * @param shift added to every number
 * @param factors one for each input channel; none for 1
 * @param hadamard length of a block, a power of two that divides the number of channels; 1 for none
 * @param prefixTokens so many tokens at the start of each image (class token, distillation token) have a quantiser of their
 *     own, the second one of the left operand; 0 if all have the same
 * @param rows what the numbers of a row have in common
 * @param columns the same of the right operand of a product of attention, whose columns meet the rows
 */
public record InputTransform(float shift, float[] factors, int hadamard, int prefixTokens, RowScale rows, RowScale columns) {
    /** Nothing happens. */
    public static final InputTransform NONE = new InputTransform(0, new float[0], 1, 0, RowScale.NONE, RowScale.NONE);

    public InputTransform {
        factors = factors.clone();
        for (float factor : factors) {
            if (!(factor > 0) || Float.isInfinite(factor)) {
                throw new IllegalArgumentException("A factor of an input channel must be positive and finite, not " + factor);
            }
        }
        if (!Float.isFinite(shift) || hadamard < 1 || Integer.bitCount(hadamard) != 1 || prefixTokens < 0) {
            throw new IllegalArgumentException("An input transform has a finite shift, blocks that are a power of two and no"
                    + " negative number of tokens, not " + shift + ", " + hadamard + " and " + prefixTokens);
        }
    }

    /** The same in blocks of this length. */
    public InputTransform withHadamard(int block) {
        return new InputTransform(shift, factors, block, prefixTokens, rows, columns);
    }

    /** The same with quantisers of their own for so many tokens. */
    public InputTransform withPrefixTokens(int tokens) {
        return new InputTransform(shift, factors, hadamard, tokens, rows, columns);
    }

    /** The same with a shift and factors. */
    public InputTransform withChannels(float otherShift, float[] otherFactors) {
        return new InputTransform(otherShift, otherFactors, hadamard, prefixTokens, rows, columns);
    }

    /** The same with other row scales of the left and the right operand. */
    public InputTransform withRows(RowScale left, RowScale right) {
        return new InputTransform(shift, factors, hadamard, prefixTokens, left, right);
    }

    /** Whether numbers change before they are quantised. */
    public boolean changesNumbers() {
        return shift != 0 || factors.length > 0 || hadamard > 1;
    }

    /**
     * What changes the numbers, on a device.
     *
     * @param inputs channels
     * @param scope owns what is uploaded
     */
    public RowTransform onDevice(Backend backend, Scope scope, int inputs) {
        return new RowTransform(factors.length == 0 ? Optional.empty() : Optional.of(uploaded(factors, backend, scope)),
                shift == 0 ? Optional.empty() : Optional.of(uploaded(shifts(inputs), backend, scope)), hadamard);
    }

    private static View uploaded(float[] numbers, Backend backend, Scope scope) {
        View view = scope.floats(numbers.length);
        backend.upload(Tensor.of(Shape.of(numbers.length), numbers), view);
        return view;
    }

    /** What is added to each of so many channels after the multiplication. */
    public float[] shifts(int channels) {
        float[] shifts = new float[channels];
        for (int c = 0; c < channels; c++) {
            shifts[c] = shift * (factors.length == 0 ? 1 : factors[c]);
        }
        return shifts;
    }

    /**
     * The weight that belongs to transformed inputs: the product of the two is that of weight and inputs but for the shift.
     *
     * @param weight {@code [outputs, inputs]}
     */
    public float[] weight(float[] weight, int inputs) {
        float[] result = weight.clone();
        for (int i = 0; i < result.length && factors.length > 0; i++) {
            result[i] /= factors[i % inputs];
        }
        if (hadamard > 1) {
            HostOperations.hadamard(result, result.length, hadamard);
            // the matrix times itself is not 1 but this
            float square = hadamard * HostOperations.hadamardFactor(hadamard) * HostOperations.hadamardFactor(hadamard);
            for (int i = 0; i < result.length; i++) {
                result[i] /= square;
            }
        }
        return result;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof InputTransform that && shift == that.shift && Arrays.equals(factors, that.factors)
                && hadamard == that.hadamard && prefixTokens == that.prefixTokens && rows == that.rows
                && columns == that.columns;
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(factors) * 31 + hadamard;
    }
}
