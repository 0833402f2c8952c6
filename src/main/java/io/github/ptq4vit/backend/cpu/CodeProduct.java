package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.BackendException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.LongStream;
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

    /**
     * @param ranges how many pairs of codes are summed
     * @param weights layout of B as {@link #run} gets it: packed, or strided with sizes {@code [k, m]}
     * @param destination layout of the result, {@code [n, m]} float32
     * @param steps on the finished sum
     */
    CodeProduct(Worker worker, int codeType, int ranges, int n, int k, Layout weights, boolean bias, Layout destination,
            Epilogue.Kind... steps) {
        this.worker = worker;
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
                // a product's own bias is free, one added afterwards takes half as long as the product; but it comes
                // before a multiplication by columns
                boolean ownBias = bias && integer && terms.isEmpty();
                if (last) {
                    epilogue = bias && !integer ? epilogue.then(Epilogue.Kind.ADD_COLUMNS) : epilogue;
                    epilogue = epilogue.then(steps);
                }
                Worker.Product key = new Worker.Product(length == k ? source : resized(source, n, length),
                        length == k ? weights : resized(weights, length, (int) weights.size(-1)), ownBias, destination, epilogue);
                long weightOffset = weights.isPacked() ? 0 : start * weights.strides().get(0);
                if (weights.isPacked() && !terms.isEmpty()
                        && dnnl.dnnl_memory_desc_equal(worker.product(key).weights(), packedLayout()) == 0) {
                    throw new BackendException("oneDNN packs the weights of one product in two ways: " + key);
                }
                terms.add(new Term(range, (long) start * bytes(codeType), weightOffset * bytes(codeType), key,
                        worker.product(key).primitive(), ownBias, bias && !integer && last, last));
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
            LongStream.Builder arguments = LongStream.builder();
            arguments.add(a[term.range] + term.sourceOffset).add(b[term.range] + term.weightOffset);
            if (term.ownBias) {
                arguments.add(biasAddress);
            }
            arguments.add(destination).add(scales[term.range]);
            if (term.addsBias) {
                arguments.add(biasAddress);
            }
            if (term.last) {
                LongStream.of(extras).forEach(arguments::add);
            }
            term.primitive.run(arguments.build().toArray());
        }
    }

    private static Layout resized(Layout layout, long rows, long columns) {
        return new Layout(layout.type(), List.of(rows, columns), layout.strides());
    }

    private static int bytes(int type) {
        return type == dnnl.dnnl_s8 ? 1 : 4;
    }

    /**
     * @param ownBias whether the bias is an argument of the product
     * @param addsBias whether the bias is the first tensor of the epilogue's steps
     */
    private record Term(int range, long sourceOffset, long weightOffset, Worker.Product key, Primitive primitive,
            boolean ownBias, boolean addsBias, boolean last) {
    }
}
