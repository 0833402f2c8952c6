package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.Distance;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.golden.GoldenFolder;
import io.github.ptq4vit.golden.GoldenRun;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * A layer of a golden run as one of our problems: the reference's own inputs, outputs and gradients, our candidates, and
 * how our losses translate to the reference's scores.
 */
final class GoldenLayer {
    private final GoldenFolder folder;
    private final GoldenRun run;
    private final GoldenFolder.Layer layer;
    private final Backend backend;
    private final Scope scope;
    private final CalibrationConfig config;
    private final Shape outputShape;
    /** Problem and search spaces. */
    final MatmulProblem problem;
    final Candidates left;
    final Candidates right;
    /** The weight, {@code [outputs, inputs]}, of a layer that has one. */
    final float[] weight;

    GoldenLayer(GoldenFolder folder, GoldenRun run, GoldenFolder.Layer layer, Backend backend, Scope scope) {
        this.folder = folder;
        this.run = run;
        this.layer = layer;
        this.backend = backend;
        this.scope = scope;
        BitWidths bits = new BitWidths(run.weightBits(), run.activationBits());
        this.config = run.config().equals("PTQ4ViT") ? CalibrationConfig.ptq4vit(bits) : CalibrationConfig.base(bits);
        this.outputShape = folder.raw(layer.name(), "output").shape();
        if (layer.isMatmul()) {
            this.weight = new float[0];
            this.problem = attention();
            this.left = Candidates.uniform(maximaPerHead("input_A"), bits.activations(), config);
            this.right = Candidates.uniform(maximaPerHead("input_B"), bits.activations(), config);
        } else {
            Tensor tensor = folder.weights().read(layer.name() + ".weight");
            this.weight = tensor.toArray();
            int outputs = tensor.shape().size(0);
            int groups = layer.name().endsWith("qkv") ? 3 : layer.type().startsWith("Channelwise") ? outputs : 1;
            this.problem = linear(outputs, groups);
            this.right = Candidates.uniform(maxima(weight, groups, 1), bits.weights(), config);
            float[] input = folder.raw(layer.name(), "input").toArray();
            if (layer.isConvolution()) {
                this.left = new Candidates(List.of(), List.of());
            } else if (layer.isGeluTwin()) {
                float largest = Float.NEGATIVE_INFINITY;
                for (float number : input) {
                    largest = Math.max(largest, number);
                }
                this.left = Candidates.geluTwin(largest, bits.activations(), config);
            } else {
                this.left = Candidates.uniform(maxima(input, 1, 1), bits.activations(), config);
            }
        }
    }

    Candidates candidates(Operand operand) {
        return operand == Operand.LEFT ? left : right;
    }

    static Operand side(GoldenRun.Operand operand) {
        return operand == GoldenRun.Operand.LEFT || operand == GoldenRun.Operand.ACTIVATION ? Operand.LEFT : Operand.RIGHT;
    }

    /** The quantisers that choices stand for. */
    List<Quantizer> chosen(Operand operand, int[] choices) {
        return IntStream.range(0, choices.length)
                .mapToObj(g -> candidates(operand).quantizers().get(choices[g]).get(g)).toList();
    }

    /** Losses of all candidates of a search. */
    double[][] losses(Operand searched, List<Quantizer> other) {
        List<CodeGrid> fixed = other.stream().map(Quantizer::grid).toList();
        List<List<CodeGrid>> grids = candidates(searched).quantizers().stream()
                .map(row -> row.stream().map(Quantizer::grid).toList()).toList();
        return backend.score(problem, searched, fixed, grids, 0, problem.units());
    }

    /**
     * The reference's score for a loss of ours: it adds over the outermost axis (images, or windows of images) and takes
     * means over tokens and features; in convolutions with a scale a channel the channel is no feature.
     */
    double score(double loss, int groups) {
        double rows = rows();
        if (problem.distance() == Distance.COSINE) {
            return summed() - loss / rows;
        }
        return -loss / (rows * problem.m() / (layer.isMatmul() ? 1 : groups));
    }

    /** Size of the outermost axis, over which scores are added. */
    int summed() {
        return outputShape.size(0);
    }

    /** Rows of outputs whose scores are averaged. */
    int rows() {
        return layer.isMatmul() ? problem.n() : (int) (outputShape.elements() / summed() / problem.m());
    }

    /** The layer's output with quantised operands, row after row. */
    float[] quantized(List<Quantizer> lefts, List<Quantizer> rights) {
        View output = scope.floats(problem.output().sizes());
        QuantizedLayer quantized = new QuantizedLayer(layer.name(), lefts, rights,
                layer.isMatmul() ? new byte[0] : QuantizedLayer.codes(weight, rights));
        if (layer.isMatmul()) {
            int images = problem.batch() / problem.heads();
            backend.matmul(perHead(problem.left(), images), quantized.leftGrids(), perHead(problem.right(), images),
                    quantized.rightGrids(), perHead(output, images));
        } else {
            QuantizedVit.linear(backend, scope, quantized, problem.left().at(0), folder.weights().contains(layer.name() + ".bias")
                    ? Optional.of(folder.weights().read(layer.name() + ".bias")) : Optional.empty(), output.at(0));
        }
        return backend.download(output).toArray();
    }

    private View perHead(View products, int images) {
        return products.reshape(images, problem.heads(), products.size(1), products.size(2));
    }

    /** A tensor in the layout of the layer's output, row after row. */
    float[] inRows(Tensor output) {
        return backend.download(lastChannels(upload(output))).toArray();
    }

    /** By how much an output may change at most when one code of an operand changes by one. */
    double oneStep(List<Quantizer> lefts, List<Quantizer> rights) {
        double left = 0;
        double right = 0;
        for (Quantizer quantizer : lefts) {
            for (CodeRange range : quantizer.grid().ranges()) {
                left = Math.max(left, range.step());
            }
        }
        for (Quantizer quantizer : rights) {
            right = Math.max(right, quantizer.grid().ranges().get(0).step());
        }
        return left * right * BitWidths.half(Math.max(run.weightBits(), run.activationBits()));
    }

    private MatmulProblem attention() {
        Tensor a = folder.raw(layer.name(), "input_A");
        int heads = a.shape().size(1);
        View left = upload(a);
        View right = upload(folder.raw(layer.name(), "input_B"));
        View output = upload(folder.raw(layer.name(), "output"));
        return new MatmulProblem(products(left), products(right), products(output), weights().map(GoldenLayer::products),
                Optional.empty(), heads, 1, distance());
    }

    private static View products(View view) {
        return view.reshape(view.size(0) * view.size(1), view.size(2), view.size(3));
    }

    private MatmulProblem linear(int outputs, int groups) {
        int inputs = weight.length / outputs;
        View left = layer.isConvolution() ? patches() : rows(upload(folder.raw(layer.name(), "input")), inputs);
        View right = upload(Tensor.of(Shape.of(1, outputs, inputs), weight)).transpose();
        View output = rows(lastChannels(upload(folder.raw(layer.name(), "output"))), outputs);
        Optional<View> weights = weights().map(w -> rows(lastChannels(w), outputs));
        String bias = layer.name() + ".bias";
        Optional<View> biasView = folder.weights().contains(bias) ? Optional.of(upload(folder.weights().read(bias)))
                : Optional.empty();
        return new MatmulProblem(left, right, output, weights, biasView, 1, groups, distance());
    }

    private static View rows(View view, int length) {
        return view.reshape(1, Math.toIntExact(view.elements() / length), length);
    }

    /** A convolution's input, its windows as rows. */
    private View patches() {
        View image = upload(folder.raw(layer.name(), "input"));
        int grid = outputShape.size(2);
        int patch = image.size(2) / grid;
        View windows = image.split(2, grid).split(4, grid).permute(0, 2, 4, 1, 3, 5);
        View copy = scope.floats(windows.sizes());
        backend.copy(windows, copy);
        return rows(copy, image.size(1) * patch * patch);
    }

    private View lastChannels(View view) {
        if (!layer.isConvolution()) {
            return view;
        }
        View last = view.permute(0, 2, 3, 1);
        View copy = scope.floats(last.sizes());
        backend.copy(last, copy);
        return copy;
    }

    private Optional<View> weights() {
        if (distance() == Distance.COSINE) {
            return Optional.empty();
        }
        float[] squares = folder.raw(layer.name(), "grad_pseudolabel").toArray();
        for (int i = 0; i < squares.length; i++) {
            squares[i] *= squares[i];
        }
        return Optional.of(upload(Tensor.of(outputShape, squares)));
    }

    private Distance distance() {
        return run.metric().equals("cosine") ? Distance.COSINE : Distance.SQUARED;
    }

    private View upload(Tensor tensor) {
        View view = scope.floats(tensor.shape().toArray());
        backend.upload(tensor, view);
        return view;
    }

    private float[] maximaPerHead(String operand) {
        Tensor tensor = folder.raw(layer.name(), operand);
        return maxima(tensor.toArray(), tensor.shape().size(1), tensor.shape().size(0));
    }

    private static float[] maxima(float[] numbers, int groups, int repeats) {
        float[] maxima = new float[groups];
        int size = numbers.length / groups / repeats;
        for (int i = 0; i < numbers.length; i++) {
            maxima[i / size % groups] = Math.max(maxima[i / size % groups], Math.abs(numbers[i]));
        }
        return maxima;
    }

    /**
     * How many output rows of a head are exactly 0 though their left codes are not: the integer products cancel. Our
     * similarity is then 0; the reference's product of float32 numbers leaves rounding noise, which may point anywhere.
     */
    int cancelledRows(List<Quantizer> lefts, List<Quantizer> rights, int head) {
        float[] a = folder.raw(layer.name(), "input_A").toArray();
        float[] b = folder.raw(layer.name(), "input_B").toArray();
        int n = problem.n();
        int k = problem.k();
        int m = problem.m();
        CodeGrid gridA = lefts.get(head).grid();
        CodeGrid gridB = rights.get(head).grid();
        List<Integer> cancelled = new ArrayList<>();
        for (int product = head; product < problem.batch(); product += problem.heads()) {
            for (int row = product * n; row < (product + 1) * n; row++) {
                boolean any = false;
                boolean zero = true;
                for (int column = 0; column < m && zero; column++) {
                    long sum = 0;
                    for (int i = 0; i < k; i++) {
                        int code = gridA.code(0, a[row * k + i]);
                        any |= code != 0;
                        sum += (long) code * gridB.code(0, b[(product * k + i) * m + column]);
                    }
                    zero = sum == 0;
                }
                if (zero && any) {
                    cancelled.add(row);
                }
            }
        }
        return cancelled.size();
    }
}
