package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.BackendException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.global.dnnl;

/**
 * The value of quantised operands multiplied: {@code sum over ranges of (codes of A) x (codes of B) * (scale a column)},
 * plus the bias, then an epilogue on the finished sum. Products of codes are exact: int8 with int32 sums where the
 * processor does that, else float32 on pieces of k short enough.
 */
final class CodeProduct {
    /** float32 holds every integer up to here. */
    private static final int EXACT_INTEGERS = 1 << 24;

    private final Worker worker;
    private final List<Term> terms = new ArrayList<>();
    private final boolean bias;

    /**
     * @param ranges how many pairs of codes are summed
     * @param weights layout of B as {@link #run} gets it: packed, or strided with sizes {@code [k, m]}
     * @param destination layout of the result, {@code [n, m]} float32
     * @param steps on the finished sum
     */
    CodeProduct(Worker worker, int codeType, int ranges, int n, int k, Layout weights, boolean bias, Layout destination,
            Epilogue.Kind... steps) {
        this.worker = worker;
        this.bias = bias;
        boolean integer = codeType == dnnl.dnnl_s8;
        int piece = integer ? k : Math.min(k, EXACT_INTEGERS / (128 * 128) - 1);
        Layout source = Layout.dense(codeType, n, k);
        for (int range = 0; range < ranges; range++) {
            for (int start = 0; start < k; start += piece) {
                int length = Math.min(piece, k - start);
                boolean last = range == ranges - 1 && start + length == k;
                Epilogue epilogue = integer ? Epilogue.NONE.scaled() : Epilogue.of(Epilogue.Kind.MULTIPLY_COLUMNS);
                if (!terms.isEmpty()) {
                    epilogue = epilogue.then(Epilogue.Kind.ACCUMULATE);
                }
                if (last) {
                    epilogue = bias ? epilogue.then(Epilogue.Kind.ADD_COLUMNS) : epilogue;
                    epilogue = epilogue.then(steps);
                }
                Worker.Product key = new Worker.Product(length == k ? source : resized(source, n, length),
                        length == k ? weights : resized(weights, length, (int) weights.size(-1)), false, destination, epilogue);
                long weightOffset = weights.isPacked() ? 0 : start * weights.strides().get(0);
                if (weights.isPacked() && !terms.isEmpty()
                        && dnnl.dnnl_memory_desc_equal(worker.product(key).weights(), packedLayout()) == 0) {
                    throw new BackendException("oneDNN packs the weights of one product in two ways: " + key);
                }
                terms.add(new Term(range, (long) start * bytes(codeType), weightOffset * bytes(codeType), key,
                        worker.product(key).primitive(), last));
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
     * @param scales address of the column scales for each range
     * @param biasAddress address of {@code [m]}, ignored without bias
     * @param extras addresses of the tensors that the steps take
     */
    void run(long[] a, long[] b, long[] scales, long biasAddress, long destination, long... extras) {
        for (Term term : terms) {
            int count = 4 + (term.last ? extras.length + (bias ? 1 : 0) : 0);
            long[] arguments = new long[count];
            arguments[0] = a[term.range] + term.sourceOffset;
            arguments[1] = b[term.range] + term.weightOffset;
            arguments[2] = destination;
            arguments[3] = scales[term.range];
            if (term.last) {
                int at = 4;
                if (bias) {
                    arguments[at++] = biasAddress;
                }
                System.arraycopy(extras, 0, arguments, at, extras.length);
            }
            term.primitive.run(arguments);
        }
    }

    private static Layout resized(Layout layout, long rows, long columns) {
        return new Layout(layout.type(), List.of(rows, columns), layout.strides());
    }

    private static int bytes(int type) {
        return type == dnnl.dnnl_s8 ? 1 : 4;
    }

    private record Term(int range, long sourceOffset, long weightOffset, Worker.Product key, Primitive primitive,
            boolean last) {
    }
}
