package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.Distance;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Scoring of 100 candidates at the shapes that 32 images make in ViT-Ti: everything from float32 operands to losses, with
 * the Hessian metric at 8 bits. {@code gop} is the speed in 10^9 operations a second, a product of n x k by k x m counting
 * 2 n k m. Seconds an exhaustive search of one operand takes: the inverse of the score.
 */
@State(org.openjdk.jmh.annotations.Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 2, time = 2)
@Measurement(iterations = 5, time = 3)
@Fork(1)
public class ScoringBenchmark {
    private static final int CANDIDATES = 100;
    private static final int HALF = 128;
    private static final int IMAGES = 32;

    /** {@code n x k x m}: qkv, fc1, fc2, projection; {@code batch x n x k x m}: queries by keys, one product a head. */
    @Param({"6304x192x576", "6304x192x768", "6304x768x192", "6304x192x192", "96x197x64x197"})
    public String shape;

    /** Whose scale is searched: activations, or weights (of attention: queries, or keys). */
    @Param({"LEFT", "RIGHT"})
    public Operand searched;

    /** Threads; 0 takes one a processor. */
    @Param("0")
    public int threads;

    private Backend backend;
    private Scope scope;
    private Backend.Scoring scoring;
    private MatmulProblem problem;
    private List<CodeGrid> fixed;
    private List<List<CodeGrid>> candidates;

    /** Billions of operations, which JMH divides by the time. */
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    @State(org.openjdk.jmh.annotations.Scope.Thread)
    public static class Work {
        /** So far. */
        public double gop;
    }

    /** Random operands of unit size, weights as squared gradients are. */
    @Setup
    public void prepare() {
        backend = Backends.open("cpu", threads == 0 ? OptionalInt.empty() : OptionalInt.of(threads));
        scope = backend.scope();
        int[] sizes = Arrays.stream(shape.split("x")).mapToInt(Integer::parseInt).toArray();
        boolean attention = sizes.length == 4;
        int batch = attention ? sizes[0] : 1;
        int n = sizes[sizes.length - 3];
        int k = sizes[sizes.length - 2];
        int m = sizes[sizes.length - 1];
        View left = upload(RandomNumbers.normal(1, 1, batch, n, k));
        View right = upload(RandomNumbers.normal(2, attention ? 1 : 0.05, batch, m, k)).transpose();
        View output = scope.floats(batch, n, m);
        backend.matmul(left, right, output);
        View weight = upload(RandomNumbers.squares(3, 1e-3, batch, n, m));
        int heads = attention ? batch / IMAGES : 1;
        problem = new MatmulProblem(left, right, output, Optional.of(weight), Optional.empty(), heads, 1, Distance.SQUARED);
        scoring = backend.scoring(scope, problem);
        double largestLeft = 4.5;
        double largestRight = attention ? 4.5 : 0.2;
        boolean searchesLeft = searched == Operand.LEFT;
        fixed = grids(searchesLeft ? largestRight : largestLeft, 1, heads);
        candidates = new ArrayList<>();
        for (int i = 0; i < CANDIDATES; i++) {
            candidates.add(grids(searchesLeft ? largestLeft : largestRight, 0.01 + i * 1.19 / CANDIDATES, heads));
        }
    }

    private View upload(Tensor numbers) {
        View view = scope.floats(numbers.shape().toArray());
        backend.upload(numbers, view);
        return view;
    }

    private static List<CodeGrid> grids(double largest, double factor, int groups) {
        float step = (float) (factor * largest / (HALF - 0.5));
        return Collections.nCopies(groups, CodeGrid.of(CodeRange.unlimited(step, -HALF, HALF - 1)));
    }

    /** Frees the backend. */
    @TearDown
    public void close() {
        scope.close();
        backend.close();
    }

    /** One exhaustive search of one operand. */
    @Benchmark
    public double[][] score(Work work) {
        double[][] losses = scoring.score(searched, fixed, candidates, 0, problem.units());
        work.gop += 2e-9 * CANDIDATES * problem.batch() * problem.n() * problem.k() * problem.m();
        return losses;
    }
}
