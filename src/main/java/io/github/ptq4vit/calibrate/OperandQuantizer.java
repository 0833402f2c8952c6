package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.HostOperations;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.Tensor;

/**
 * A quantiser of one's own, to be tried in a layer, see {@link ObservedLayer#tryLeft}. Several threads may use it at once. A model
 * that is to be stored and executed in integers takes a {@link Quantizer}.
 */
@FunctionalInterface
public interface OperandQuantizer {

    /**
     * What the codes of an operand stand for.
     *
     * @param operand {@code [rows, inputs]}, the weight {@code [outputs, inputs]}, or an operand of attention
     *     {@code [products, heads, n, k]}; not to be changed
     * @return shaped like the operand
     */
    Tensor quantized(Tensor operand);

    /** One of the library's quantisers, for all numbers of an operand. */
    static OperandQuantizer of(Quantizer quantizer) {
        return operand -> {
            float[] numbers = operand.toArray();
            HostOperations.decode(numbers, operand.shape().size(-1), quantizer.grid());
            return Tensor.of(operand.shape(), numbers);
        };
    }

    /** One to whom all numbers are alike. */
    interface Scalar extends OperandQuantizer {

        /** The code of a number. */
        int encode(float x);

        /** The number that a code stands for. */
        float decode(int code);

        @Override
        default Tensor quantized(Tensor operand) {
            float[] numbers = operand.toArray();
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] = decode(encode(numbers[i]));
            }
            return Tensor.of(operand.shape(), numbers);
        }
    }
}
