package io.github.ptq4vit.calibrate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.BackendUnderTest;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.golden.GoldenFolder;
import io.github.ptq4vit.golden.GoldenRun;
import io.github.ptq4vit.golden.GoldenRun.Search;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.Tensor;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.TestInstance;

/**
 * Every search of the reference, on its own inputs, outputs and gradients: the scores of all candidates, the choice, the
 * intervals and the codes of the weights. Each search is seeded with the reference's interval of the other operand. The
 * bounds are those of golden/README.md: two independent float32 computations agree so far.
 *
 * <p>Not compared: gradients named {@code reference}, which are rounding noise, and the searches of softmax twins, whose
 * quantiser the reference has wrong (ALGORITHM, section 6).
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class SearchAgreementTest {
    /** Scores of the Hessian metric: relative, with a floor relative to the largest of the curve. */
    static final double HESSIAN = 2e-4;
    static final double HESSIAN_FLOOR = 1e-5;
    /** Scores of the cosine metric, for each of the similarities that are added. */
    private static final double COSINE = 3e-7;
    /** By how much the score of an equally good choice may be lower, relative to the best score. */
    static final double HESSIAN_TIE = 1e-5;
    private static final double COSINE_TIE = 3e-7;

    /** Quantised outputs: rounding of a sum, relative to the largest output; and rows in which a code may differ by one. */
    private static final double OUTPUT = 2e-6;
    private static final int HANDFUL = 4;
    /** On an emulated GPU one bit width is searched: the kernels are the same for all, and slow there. */
    private static final int BITS_ON_GPU = 8;

    private final Backend integers = new CpuBackend(2);
    private final Backend floats = CpuBackend.withFloatProducts(2);
    private final List<Backend> gpus = BackendUnderTest.quickGpus().map(gpu -> gpu.open().get()).toList();
    private final List<GoldenFolder> folders = GoldenFolder.folders().stream().map(GoldenFolder::open).toList();
    /** Worst deviation over its bound, by folder and metric. */
    private final Map<String, Double> margins = new TreeMap<>();
    private final Map<String, Integer> counts = new TreeMap<>();

    @AfterAll
    void close() {
        margins.forEach((what, share) -> System.out.printf(Locale.ROOT, "%s: at worst %.3f of the bound%n", what, share));
        counts.forEach((what, count) -> System.out.println(what + ": " + count));
        folders.forEach(GoldenFolder::close);
        integers.close();
        floats.close();
        gpus.forEach(Backend::close);
    }

    @TestFactory
    Stream<DynamicNode> everyCurveAndEveryChoiceOfTheSearchesIsTheReferences() {
        return layers(this::checkSearches);
    }

    @TestFactory
    Stream<DynamicNode> quantisedOutputsAreTheReferences() {
        return layers(this::checkOutput);
    }

    @TestFactory
    Stream<DynamicNode> intervalsAreEqualToTheLastBitAndAllWeightCodesAreEqual() {
        return layers(this::checkIntervals);
    }

    /** One layer of one run. */
    @FunctionalInterface
    private interface Check {
        void run(GoldenFolder folder, GoldenRun run, GoldenFolder.Layer layer);
    }

    private Stream<DynamicNode> layers(Check check) {
        return folders.stream().map(folder -> DynamicContainer.dynamicContainer(folder.toString(), folder.runs().stream()
                .filter(run -> !run.grad().equals("reference"))
                .map(run -> DynamicContainer.dynamicContainer(run.name(), run.layers().stream()
                        .filter(layer -> folder.hasRaw(layer.name()))
                        .map(layer -> DynamicTest.dynamicTest(layer.name(), () -> check.run(folder, run, layer)))))));
    }

    private List<Backend> backends(GoldenRun run) {
        return Stream.concat(Stream.of(integers, floats), run.weightBits() == BITS_ON_GPU ? gpus.stream() : Stream.empty()).toList();
    }

    private void checkSearches(GoldenFolder folder, GoldenRun run, GoldenFolder.Layer layer) {
        if (layer.isSoftmaxTwin()) {
            counts.merge(folder + ": softmax twins whose searches were left out", 1, Integer::sum);
            return;
        }
        for (Backend backend : backends(run)) {
            try (Scope scope = backend.scope()) {
                GoldenLayer golden = new GoldenLayer(folder, run, layer, backend, scope);
                Map<Operand, List<Quantizer>> current = new HashMap<>(
                        Map.of(Operand.LEFT, golden.left.start(), Operand.RIGHT, golden.right.start()));
                for (Search search : run.searches(layer.name())) {
                    Operand searched = GoldenLayer.side(search.operand());
                    List<Quantizer> other = current.get(searched == Operand.LEFT ? Operand.RIGHT : Operand.LEFT);
                    compare(folder, run, golden, search, other);
                    current.put(searched, golden.chosen(searched, search.best()));
                    counts.merge(folder + ": searches compared", 1, Integer::sum);
                }
            }
        }
    }

    private void compare(GoldenFolder folder, GoldenRun run, GoldenLayer golden, Search search, List<Quantizer> other) {
        Operand searched = GoldenLayer.side(search.operand());
        double[][] losses = golden.losses(searched, other);
        int groups = search.groups();
        assertEquals(search.candidates(), losses.length);
        assertEquals(groups, losses[0].length);
        boolean cosine = run.metric().equals("cosine");
        String where = folder + ", " + run.metric();
        int[] ours = ScaleSearch.firstBest(losses, groups);
        for (int g = 0; g < groups; g++) {
            double largest = 0;
            for (int c = 0; c < losses.length; c++) {
                largest = Math.max(largest, Math.abs(curve(search, c, g)));
            }
            for (int c = 0; c < losses.length; c++) {
                double theirs = curve(search, c, g);
                double bound = cosine ? COSINE * golden.summed() : Math.max(HESSIAN * Math.abs(theirs), HESSIAN_FLOOR * largest);
                double off = Math.abs(golden.score(losses[c][g], groups) - theirs);
                boolean cancelled = cosine && off > bound;
                if (cancelled) {
                    bound += noise(golden, searched, other, c, g);
                }
                String text = String.format(Locale.ROOT, "%s %s round %d, candidate %d, group %d: score %.9g, ours %.9g", run,
                        search.operand(), search.round(), c, g, theirs, golden.score(losses[c][g], groups));
                assertTrue(off <= bound, text);
                margins.merge(where + (cancelled ? ", scores with rows that cancel to 0" : ", scores"), off / bound, Math::max);
            }
            double best = curve(search, search.best()[g], g);
            double lost = best - curve(search, ours[g], g);
            if (ours[g] != search.best()[g]) {
                counts.merge(where + ": choices that differ, within a tie", 1, Integer::sum);
                double tie = (cosine ? COSINE_TIE : HESSIAN_TIE) * Math.abs(best);
                if (cosine && lost > tie) {
                    tie += noise(golden, searched, other, search.best()[g], g) + noise(golden, searched, other, ours[g], g);
                }
                assertTrue(lost <= tie, run + " " + search.operand() + " round " + search.round() + ", group " + g + ": chose "
                        + ours[g] + " instead of " + search.best()[g] + ", score " + (best - lost) + " instead of " + best);
                margins.merge(where + ", choices", lost / tie, Math::max);
            }
        }
    }

    /** What rounding noise in rows that are exactly 0 may add to or take from a score. */
    private double noise(GoldenLayer golden, Operand searched, List<Quantizer> other, int candidate, int group) {
        if (golden.weight.length > 0) {
            return 0;
        }
        List<Quantizer> own = golden.candidates(searched).quantizers().get(candidate);
        int rows = searched == Operand.LEFT ? golden.cancelledRows(own, other, group)
                : golden.cancelledRows(other, own, group);
        return rows / (double) golden.rows();
    }

    private static double curve(Search search, int candidate, int group) {
        return search.curve().data().get(candidate * search.groups() + group);
    }

    private void checkIntervals(GoldenFolder folder, GoldenRun run, GoldenFolder.Layer layer) {
        if (layer.isSoftmaxTwin()) {
            return;
        }
        try (Scope scope = integers.scope()) {
            GoldenLayer golden = new GoldenLayer(folder, run, layer, integers, scope);
            Map<Operand, int[]> last = last(run, layer);
            List<Quantizer> right = golden.chosen(Operand.RIGHT, last.get(Operand.RIGHT));
            assertArrayEquals(run.interval(layer.name(), layer.isMatmul() ? "B_interval" : "w_interval").orElseThrow(),
                    steps(right, 0), "interval of the right operand");
            if (!layer.isConvolution()) {
                List<Quantizer> left = golden.chosen(Operand.LEFT, last.get(Operand.LEFT));
                int positive = layer.isGeluTwin() ? 1 : 0;
                assertArrayEquals(run.interval(layer.name(), layer.isMatmul() ? "A_interval" : "a_interval").orElseThrow(),
                        steps(left, positive), "interval of the left operand");
                if (layer.isGeluTwin()) {
                    assertArrayEquals(run.interval(layer.name(), "a_neg_interval").orElseThrow(), steps(left, 0));
                }
            }
            run.weightCodes(layer.name()).ifPresent(codes -> {
                assertArrayEquals(codes, QuantizedLayer.codes(golden.weight, right), "codes of the weight");
                counts.merge(folder + ": weight codes compared", codes.length, Integer::sum);
            });
        }
    }

    private void checkOutput(GoldenFolder folder, GoldenRun run, GoldenFolder.Layer layer) {
        Optional<Tensor> expected = run.quantOutput(layer.name());
        if (layer.isSoftmaxTwin() || expected.isEmpty()) {
            return;
        }
        for (Backend backend : backends(run)) {
            try (Scope scope = backend.scope()) {
                GoldenLayer golden = new GoldenLayer(folder, run, layer, backend, scope);
                Map<Operand, int[]> last = last(run, layer);
                List<Quantizer> right = golden.chosen(Operand.RIGHT, last.get(Operand.RIGHT));
                List<Quantizer> left = layer.isConvolution() ? List.of() : golden.chosen(Operand.LEFT, last.get(Operand.LEFT));
                float[] ours = golden.quantized(left, right);
                compareOutputs(folder, golden, golden.inRows(expected.get()), ours, golden.oneStep(left, right));
            }
        }
    }

    /** Apart from a handful of rows in which an operand fell on the other side of a rounding tie, equal up to rounding. */
    private void compareOutputs(GoldenFolder folder, GoldenLayer golden, float[] expected, float[] ours, double oneStep) {
        assertEquals(expected.length, ours.length);
        double largest = 0;
        for (float number : expected) {
            largest = Math.max(largest, Math.abs(number));
        }
        int m = golden.problem.m();
        int flipped = 0;
        for (int row = 0; row < ours.length; row += m) {
            double off = 0;
            for (int i = row; i < row + m; i++) {
                off = Math.max(off, Math.abs(expected[i] - ours[i]));
            }
            if (off <= OUTPUT * largest) {
                margins.merge(folder + ", quantised outputs", off / largest / OUTPUT, Math::max);
            } else {
                flipped++;
                assertTrue(off <= 1.01 * oneStep, "row " + row / m + " is off by " + off + ", one step of a code makes " + oneStep);
            }
        }
        counts.merge(folder + ": rows of quantised outputs compared", ours.length / m, Integer::sum);
        counts.merge(folder + ": rows of quantised outputs with a flipped code", flipped, Integer::sum);
        assertTrue(flipped <= HANDFUL, flipped + " rows differ by a step");
    }

    private static Map<Operand, int[]> last(GoldenRun run, GoldenFolder.Layer layer) {
        return run.searches(layer.name()).stream().collect(Collectors.toMap(
                search -> GoldenLayer.side(search.operand()), Search::best, (earlier, later) -> later));
    }

    private static float[] steps(List<Quantizer> quantizers, int range) {
        float[] steps = new float[quantizers.size()];
        for (int g = 0; g < steps.length; g++) {
            steps[g] = quantizers.get(g).grid().ranges().get(range).step();
        }
        return steps;
    }
}
