package io.github.ptq4vit.transform;

import io.github.ptq4vit.backend.HostOperations;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.BlockShape;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.model.NormedLayers;
import io.github.ptq4vit.model.UnitShape;
import io.github.ptq4vit.model.VisionTransformer;
import java.util.Arrays;
import java.util.Random;

/**
 * Transforms that leave the function of a network as it is, up to rounding. Each goes from a model to a model; the original
 * stays as it is.
 */
public final class Equivalences {
    /** Added to what is balanced, as a part of its mean: a channel that is hardly used still costs something. */
    private static final double FLOOR = 0.01;

    private Equivalences() {
    }

    /**
     * Takes an offset off every channel of the LayerNorms before quantised layers and lets the layers' biases make up for it: {@code
     * beta -= m, b += W m}. LayerNorms before a layer without a bias stay as they are.
     */
    public static VisionTransformer centreNorms(VisionTransformer model, Statistics statistics) {
        Weights weights = new Weights(model);
        for (NormedLayers normed : model.config().normedLayers()) {
            if (normed.layers().stream().allMatch(layer -> layer.role().hasBias())) {
                float[] beta = weights.of(normed.norm() + ".bias");
                float[] offsets = new float[beta.length];
                for (Layer layer : normed.layers()) {
                    double[] own = statistics.offsets().get(layer.name());
                    for (int c = 0; c < offsets.length; c++) {
                        offsets[c] += (float) (own[c] / normed.layers().size());
                    }
                }
                for (Layer layer : normed.layers()) {
                    addProduct(weights.of(layer.name() + ".weight"), offsets, weights.orZeros(layer.name() + ".bias", layer.outputs()));
                }
                for (int c = 0; c < beta.length; c++) {
                    beta[c] -= offsets[c];
                }
            }
        }
        return weights.model();
    }

    /**
     * Divides the channels of every LayerNorm before quantised layers by scales that balance the errors of inputs and weights: for
     * inputs with mean squares S and columns of the weights with mean squares M the product of both errors, after a rotation
     * that spreads them evenly, is smallest for {@code s = (S / M)^(1/4)}. Gain and bias of the LayerNorm are divided by s,
     * columns of the weights multiplied.
     */
    public static VisionTransformer balanceNorms(VisionTransformer model, Statistics statistics) {
        Weights weights = new Weights(model);
        for (NormedLayers normed : model.config().normedLayers()) {
            double[] inputs = new double[weights.of(normed.norm() + ".weight").length];
            double[] columns = new double[inputs.length];
            for (Layer layer : normed.layers()) {
                add(statistics.inputs().get(layer.name()), inputs);
                addColumnSquares(weights.of(layer.name() + ".weight"), statistics.outputWeights().get(layer.name()), columns);
            }
            double[] scales = balanced(inputs, columns);
            divide(weights.of(normed.norm() + ".weight"), scales);
            divide(weights.of(normed.norm() + ".bias"), scales);
            for (Layer layer : normed.layers()) {
                multiplyColumns(weights.of(layer.name() + ".weight"), scales);
            }
        }
        return weights.model();
    }

    /**
     * Takes the mean off keys and values: softmax does not see a constant that is added to all scores of a row, and since
     * probabilities sum to 1 the mean value can be added after the projection: {@code b_k -= mean k, b_v -= mean v, b_proj += W_proj
     * mean v}.
     */
    public static VisionTransformer centreKeysAndValues(VisionTransformer model, Statistics statistics) {
        Weights weights = new Weights(model);
        for (BlockShape block : blocks(model.config())) {
            Statistics.Attention a = statistics.attention().get(block.name());
            float[] bias = weights.orZeros(name(block, LayerRole.QKV) + ".bias", 3 * block.dim());
            float[] means = new float[block.dim()];
            for (int c = 0; c < block.dim(); c++) {
                bias[block.dim() + c] -= (float) a.keyMeans()[c];
                bias[2 * block.dim() + c] -= (float) a.valueMeans()[c];
                means[c] = (float) a.valueMeans()[c];
            }
            addProduct(weights.of(name(block, LayerRole.PROJECTION) + ".weight"), means,
                    weights.of(name(block, LayerRole.PROJECTION) + ".bias"));
        }
        return weights.model();
    }

    /**
     * Multiplies the queries of each head with {@code H D / s} and the keys with {@code H D s}, which leaves their products as they
     * are: s gives channels of both the same size, the Hadamard matrix H with random signs D spreads single large ones.
     */
    public static VisionTransformer rotateQueriesAndKeys(VisionTransformer model, Statistics statistics, long seed) {
        Weights weights = new Weights(model);
        for (BlockShape block : blocks(model.config())) {
            Statistics.Attention a = statistics.attention().get(block.name());
            float[] weight = weights.of(name(block, LayerRole.QKV) + ".weight");
            float[] bias = weights.orZeros(name(block, LayerRole.QKV) + ".bias", 3 * block.dim());
            Random random = new Random(seed + block.name().hashCode());
            for (int head = 0; head < block.heads(); head++) {
                int first = head * block.headDim();
                Rotation rotation = Rotation.of(random, balanced(head(a.queries(), block, head), head(a.keys(), block, head)));
                rotation.dividing().rows(weight, bias, first);
                rotation.multiplying().rows(weight, bias, block.dim() + first);
            }
        }
        return weights.model();
    }

    /**
     * Multiplies the values of each head with {@code H D / s} and the columns of the projection with the inverse: s balances errors
     * of values and of the attention's output against those of the projection's weights.
     */
    public static VisionTransformer rotateValues(VisionTransformer model, Statistics statistics, long seed) {
        Weights weights = new Weights(model);
        for (BlockShape block : blocks(model.config())) {
            Statistics.Attention a = statistics.attention().get(block.name());
            float[] weight = weights.of(name(block, LayerRole.QKV) + ".weight");
            float[] bias = weights.orZeros(name(block, LayerRole.QKV) + ".bias", 3 * block.dim());
            float[] projection = weights.of(name(block, LayerRole.PROJECTION) + ".weight");
            double[] columns = new double[block.dim()];
            addColumnSquares(projection, statistics.outputWeights().get(name(block, LayerRole.PROJECTION)), columns);
            double[] scales = balanced(a.values(), columns);
            Random random = new Random(~seed + block.name().hashCode());
            for (int head = 0; head < block.heads(); head++) {
                Rotation rotation = Rotation.of(random, head(scales, block, head));
                rotation.dividing().rows(weight, bias, 2 * block.dim() + head * block.headDim());
                rotation.multiplying().columns(projection, block.dim(), head * block.headDim());
            }
        }
        return weights.model();
    }

    /** {@code (a / b)^(1/4)}, divided by its geometric mean. */
    static double[] balanced(double[] a, double[] b) {
        double floorA = FLOOR * mean(a) + Double.MIN_NORMAL;
        double floorB = FLOOR * mean(b) + Double.MIN_NORMAL;
        double[] scales = new double[a.length];
        double logarithms = 0;
        for (int c = 0; c < scales.length; c++) {
            scales[c] = Math.pow((a[c] + floorA) / (b[c] + floorB), 0.25);
            logarithms += Math.log(scales[c]);
        }
        double middle = Math.exp(logarithms / scales.length);
        for (int c = 0; c < scales.length; c++) {
            scales[c] /= middle;
        }
        return scales;
    }

    /**
     * {@code H D / s} and its transposed inverse, for vectors of the length of a head.
     *
     * @param scales s
     * @param signs D, true where negative
     */
    private record Rotation(double[] scales, boolean[] signs) {

        static Rotation of(Random random, double[] scales) {
            boolean[] signs = new boolean[scales.length];
            for (int c = 0; c < signs.length; c++) {
                signs[c] = random.nextBoolean();
            }
            return new Rotation(scales, signs);
        }

        Side dividing() {
            return new Side(this, -1, 1);
        }

        /** With this the products of both sides are those without rotation. */
        Side multiplying() {
            int block = Integer.lowestOneBit(scales.length);
            float factor = HostOperations.hadamardFactor(block);
            return new Side(this, 1, 1 / (block * factor * factor));
        }
    }

    /** One of the two factors of a product. */
    private record Side(Rotation rotation, int power, float gain) {

        /** Changes so many consecutive rows of a matrix and of its bias as the rotation has channels. */
        void rows(float[] weight, float[] bias, int first) {
            int columns = weight.length / bias.length;
            float[] vector = new float[rotation.scales.length];
            for (int column = -1; column < columns; column++) {
                for (int c = 0; c < vector.length; c++) {
                    vector[c] = column < 0 ? bias[first + c] : weight[(first + c) * columns + column];
                }
                apply(vector);
                for (int c = 0; c < vector.length; c++) {
                    if (column < 0) {
                        bias[first + c] = vector[c];
                    } else {
                        weight[(first + c) * columns + column] = vector[c];
                    }
                }
            }
        }

        /** Changes so many consecutive columns of a matrix. */
        void columns(float[] weight, int columns, int first) {
            float[] vector = new float[rotation.scales.length];
            for (int row = 0; row < weight.length; row += columns) {
                System.arraycopy(weight, row + first, vector, 0, vector.length);
                apply(vector);
                System.arraycopy(vector, 0, weight, row + first, vector.length);
            }
        }

        private void apply(float[] vector) {
            for (int c = 0; c < vector.length; c++) {
                double scaled = power > 0 ? vector[c] * rotation.scales[c] : vector[c] / rotation.scales[c];
                vector[c] = (float) (rotation.signs[c] ? -scaled : scaled);
            }
            HostOperations.hadamard(vector, vector.length, Integer.lowestOneBit(vector.length));
            for (int c = 0; c < vector.length; c++) {
                vector[c] *= gain;
            }
        }
    }

    private static Iterable<BlockShape> blocks(Architecture config) {
        return () -> config.units().stream().filter(unit -> unit instanceof BlockShape).map(unit -> (BlockShape) unit).iterator();
    }

    private static String name(UnitShape block, LayerRole role) {
        return block.name() + "." + role.suffix();
    }

    private static double[] head(double[] numbers, BlockShape block, int head) {
        return Arrays.copyOfRange(numbers, head * block.headDim(), (head + 1) * block.headDim());
    }

    /** {@code sum += W x}. */
    private static void addProduct(float[] weight, float[] x, float[] sum) {
        for (int row = 0; row < sum.length; row++) {
            double product = 0;
            for (int c = 0; c < x.length; c++) {
                product += (double) weight[row * x.length + c] * x[c];
            }
            sum[row] += (float) product;
        }
    }

    private static void add(double[] numbers, double[] sums) {
        for (int i = 0; i < sums.length; i++) {
            sums[i] += numbers[i];
        }
    }

    private static void addColumnSquares(float[] weight, double[] rowWeights, double[] sums) {
        for (int i = 0; i < weight.length; i++) {
            sums[i % sums.length] += rowWeights[i / sums.length] * weight[i] * weight[i];
        }
    }

    private static void multiplyColumns(float[] weight, double[] factors) {
        for (int i = 0; i < weight.length; i++) {
            weight[i] = (float) (weight[i] * factors[i % factors.length]);
        }
    }

    private static void divide(float[] numbers, double[] by) {
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = (float) (numbers[i] / by[i]);
        }
    }

    private static double mean(double[] numbers) {
        double sum = 0;
        for (double number : numbers) {
            sum += number;
        }
        return sum / numbers.length;
    }
}
