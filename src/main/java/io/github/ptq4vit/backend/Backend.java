package io.github.ptq4vit.backend;

import io.github.ptq4vit.tensor.Tensor;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A device that computes: the few forward and backward operations of a transformer in float32, integer products of codes,
 * and the scoring of candidates for a scale.
 *
 * <p>Operations write into memory that the caller provides and run on the calling thread; {@link #parallel} spreads work
 * over the device. Unless it says otherwise an operation takes dense row-major views. Rows are all axes but the last.
 */
public interface Backend extends AutoCloseable {

    /** What this backend runs on. */
    DeviceInfo device();

    /**
     * This device with forward operations whose results are equal, to the last bit, on every device and however the work is
     * cut: here each is one sequence of float32 operations, whichever library would be faster. That goes for all but the
     * backward operations, {@link #maxima}, {@link #rowSums} and scoring; and only where products of codes are exact
     * ({@link DeviceInfo#integerPath}).
     *
     * <p>A quantised network needs it: a number that differs in its last bit may fall on the other side of a rounding tie, and
     * from one other code on networks differ visibly. It shares everything with this backend, which must stay open; closing
     * it does nothing.
     */
    Backend reproducible();

    /** A new owner of memory on this device. */
    Scope scope();

    /**
     * A new owner of memory on the host, for arrays of so many bytes together that wait for long until they are needed and
     * would crowd the device's memory meanwhile. {@link #copy} copies between dense views of them and of the device; nothing
     * else takes them. Empty if there is room enough, or if the device's memory is the host's.
     */
    default Optional<Scope> hostInstead(long bytes) {
        return Optional.empty();
    }

    /**
     * Runs {@code part} on ranges that together cover {@code [0, items)}, several at a time if the device likes; returns
     * when all are done. The first failure is thrown on.
     */
    void parallel(int items, Part part);

    /** Copies host numbers into a dense view. */
    void upload(Tensor from, View to);

    /** Copies a dense view to the host. */
    Tensor download(View from);

    /** Weights of a linear layer, prepared once for products in both directions. Owned by the scope. */
    Linear linear(Scope owner, Tensor weight, Optional<Tensor> bias);

    /**
     * Integer weights of a linear layer, prepared once. Owned by the scope.
     *
     * @param codes {@code [outputs, inputs]}, row-major
     * @param steps scale of each output, {@code [outputs]}
     * @param bias {@code [outputs]}
     */
    Linear linear(Scope owner, byte[] codes, float[] steps, int inputs, Optional<Tensor> bias);

    /** {@code y = x W^T + b}: x is {@code [rows, inputs]}, y is {@code [rows, outputs]}. */
    void linear(View x, Linear weights, View y);

    /** {@code dx = dy W}: the gradient with respect to the input of a linear layer with float32 weights. */
    void linearBackward(View dy, Linear weights, View dx);

    /** {@code y = Q(x) W^T + b} with integer weights; the products of codes are exact. The grid has no row scale. */
    void linear(View x, CodeGrid grid, Linear weights, View y);

    /** {@code c = a b}, batched over the leading axes, which are equal; any strides. */
    void matmul(View a, View b, View c);

    /**
     * {@code c = Q(a) Q(b)} for {@code [images, heads, n, k]} times {@code [images, heads, k, m]}, any strides; the
     * products of codes are exact. A list holds one grid for all heads or one a head.
     */
    void matmul(View a, List<CodeGrid> gridsA, View b, List<CodeGrid> gridsB, View c);

    /** Normalises the rows to mean 0 and variance 1, then {@code y = x * gamma + beta}. */
    void layerNorm(View x, View gamma, View beta, float epsilon, View y);

    /** Gradient of {@link #layerNorm} with respect to x, from x and the gradient at y. */
    void layerNormBackward(View x, View gamma, float epsilon, View dy, View dx);

    /** {@code y = softmax(scale * x)} over the last axis. y may be x. */
    void softmax(View x, float scale, View y);

    /** Gradient of {@link #softmax} with respect to x, from its output y and the gradient there. */
    void softmaxBackward(View y, View dy, float scale, View dx);

    /** {@code y = x/2 (1 + erf(x / sqrt 2))}. y may be x. */
    void gelu(View x, View y);

    /** Gradient of {@link #gelu} with respect to x. */
    void geluBackward(View x, View dy, View dx);

    /** {@code c = a + b}; b may lack leading axes, over which it is repeated. c may be a. */
    void add(View a, View b, View c);

    /** {@code y = x * factors}: factors {@code [columns]} are repeated over the rows of x. y may be x. */
    void multiply(View x, View factors, View y);

    /** {@code sum += factor * x * x}. */
    void addSquare(View x, float factor, View sum);

    /** {@code y = |x|}. */
    void magnitudes(View x, View y);

    /** Sets all elements to zero. */
    void zero(View x);

    /** Copies between views of equal sizes and any strides. */
    void copy(View from, View to);

    /** {@code to[i] = from[rows[i]]} along the outermost axis. */
    void gather(View from, int[] rows, View to);

    /** Codes of x in one range of a grid, as signed bytes; both dense. */
    void quantize(View x, CodeGrid grid, int range, View codes);

    /** What the codes of x in a grid stand for, row scale included; y may be x. */
    default void decoded(View x, CodeGrid grid, View y) {
        Tensor numbers = download(x);
        HostOperations.decode(numbers.data().array(), x.size(-1), grid);
        upload(numbers, y);
    }

    /**
     * Multiplies each block of consecutive numbers with Sylvester's Hadamard matrix times {@link
     * HostOperations#hadamardFactor}; y may be x.
     *
     * @param block a power of two that divides the length of a row
     */
    default void hadamard(View x, int block, View y) {
        HostOperations.requireBlock(block, x.size(-1));
        Tensor numbers = download(x);
        HostOperations.hadamard(numbers.data().array(), Math.toIntExact(x.elements()), block);
        upload(numbers, y);
    }

    /**
     * Sums of {@code w (a - b)^2} per group.
     *
     * @param a {@code [outer, groups, inner]}, like b and w; without weights w = 1
     * @return {@code [groups]}
     */
    default double[] squaredErrors(View a, View b, Optional<View> w) {
        return HostOperations.squaredErrors(download(a).toArray(), download(b).toArray(),
                w.map(weights -> download(weights).toArray()).orElse(null), a.size(1),
                Math.toIntExact(a.elements() / a.size(0) / a.size(1)));
    }

    /**
     * Largest value per group; NaN if a group holds one.
     *
     * @param x {@code [outer, groups, inner]}
     * @param absolute whether magnitudes are compared
     * @return {@code [groups]}
     */
    float[] maxima(View x, boolean absolute);

    /** Sum of each row in float64. */
    double[] rowSums(View x);

    /**
     * Prepares a problem for scoring. What the scores of several searches share is kept in memory that the scope owns.
     */
    Scoring scoring(Scope owner, MatmulProblem problem);

    /** Scores candidates of a problem once, see {@link Scoring#score}. */
    default double[][] score(MatmulProblem problem, Operand searched, List<CodeGrid> fixed, List<List<CodeGrid>> candidates,
            int from, int to) {
        try (Scope scope = scope()) {
            return scoring(scope, problem).score(searched, fixed, candidates, from, to);
        }
    }

    /**
     * What the device has been busy with since the backend was opened: on a processor thread seconds of scoring by kind of
     * work, on a GPU seconds by kernel. Empty if the device does not tell.
     */
    default Map<String, Double> scoringSeconds() {
        return Map.of();
    }

    /** Frees the device. Every scope must be closed before. */
    @Override
    void close();

    /** A problem ready for scoring. */
    @FunctionalInterface
    interface Scoring {
        /**
         * Scores candidates for the scales of one operand while the other's stay fixed.
         *
         * @param searched which operand the candidates are for
         * @param fixed grids of the other operand: one for all, or one a group; none leaves it in float32
         * @param candidates for each candidate the grids of the searched operand: one for all, or one a group
         * @param from first unit of the problem to take, see {@link MatmulProblem#units()}
         * @param to first unit beyond
         * @return the loss per candidate and group of the searched operand, {@code [candidates][groups]}, smaller is
         *     better; adding the losses of disjoint units gives the loss of their union
         */
        double[][] score(Operand searched, List<CodeGrid> fixed, List<List<CodeGrid>> candidates, int from, int to);
    }

    /** A part of the work of {@link #parallel}. */
    @FunctionalInterface
    interface Part {
        /** Does the items {@code [from, to)}; temporaries live in {@code scope}, closed afterwards. */
        void run(int from, int to, Scope scope);
    }

    /** Prepared weights. */
    interface Linear {
        /** Length of an input row. */
        int inputs();

        /** Length of an output row. */
        int outputs();
    }
}
