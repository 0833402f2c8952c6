package io.github.ptq4vit.backend;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
import org.apache.commons.math3.special.Erf;

/**
 * The truth that other backends are compared with: loops written from the definitions, in float64. Being smooth far below
 * float32, it also serves to take finite differences through a network; {@link #read} and {@link #write} keep float64.
 * Only codes are as coarse as everywhere: the code of an element is that of its float32 value.
 *
 * <p>It insists on the contract: it fails on what {@link Checks} refuses, on use after close, and on leaks, and its fresh memory
 * holds NaN.
 */
public final class PlainBackend implements Backend {
    private final Set<PlainScope> open = ConcurrentHashMap.newKeySet();

    /** The elements of a window in float64, row-major. */
    public double[] read(View view) {
        return PlainBuffer.read(view);
    }

    /** Sets the elements of a window, given row-major in float64. */
    public void write(double[] values, View view) {
        PlainBuffer.write(values, view);
    }

    @Override
    public DeviceInfo device() {
        return new DeviceInfo("plain", "Java in float64, for tests", 1, "exact", "float32");
    }

    /** Itself: float64 is what both kinds are compared with. */
    @Override
    public Backend reproducible() {
        return this;
    }

    @Override
    public Scope scope() {
        PlainScope scope = new PlainScope(open::remove);
        open.add(scope);
        return scope;
    }

    @Override
    public void parallel(int items, Part part) {
        for (int item = 0; item < items; item++) {
            try (Scope scope = scope()) {
                part.run(item, item + 1, scope);
            }
        }
    }

    @Override
    public void upload(Tensor from, View to) {
        Checks.upload(from, to);
        write(doubles(from), to);
    }

    @Override
    public Tensor download(View from) {
        Checks.download(from);
        double[] values = read(from);
        float[] copy = new float[values.length];
        for (int i = 0; i < copy.length; i++) {
            copy[i] = (float) values[i];
        }
        return Tensor.of(Shape.of(from.sizes()), copy);
    }

    @Override
    public Linear linear(Scope owner, Tensor weight, Optional<Tensor> bias) {
        Checks.weights(weight, bias);
        int outputs = weight.shape().size(0);
        return new PlainLinear((PlainScope) owner, weight.shape().size(1), outputs, doubles(weight), false, new double[0],
                bias.map(PlainBackend::doubles).orElse(new double[outputs]));
    }

    @Override
    public Linear linear(Scope owner, byte[] codes, float[] steps, int inputs, Optional<Tensor> bias) {
        Checks.weights(codes, steps, inputs, bias);
        double[] weights = IntStream.range(0, codes.length).mapToDouble(i -> codes[i]).toArray();
        double[] scales = IntStream.range(0, steps.length).mapToDouble(i -> steps[i]).toArray();
        return new PlainLinear((PlainScope) owner, inputs, steps.length, weights, true, scales,
                bias.map(PlainBackend::doubles).orElse(new double[steps.length]));
    }

    @Override
    public void linear(View x, Linear weights, View y) {
        Checks.linear(x, weights, y);
        PlainLinear layer = PlainLinear.of(weights, false);
        double[] in = read(x);
        double[] out = new double[read(y).length];
        for (int i = 0; i < out.length; i++) {
            int row = i / layer.outputs();
            int column = i % layer.outputs();
            out[i] = layer.bias()[column];
            for (int k = 0; k < layer.inputs(); k++) {
                out[i] += in[row * layer.inputs() + k] * layer.weights()[column * layer.inputs() + k];
            }
        }
        write(out, y);
    }

    @Override
    public void linearBackward(View dy, Linear weights, View dx) {
        Checks.linear(dx, weights, dy);
        PlainLinear layer = PlainLinear.of(weights, false);
        double[] gradient = read(dy);
        double[] out = new double[read(dx).length];
        for (int i = 0; i < out.length; i++) {
            for (int o = 0; o < layer.outputs(); o++) {
                out[i] += gradient[i / layer.inputs() * layer.outputs() + o] * layer.weights()[o * layer.inputs() + i % layer.inputs()];
            }
        }
        write(out, dx);
    }

    @Override
    public void linear(View x, CodeGrid grid, Linear weights, View y) {
        Checks.linear(x, grid, weights, y);
        PlainLinear layer = PlainLinear.of(weights, true);
        double[] in = read(x);
        double[] out = new double[read(y).length];
        for (int i = 0; i < out.length; i++) {
            out[i] = layer.bias()[i % layer.outputs()];
        }
        double[] sizes = sizes(in, x.size(-1), grid);
        for (int range = 0; range < grid.ranges().size(); range++) {
            double[] codes = codes(in, x.size(-1), grid, range);
            for (int i = 0; i < out.length; i++) {
                int column = i % layer.outputs();
                double sum = 0;
                for (int k = 0; k < layer.inputs(); k++) {
                    sum += codes[i / layer.outputs() * layer.inputs() + k] * layer.weights()[column * layer.inputs() + k];
                }
                out[i] += sum * layer.steps()[column] * grid.ranges().get(range).step() * sizes[i / layer.outputs()];
            }
        }
        write(out, y);
    }

    @Override
    public void matmul(View a, View b, View c) {
        Checks.matmul(a, b, c);
        if (a.rank() > 2) {
            for (int i = 0; i < a.size(0); i++) {
                matmul(a.at(i), b.at(i), c.at(i));
            }
            return;
        }
        write(product(read(a), read(b), a.size(0), a.size(1), b.size(1)), c);
    }

    @Override
    public void matmul(View a, List<CodeGrid> gridsA, View b, List<CodeGrid> gridsB, View c) {
        Checks.matmul(a, gridsA, b, gridsB, c);
        for (int i = 0; i < a.size(0) * a.size(1); i++) {
            int image = i / a.size(1);
            int head = i % a.size(1);
            View left = a.at(image).at(head);
            View right = b.at(image).at(head);
            CodeGrid gridA = gridsA.get(gridsA.size() == 1 ? 0 : head);
            CodeGrid gridB = gridsB.get(gridsB.size() == 1 ? 0 : head);
            double[] sum = new double[left.size(0) * right.size(1)];
            double[] lefts = sizes(read(left), left.size(1), gridA);
            double[] columns = sizes(read(right.transpose()), right.size(0), gridB);
            for (int range = 0; range < gridA.ranges().size(); range++) {
                double scale = (double) gridA.ranges().get(range).step() * gridB.ranges().get(0).step();
                double[] rights = codes(read(right.transpose()), right.size(0), gridB, 0);
                double[] products = product(codes(read(left), left.size(1), gridA, range), transposed(rights, right.size(1)),
                        left.size(0), left.size(1), right.size(1));
                for (int j = 0; j < sum.length; j++) {
                    sum[j] += scale * products[j] * lefts[j / right.size(1)] * columns[j % right.size(1)];
                }
            }
            double[] shares = gridA.rows() == RowScale.SUM ? rowSums(decoded(read(left), left.size(1), gridA), left.size(1)) : new double[0];
            for (int j = 0; j < sum.length && shares.length > 0; j++) {
                sum[j] /= shares[j / right.size(1)] == 0 ? 1 : shares[j / right.size(1)];
            }
            write(sum, c.at(image).at(head));
        }
    }

    @Override
    public void layerNorm(View x, View gamma, View beta, float epsilon, View y) {
        Checks.layerNorm(x, gamma, beta, y);
        write(PlainFunctions.layerNorm(read(x), read(gamma), read(beta), epsilon), y);
    }

    @Override
    public void layerNormBackward(View x, View gamma, float epsilon, View dy, View dx) {
        Checks.layerNorm(x, gamma, gamma, dy, dx);
        write(PlainFunctions.layerNormBackward(read(x), read(gamma), epsilon, read(dy)), dx);
    }

    @Override
    public void softmax(View x, float scale, View y) {
        Checks.rows(x, y);
        write(PlainFunctions.softmax(read(x), x.size(-1), scale), y);
    }

    @Override
    public void softmaxBackward(View y, View dy, float scale, View dx) {
        Checks.rows(y, dy, dx);
        write(PlainFunctions.softmaxBackward(read(y), read(dy), y.size(-1), scale), dx);
    }

    @Override
    public void gelu(View x, View y) {
        Checks.alike(x, y);
        write(Arrays.stream(read(x)).map(v -> v / 2 * Erf.erfc(-v / Math.sqrt(2))).toArray(), y);
    }

    @Override
    public void geluBackward(View x, View dy, View dx) {
        Checks.alike(x, dy, dx);
        double[] at = read(x);
        double[] gradient = read(dy);
        for (int i = 0; i < at.length; i++) {
            double density = Math.exp(-at[i] * at[i] / 2) / Math.sqrt(2 * Math.PI);
            gradient[i] *= Erf.erfc(-at[i] / Math.sqrt(2)) / 2 + at[i] * density;
        }
        write(gradient, dx);
    }

    @Override
    public void add(View a, View b, View c) {
        Checks.add(a, b, c);
        double[] sum = read(a);
        double[] repeated = read(b);
        for (int i = 0; i < sum.length; i++) {
            sum[i] += repeated[i % repeated.length];
        }
        write(sum, c);
    }

    @Override
    public void multiply(View x, View factors, View y) {
        Checks.multiply(x, factors, y);
        double[] product = read(x);
        double[] repeated = read(factors);
        for (int i = 0; i < product.length; i++) {
            product[i] *= repeated[i % repeated.length];
        }
        write(product, y);
    }

    @Override
    public void addSquare(View x, float factor, View sum) {
        Checks.alike(x, sum);
        double[] in = read(x);
        double[] out = read(sum);
        for (int i = 0; i < in.length; i++) {
            out[i] += factor * in[i] * in[i];
        }
        write(out, sum);
    }

    @Override
    public void magnitudes(View x, View y) {
        Checks.alike(x, y);
        write(Arrays.stream(read(x)).map(Math::abs).toArray(), y);
    }

    @Override
    public void zero(View x) {
        Checks.alike(x);
        write(new double[Math.toIntExact(x.elements())], x);
    }

    @Override
    public void copy(View from, View to) {
        Checks.copy(from, to);
        write(read(from), to);
    }

    @Override
    public void gather(View from, int[] rows, View to) {
        Checks.gather(from, rows, to);
        for (int i = 0; i < rows.length; i++) {
            write(read(from.at(rows[i])), to.at(i));
        }
    }

    @Override
    public void quantize(View x, CodeGrid grid, int range, View codes) {
        Checks.quantize(x, grid, range, codes);
        write(codes(read(x), grid, range), codes);
    }

    @Override
    public float[] maxima(View x, boolean absolute) {
        Checks.groups(x);
        double[] in = read(x);
        float[] maxima = new float[x.size(1)];
        Arrays.fill(maxima, Float.NEGATIVE_INFINITY);
        for (int i = 0; i < in.length; i++) {
            int group = i / x.size(2) % x.size(1);
            maxima[group] = Math.max(maxima[group], (float) (absolute ? Math.abs(in[i]) : in[i]));
        }
        return maxima;
    }

    @Override
    public double[] rowSums(View x) {
        Checks.rows(x);
        return rowSums(read(x), x.size(-1));
    }

    private static double[] rowSums(double[] numbers, int columns) {
        double[] sums = new double[numbers.length / columns];
        for (int i = 0; i < numbers.length; i++) {
            sums[i / columns] += numbers[i];
        }
        return sums;
    }

    @Override
    public void decoded(View x, CodeGrid grid, View y) {
        Checks.rows(x, y);
        double[] numbers = decoded(read(x), x.size(-1), grid);
        double[] sums = rowSums(numbers, x.size(-1));
        for (int i = 0; i < numbers.length && grid.rows() == RowScale.SUM; i++) {
            double sum = sums[i / x.size(-1)];
            numbers[i] /= sum == 0 ? 1 : sum;
        }
        write(numbers, y);
    }

    /** What codes stand for before rows are divided by sums. */
    private static double[] decoded(double[] numbers, int columns, CodeGrid grid) {
        double[] sum = new double[numbers.length];
        double[] sizes = sizes(numbers, columns, grid);
        for (int range = 0; range < grid.ranges().size(); range++) {
            double[] codes = codes(numbers, columns, grid, range);
            for (int i = 0; i < sum.length; i++) {
                sum[i] += codes[i] * grid.ranges().get(range).step() * sizes[i / columns];
            }
        }
        return sum;
    }

    /** By the definition of Sylvester's matrix: the sign is the parity of the bits that row and column have in common. */
    @Override
    public void hadamard(View x, int block, View y) {
        Checks.hadamard(x, block, y);
        double[] in = read(x);
        double[] out = new double[in.length];
        for (int i = 0; i < in.length; i++) {
            for (int j = 0; j < block; j++) {
                int sign = Integer.bitCount(i % block & j) % 2 == 0 ? 1 : -1;
                out[i] += sign * in[i / block * block + j] * HostOperations.hadamardFactor(block);
            }
        }
        write(out, y);
    }

    @Override
    public double[] squaredErrors(View a, View b, Optional<View> w) {
        Checks.groups(a, b, w.orElse(b));
        double[] first = read(a);
        double[] second = read(b);
        double[] weights = w.map(view -> read(view)).orElse(new double[0]);
        double[] sums = new double[a.size(1)];
        for (int i = 0; i < first.length; i++) {
            double error = first[i] - second[i];
            sums[i / a.size(2) % a.size(1)] += error * error * (weights.length == 0 ? 1 : weights[i]);
        }
        return sums;
    }

    @Override
    public Scoring scoring(Scope owner, MatmulProblem problem) {
        return (searched, fixed, candidates, from, to) -> {
            Checks.score(problem, searched, fixed, candidates, from, to);
            return new PlainScorer(problem, searched, fixed, IntStream.range(0, candidates.count()).mapToObj(candidates::grids).toList())
                    .score(from, to).losses();
        };
    }

    /** Throws if a scope is still open. */
    @Override
    public void close() {
        if (!open.isEmpty()) {
            throw new BackendException(open.size() + " scopes were never closed");
        }
    }

    /** The same of rows, which may have a range of their own. */
    private static double[] codes(double[] numbers, int columns, CodeGrid grid, int range) {
        if (grid.rows() != RowScale.RANGE) {
            return codes(numbers, grid, range);
        }
        double[] codes = new double[numbers.length];
        float[] floats = floats(numbers);
        for (int i = 0; i < codes.length; i++) {
            int row = i / columns * columns;
            codes[i] = RowRange.of(floats, row, row + columns, grid).code(grid, range, floats[i]);
        }
        return codes;
    }

    /** The range of each row, or 1. */
    private static double[] sizes(double[] numbers, int columns, CodeGrid grid) {
        double[] sizes = new double[numbers.length / columns];
        float[] floats = floats(numbers);
        for (int row = 0; row < sizes.length; row++) {
            sizes[row] = grid.rows() == RowScale.RANGE
                    ? RowRange.of(floats, row * columns, (row + 1) * columns, grid).size() : 1;
        }
        return sizes;
    }

    private static float[] floats(double[] numbers) {
        float[] floats = new float[numbers.length];
        for (int i = 0; i < floats.length; i++) {
            floats[i] = (float) numbers[i];
        }
        return floats;
    }

    private static double[] transposed(double[] rows, int count) {
        double[] result = new double[rows.length];
        for (int i = 0; i < rows.length; i++) {
            result[i % (rows.length / count) * count + i / (rows.length / count)] = rows[i];
        }
        return result;
    }

    /** Codes of numbers in one range, of their float32 values. */
    static double[] codes(double[] numbers, CodeGrid grid, int range) {
        return Arrays.stream(numbers).map(x -> grid.code(range, (float) x)).toArray();
    }

    private static double[] product(double[] a, double[] b, int n, int k, int m) {
        double[] c = new double[n * m];
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < k; j++) {
                for (int l = 0; l < m; l++) {
                    c[i * m + l] += a[i * k + j] * b[j * m + l];
                }
            }
        }
        return c;
    }

    private static double[] doubles(Tensor tensor) {
        return IntStream.range(0, tensor.data().limit()).mapToDouble(i -> tensor.data().get(i)).toArray();
    }
}
