package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.BackendException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.global.dnnl;
import org.bytedeco.javacpp.IntPointer;

/**
 * The value of quantised operands multiplied: {@code sum over ranges of (codes of A) x (codes of B) * (scale a column)},
 * the bias after the first, then an epilogue on the finished sum. Products of codes are exact: int8 with int32 sums where the
 * processor does that, else float32 on pieces of k short enough.
 */
final class CodeProduct {
    /** float32 holds every integer up to here. */
    private static final int EXACT_INTEGERS = 1 << 24;

    private static final IntPointer SHIFT = new IntPointer(1L).put(CodeForm.SHIFTED.shift());

    /** What a product has scales for: one for all, one for each column, or one for each row of the result. */
    enum Scales {
        ONE, COLUMNS, ROWS
    }

    private final Worker worker;
    private final boolean shifted;
    /** Whether the shift is an argument ahead of the scales. */
    private final boolean shiftFirst;
    private final List<Term> terms = new ArrayList<>();

    /**
     * @param first form of A's codes
     * @param ranges how many pairs of codes are summed
     * @param weights layout of B as {@link #run} gets it: packed, or strided with sizes {@code [k, m]}
     * @param destination layout of the result, {@code [n, m]} float32
     * @param steps on the finished sum
     */
    CodeProduct(Worker worker, CodeForm first, int ranges, int n, int k, Layout weights, Scales scales, boolean bias,
            Layout destination, Epilogue.Kind... steps) {
        this.worker = worker;
        this.shifted = first == CodeForm.SHIFTED;
        this.shiftFirst = shifted && scales == Scales.ROWS;
        boolean integer = first != CodeForm.NUMBERS;
        int piece = integer ? k : Math.min(k, EXACT_INTEGERS / (128 * 128) - 1);
        Layout source = Layout.dense(first.type(), n, k);
        for (int range = 0; range < ranges; range++) {
            for (int start = 0; start < k; start += piece) {
                int length = Math.min(piece, k - start);
                boolean last = range == ranges - 1 && start + length == k;
                Epilogue epilogue = Epilogue.scaled(integer, shifted, scales);
                if (!terms.isEmpty()) {
                    epilogue = epilogue.then(Epilogue.Kind.ACCUMULATE);
                }
                // a product's own bias is free, one added afterwards takes half as long as the product; but it comes
                // before a multiplication by columns
                boolean ownBias = bias && integer && terms.isEmpty();
                boolean addsBias = bias && !integer && terms.isEmpty();
                if (addsBias) {
                    epilogue = epilogue.then(Epilogue.Kind.ADD_COLUMNS);
                }
                if (last) {
                    epilogue = epilogue.then(steps);
                }
                Layout a = length == k ? source : source.resized(n, length);
                Layout b = length == k ? weights : weights.resized(length, weights.size(-1));
                // oneDNN multiplies the rows of a matrix slowly, by its reference code, but those of a batch of one fast
                Worker.Product key = scales == Scales.ROWS
                        ? new Worker.Product(a.batched(), b.batched(), ownBias, destination.batched(), epilogue)
                        : new Worker.Product(a, b, ownBias, destination, epilogue);
                long weightOffset = weights.isPacked() ? 0 : start * weights.stride(0);
                if (weights.isPacked() && !terms.isEmpty()
                        && dnnl.dnnl_memory_desc_equal(worker.product(key).weights(), packedLayout()) == 0) {
                    throw new BackendException("oneDNN packs the weights of one product in two ways: " + key);
                }
                terms.add(new Term(range, (long) start * first.bytes(), weightOffset * first.bytes(), key,
                        worker.product(key).primitive(), ownBias, addsBias, last,
                        new long[worker.product(key).primitive().arguments()]));
            }
        }
    }

    private dnnl_memory_desc packedLayout() {
        return worker.product(terms.get(0).key).weights();
    }

    /** The product to pack weights for; none where they are used as they are. */
    Optional<Worker.Product> packedFor() {
        Worker.Product first = terms.get(0).key;
        return first.weights().isPacked() ? Optional.of(first) : Optional.empty();
    }

    /**
     * @param a address of A's codes for each range
     * @param b address of B's codes for each range
     * @param scales address of the scale or scales for each range
     * @param biasAddress address of {@code [m]}, ignored without bias
     * @param extras addresses of the tensors that the steps take
     */
    void run(long[] a, long[] b, long[] scales, long biasAddress, long destination, long... extras) {
        for (Term term : terms) {
            long[] arguments = term.arguments;
            arguments[0] = a[term.range] + term.sourceOffset;
            arguments[1] = b[term.range] + term.weightOffset;
            int next = 2;
            if (term.ownBias) {
                arguments[next++] = biasAddress;
            }
            arguments[next++] = destination;
            if (shiftFirst) {
                arguments[next++] = SHIFT.address();
            }
            arguments[next++] = scales[term.range];
            if (shifted && !shiftFirst) {
                arguments[next++] = SHIFT.address();
            }
            if (term.addsBias) {
                arguments[next++] = biasAddress;
            }
            if (term.last) {
                System.arraycopy(extras, 0, arguments, next, extras.length);
            }
            term.primitive.run(arguments);
        }
    }

    /**
     * One call of oneDNN.
     *
     * @param ownBias whether the bias is an argument of the product
     * @param addsBias whether the bias is the first tensor of the epilogue's steps
     * @param arguments room for the addresses
     */
    private record Term(int range, long sourceOffset, long weightOffset, Worker.Product key, Primitive primitive,
            boolean ownBias, boolean addsBias, boolean last, long[] arguments) {
    }
}
