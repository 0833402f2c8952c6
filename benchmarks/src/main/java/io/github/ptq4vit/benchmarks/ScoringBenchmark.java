package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.Scope;
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
    private ScoringCase searching;

    /** Billions of operations, which JMH divides by the time. */
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    @State(org.openjdk.jmh.annotations.Scope.Thread)
    public static class Work {
        /** So far. */
        public double gop;
    }

    /** Random operands. */
    @Setup
    public void prepare() {
        backend = Backends.open("cpu", threads == 0 ? OptionalInt.empty() : OptionalInt.of(threads));
        scope = backend.scope();
        searching = ScoringCase.of(backend, scope, shape, IMAGES, searched);
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
        double[][] losses = searching.score();
        work.gop += 1e-9 * searching.operations();
        return losses;
    }
}
