package io.github.ptq4vit.backend;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A device that computes: the few forward and backward operations of a transformer in float32, integer products of codes,
 * and the scoring of candidates for a scale.
 *
 * <p>Operations write into memory that the caller provides and run on the calling thread; {@link #parallel} spreads work
 * over the device. Unless it says otherwise an operation takes dense row-major float32 views; it refuses others, and sizes that do
 * not fit, with an {@link IllegalArgumentException} ({@link Checks}). Rows are all axes but the last.
 *
 * <p>A new backend writes memory and transfers: {@link #device}, {@link #scope}, {@link #upload}, {@link #download}, {@link #copy},
 * {@link #quantize} and {@link #close}. All else is done on the host by default, slowly, and in the order of operations that
 * reproducible results have; a backend overrides what it does faster.
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
     * it does nothing. By default it is this device's memory with the default operations.
     */
    default Backend reproducible() {
        return new HostBackend(this);
    }

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
    default void parallel(int items, Part part) {
        if (items > 0) {
            try (Scope scope = scope()) {
                part.run(0, items, scope);
            }
        }
    }

    /** Copies host numbers into a dense view. */
    void upload(Tensor from, View to);

    /** Copies a dense view to the host. */
    Tensor download(View from);

    /** Weights of a linear layer, prepared once for products in both directions. Owned by the scope. */
    default Linear linear(Scope owner, Tensor weight, Optional<Tensor> bias) {
        Checks.weights(weight, bias);
        return HostProducts.weights(this, owner, weight, Optional.empty(), bias);
    }

    /**
     * Integer weights of a linear layer, prepared once. Owned by the scope.
     *
     * @param codes {@code [outputs, inputs]}, row-major
     * @param steps scale of each output, {@code [outputs]}
     * @param bias {@code [outputs]}
     */
    default Linear linear(Scope owner, byte[] codes, float[] steps, int inputs, Optional<Tensor> bias) {
        Checks.weights(codes, steps, inputs, bias);
        float[] numbers = new float[codes.length];
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = codes[i];
        }
        return HostProducts.weights(this, owner, Tensor.of(Shape.of(steps.length, inputs), numbers),
                Optional.of(Tensor.of(Shape.of(steps.length), steps.clone())), bias);
    }

    /** {@code y = x W^T + b}: x is {@code [rows, inputs]}, y is {@code [rows, outputs]}. */
    default void linear(View x, Linear weights, View y) {
        HostProducts.linear(this, x, weights, y);
    }

    /** {@code dx = dy W}: the gradient with respect to the input of a linear layer with float32 weights. */
    default void linearBackward(View dy, Linear weights, View dx) {
        HostProducts.linearBackward(this, dy, weights, dx);
    }

    /** {@code y = Q(x) W^T + b} with integer weights; the products of codes are exact. The grid has no row scale. */
    default void linear(View x, CodeGrid grid, Linear weights, View y) {
        HostProducts.linear(this, x, grid, weights, y);
    }

    /**
     * The same of rows that are transformed before: what comes out is equal, to the last bit, to the result of the operations one after
     * the other. A backend that overrides it reads x once.
     */
    default void linear(View x, RowTransform transform, CodeGrid grid, Linear weights, View y) {
        HostProducts.linear(this, x, transform, grid, weights, y);
    }

    /** {@code c = a b}, batched over the leading axes, which are equal; any strides. */
    default void matmul(View a, View b, View c) {
        HostProducts.matmul(this, a, b, c);
    }

    /**
     * {@code c = Q(a) Q(b)} for {@code [images, heads, n, k]} times {@code [images, heads, k, m]}, any strides; the
     * products of codes are exact. A list holds one grid for all heads or one a head.
     */
    default void matmul(View a, List<CodeGrid> gridsA, View b, List<CodeGrid> gridsB, View c) {
        HostProducts.matmul(this, a, gridsA, b, gridsB, c);
    }

    /** Normalises the rows to mean 0 and variance 1, then {@code y = x * gamma + beta}. */
    default void layerNorm(View x, View gamma, View beta, float epsilon, View y) {
        HostFunctions.layerNorm(this, x, gamma, beta, epsilon, y);
    }

    /** Gradient of {@link #layerNorm} with respect to x, from x and the gradient at y. */
    default void layerNormBackward(View x, View gamma, float epsilon, View dy, View dx) {
        HostFunctions.layerNormBackward(this, x, gamma, epsilon, dy, dx);
    }

    /** {@code y = softmax(scale * x)} over the last axis. y may be x. */
    default void softmax(View x, float scale, View y) {
        HostFunctions.softmax(this, x, scale, y);
    }

    /** Gradient of {@link #softmax} with respect to x, from its output y and the gradient there. */
    default void softmaxBackward(View y, View dy, float scale, View dx) {
        HostFunctions.softmaxBackward(this, y, dy, scale, dx);
    }

    /** {@code y = x/2 (1 + erf(x / sqrt 2))}. y may be x. */
    default void gelu(View x, View y) {
        HostFunctions.gelu(this, x, y);
    }

    /** Gradient of {@link #gelu} with respect to x. */
    default void geluBackward(View x, View dy, View dx) {
        HostFunctions.geluBackward(this, x, dy, dx);
    }

    /** {@code c = a + b}; b may lack leading axes, over which it is repeated. c may be a. */
    default void add(View a, View b, View c) {
        HostFunctions.add(this, a, b, c);
    }

    /** {@code y = x * factors}: factors {@code [columns]} are repeated over the rows of x. y may be x. */
    default void multiply(View x, View factors, View y) {
        HostFunctions.multiply(this, x, factors, y);
    }

    /** {@code sum += factor * x * x}. */
    default void addSquare(View x, float factor, View sum) {
        HostFunctions.addSquare(this, x, factor, sum);
    }

    /** {@code y = |x|}. */
    default void magnitudes(View x, View y) {
        HostFunctions.magnitudes(this, x, y);
    }

    /** Sets all numbers to zero. */
    default void zero(View x) {
        Checks.alike(x);
        HostOperations.write(this, new float[Math.toIntExact(x.elements())], x);
    }

    /** Copies between views of equal sizes and any strides; from codes to float32 numbers as well. */
    void copy(View from, View to);

    /** {@code to[i] = from[rows[i]]} along the outermost axis. */
    default void gather(View from, int[] rows, View to) {
        HostFunctions.gather(this, from, rows, to);
    }

    /** Codes of x in one range of a grid, as signed bytes; both dense. */
    void quantize(View x, CodeGrid grid, int range, View codes);

    /** What the codes of x in a grid stand for, row scale included; y may be x. */
    default void decoded(View x, CodeGrid grid, View y) {
        HostFunctions.decoded(this, x, grid, y);
    }

    /**
     * Multiplies each block of consecutive numbers with Sylvester's Hadamard matrix times {@link
     * HostOperations#hadamardFactor}; y may be x.
     *
     * @param block a power of two that divides the length of a row
     */
    default void hadamard(View x, int block, View y) {
        HostFunctions.hadamard(this, x, block, y);
    }

    /**
     * Sums of {@code w (a - b)^2} per group.
     *
     * @param a {@code [outer, groups, inner]}, like b and w; without weights w = 1
     * @return {@code [groups]}
     */
    default double[] squaredErrors(View a, View b, Optional<View> w) {
        return HostFunctions.squaredErrors(this, a, b, w);
    }

    /**
     * Largest value per group; NaN if a group holds one.
     *
     * @param x {@code [outer, groups, inner]}
     * @param absolute whether magnitudes are compared
     * @return {@code [groups]}
     */
    default float[] maxima(View x, boolean absolute) {
        return HostFunctions.maxima(this, x, absolute);
    }

    /** Sum of each row in float64. */
    default double[] rowSums(View x) {
        return HostFunctions.rowSums(this, x);
    }

    /**
     * Prepares a problem for scoring. What the scores of several searches share is kept in memory that the scope owns.
     */
    default Scoring scoring(Scope owner, MatmulProblem problem) {
        return new HostScoring(this, problem);
    }

    /**
     * Scores candidates of a problem once, see {@link Scoring#score}.
     *
     * @param candidates {@code [candidates][groups]}
     */
    default double[][] score(MatmulProblem problem, Operand searched, List<CodeGrid> fixed, List<List<CodeGrid>> candidates,
            int from, int to) {
        try (Scope scope = scope()) {
            return scoring(scope, problem).score(searched, fixed, CandidateGrids.of(candidates), from, to);
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
         * Scores candidates for the scales of one operand while the other's stay fixed. A candidate that repeats the one before it
         * in a group has the same loss there, to the last bit; one that repeats it in all groups is not computed again.
         *
         * @param searched which operand the candidates are for
         * @param fixed grids of the other operand: one for all, or one a group; none leaves it in float32
         * @param candidates of the searched operand: one grid for all groups, or one a group
         * @param from first unit of the problem to take, see {@link MatmulProblem#units()}
         * @param to first unit beyond
         * @return the loss per candidate and group of the searched operand, {@code [candidates][groups]}, smaller is
         *     better; adding the losses of disjoint units gives the loss of their union
         */
        double[][] score(Operand searched, List<CodeGrid> fixed, CandidateGrids candidates, int from, int to);
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
