package io.github.ptq4vit.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.Backend;
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
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.IntFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** How many threads share the work changes nothing but the time. */
class ThreadsTest {
    private static final List<IntFunction<CpuBackend>> PATHS = List.of(CpuBackend::new, CpuBackend::withFloatProducts);

    @ParameterizedTest
    @EnumSource
    void scoresAreEqualToTheLastBitWithAnyNumberOfThreads(Distance distance) {
        for (IntFunction<CpuBackend> path : PATHS) {
            for (int candidates : new int[] {1, 2, 5, 9, 20}) {
                double[][] one = scores(path.apply(1), distance, candidates);
                for (int threads = 2; threads <= 4; threads++) {
                    double[][] more = scores(path.apply(threads), distance, candidates);
                    for (int i = 0; i < one.length; i++) {
                        assertArrayEquals(one[i], more[i], "candidates " + candidates + ", threads " + threads + ", part " + i);
                    }
                }
            }
        }
    }

    private static double[][] scores(CpuBackend backend, Distance distance, int count) {
        List<double[]> losses = new ArrayList<>();
        try (backend; Scope scope = backend.scope()) {
            for (int heads : new int[] {1, 3}) {
                int batch = heads == 1 ? 1 : 2 * heads;
                View l = random(backend, scope, 1, batch, 65, 33);
                View r = random(backend, scope, 2, batch, 17, 33).transpose();
                View o = scope.floats(batch, 65, 17);
                backend.matmul(l, r, o);
                MatmulProblem problem = new MatmulProblem(l, r, o, Optional.empty(), Optional.empty(), heads, 1, distance);
                List<CodeGrid> fixed = List.of(uniform(0.03f));
                List<List<CodeGrid>> uniforms = new ArrayList<>();
                List<List<CodeGrid>> twins = new ArrayList<>();
                List<List<CodeGrid>> mixed = new ArrayList<>();
                for (int i = 0; i < count; i++) {
                    uniforms.add(List.of(uniform(0.02f + 0.001f * i)));
                    twins.add(List.of(twin(0.01f, 0.02f + 0.001f * i)));
                    mixed.add(List.of(twin(0.01f + 0.001f * (i / 4), 0.02f + 0.001f * i)));
                }
                for (List<List<CodeGrid>> candidates : List.of(uniforms, twins, mixed)) {
                    losses.addAll(Arrays.asList(backend.score(problem, Operand.LEFT, fixed, candidates, 0, problem.units())));
                }
                losses.addAll(Arrays.asList(backend.score(problem, Operand.RIGHT, fixed, uniforms, 0, problem.units())));
                losses.addAll(Arrays.asList(backend.score(problem, Operand.RIGHT, List.of(), uniforms, 0, problem.units())));
            }
        }
        return losses.toArray(new double[0][]);
    }

    @Test
    void everyItemIsDoneOnceAlsoFromWithinAPart() {
        try (Backend backend = new CpuBackend(3)) {
            AtomicIntegerArray done = new AtomicIntegerArray(7 * 5);
            backend.parallel(7, (from, to, scope) -> {
                for (int i = from; i < to; i++) {
                    int outer = i;
                    backend.parallel(5, (f, t, inner) -> {
                        for (int j = f; j < t; j++) {
                            done.incrementAndGet(outer * 5 + j);
                        }
                    });
                }
            });
            for (int i = 0; i < done.length(); i++) {
                assertEquals(1, done.get(i));
            }
            backend.parallel(0, (from, to, scope) -> {
                throw new AssertionError("there is nothing to do");
            });
        }
    }

    @Test
    void theFailureOfAPartIsThrownOnAndTheBackendStaysUsable() {
        try (Backend backend = new CpuBackend(3)) {
            for (int bad = 0; bad < 20; bad += 19) {
                int failing = bad;
                IllegalStateException thrown = assertThrows(IllegalStateException.class,
                        () -> backend.parallel(20, (from, to, scope) -> {
                            if (from <= failing && failing < to) {
                                throw new IllegalStateException("item " + failing);
                            }
                        }));
                assertEquals("item " + bad, thrown.getMessage());
            }
            AtomicIntegerArray done = new AtomicIntegerArray(20);
            backend.parallel(20, (from, to, scope) -> done.addAndGet(from, to - from));
            for (int i = 0; i < 20; i++) {
                assertEquals(1, done.get(i));
            }
        }
    }

    @Test
    void manyCallersShareTheThreadsAlsoAfterTheyFellAsleep() throws Exception {
        try (Workers workers = new Workers(3, () -> {
        })) {
            for (int round = 0; round < 3; round++) {
                List<CompletableFuture<Void>> callers = new ArrayList<>();
                AtomicIntegerArray done = new AtomicIntegerArray(5 * 4);
                for (int caller = 0; caller < 5; caller++) {
                    int own = caller;
                    callers.add(CompletableFuture.runAsync(() -> {
                        for (int loop = 0; loop < 2000; loop++) {
                            workers.run(4, item -> done.incrementAndGet(own * 4 + item));
                        }
                    }, task -> new Thread(task).start()));
                }
                for (CompletableFuture<Void> caller : callers) {
                    caller.get(1, TimeUnit.MINUTES);
                }
                for (int i = 0; i < done.length(); i++) {
                    assertEquals(2000, done.get(i));
                }
                Thread.sleep(20);
            }
        }
    }

    @Test
    void anInterruptedCallerWaitsForItsHelpersAndSaysSo() throws Exception {
        try (Workers workers = new Workers(2, () -> {
        })) {
            CountDownLatch begun = new CountDownLatch(2);
            CountDownLatch go = new CountDownLatch(1);
            AtomicInteger running = new AtomicInteger();
            AtomicReference<String> end = new AtomicReference<>("nothing thrown");
            Thread caller = new Thread(() -> {
                Thread self = Thread.currentThread();
                try {
                    workers.run(1000, item -> {
                        running.incrementAndGet();
                        begun.countDown();
                        if (Thread.currentThread() != self) {
                            await(go);
                        } else {
                            await(begun);
                        }
                        running.decrementAndGet();
                    });
                } catch (CancellationException e) {
                    end.set(running.get() + " running, " + (self.isInterrupted() ? "interrupted" : "not interrupted"));
                }
            });
            caller.start();
            assertTrue(begun.await(1, TimeUnit.MINUTES));
            caller.interrupt();
            go.countDown();
            caller.join(60_000);
            assertEquals("0 running, interrupted", end.get());
            int[] after = new int[1];
            workers.run(1, item -> after[0]++);
            assertEquals(1, after[0]);
        }
    }

    /** Waits without giving heed to interruptions. */
    private static void await(CountDownLatch latch) {
        while (latch.getCount() > 0) {
            Thread.onSpinWait();
        }
    }

    @Test
    void oneLayerServesManyThreadsAtOnce() {
        try (Backend backend = new CpuBackend(3); Scope scope = backend.scope()) {
            Random random = new Random(3);
            float[] numbers = new float[65 * 33];
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] = (float) random.nextGaussian();
            }
            Backend.Linear layer = backend.linear(scope, Tensor.of(io.github.ptq4vit.tensor.Shape.of(65, 33), numbers), Optional.empty());
            View x = random(backend, scope, 4, 60, 7, 33);
            View together = scope.floats(60, 7, 65);
            View alone = scope.floats(60, 7, 65);
            backend.parallel(60, (from, to, part) -> backend.linear(x.slice(0, from, to), layer, together.slice(0, from, to)));
            for (int i = 0; i < 60; i++) {
                backend.linear(x.at(i), layer, alone.at(i));
            }
            assertArrayEquals(backend.download(alone).toArray(), backend.download(together).toArray());
        }
    }

    private static CodeGrid uniform(float step) {
        return CodeGrid.of(CodeRange.unlimited(step, -128, 127));
    }

    private static CodeGrid twin(float negative, float positive) {
        return CodeGrid.of(new CodeRange(negative, -128, 0, Float.NEGATIVE_INFINITY, 0),
                new CodeRange(positive, 0, 127, 0, Float.POSITIVE_INFINITY));
    }

    private static View random(Backend backend, Scope scope, long seed, int... sizes) {
        Tensor tensor = Tensor.zeros(sizes);
        Random random = new Random(seed);
        for (int i = 0; i < tensor.data().limit(); i++) {
            tensor.data().put(i, (float) random.nextGaussian());
        }
        View view = scope.floats(sizes);
        backend.upload(tensor, view);
        return view;
    }
}
