package io.github.ptq4vit.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.TinyModel;
import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.calibrate.CalibrationConfig;
import io.github.ptq4vit.calibrate.CalibrationImages;
import io.github.ptq4vit.calibrate.Calibrator;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What is native has an owner that closes, and a closed backend ends what computes with it. */
class LifetimesTest {
    @TempDir
    Path folder;
    private VisionTransformer model;
    private CalibrationImages images;

    @BeforeEach
    void makeInput() {
        model = TinyModel.model(folder);
        images = new CalibrationImages(List.of("a", "b"), TinyModel.random(new Random(1), 1, 2, 3, 32, 32));
    }

    /** Any number of threads one after the other needs one worker; what they use is freed with the backend. */
    @Test
    void threadsThatComeAndGoLeaveNothing() throws Exception {
        QuantizedModel quantized = new QuantizedModel(model, TinyModel.quantize(model, 8));
        CpuBackend backend = new CpuBackend(1);
        Classifier classifier = Classifier.of(backend, quantized);
        for (int i = 0; i < 30; i++) {
            Thread thread = new Thread(() -> classifier.logits(images.pixels()));
            thread.start();
            thread.join();
            assertEquals(1, backend.workers().existing());
        }
        classifier.close();
        backend.close();
        assertEquals(0, backend.workers().existing());
        assertEquals(0, backend.memory().pieces());
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3})
    void aBackendTakesEverythingAlongWhenItCloses(int threads) {
        for (int i = 0; i < 5; i++) {
            CpuBackend backend = new CpuBackend(threads);
            calibrate(backend);
            assertTrue(backend.workers().existing() <= threads, backend.workers().existing() + " workers of " + threads + " threads");
            backend.close();
            assertEquals(0, backend.workers().existing());
            assertEquals(0, backend.memory().pieces());
            backend.close();
        }
    }

    @Test
    void memoryOfAScopeOutlivesTheBackendAndGoesWithTheScope() {
        CpuBackend backend = new CpuBackend(2);
        Scope scope = backend.scope();
        View x = scope.floats(4);
        backend.upload(Tensor.zeros(4), x);
        backend.close();
        assertEquals(4, backend.download(x).shape().elements());
        assertEquals(1, backend.memory().pieces());
        assertThrows(BackendException.class, () -> backend.gelu(x, x));
        assertThrows(BackendException.class, () -> scope.floats(4));
        assertThrows(BackendException.class, () -> backend.parallel(3, (from, to, inner) -> {
        }));
        scope.close();
        scope.close();
        assertEquals(0, backend.memory().pieces());
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void closingDuringACalibrationMakesItFailByNameAndFreesEverything(int threads) throws Exception {
        for (String unit : List.of("head", "blocks.1", "blocks.0", "embedding")) {
            CpuBackend backend = new CpuBackend(threads);
            Throwable end = during(backend, unit, (thread, other) -> backend.close());
            assertTrue(end == null && unit.equals("embedding") || end instanceof BackendException && end.getMessage().contains("closed"),
                    "closed after " + unit + ": " + end);
            assertEquals(0, backend.workers().existing());
            assertEquals(0, backend.memory().pieces());
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void closingFromAnotherThreadInTheMiddleOfALoopEndsTheLoop(int threads) throws Exception {
        CpuBackend backend = new CpuBackend(threads);
        CountDownLatch inside = new CountDownLatch(1);
        CountDownLatch closed = new CountDownLatch(1);
        AtomicReference<Throwable> end = new AtomicReference<>();
        Thread thread = new Thread(() -> {
            try {
                backend.parallel(1000, (from, to, scope) -> {
                    inside.countDown();
                    await(closed);
                    backend.gelu(scope.floats(3), scope.floats(3));
                });
            } catch (RuntimeException e) {
                end.set(e);
            }
        });
        thread.start();
        await(inside);
        backend.close();
        closed.countDown();
        thread.join(TimeUnit.MINUTES.toMillis(1));
        assertTrue(!thread.isAlive() && end.get() instanceof BackendException, String.valueOf(end.get()));
        assertEquals(0, backend.workers().existing());
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void anInterruptEndsACalibrationWhichCanBeContinuedToTheSameLayers(int threads) throws Exception {
        Map<String, List<QuantizedLayer>> finished = new java.util.concurrent.ConcurrentHashMap<>();
        try (CpuBackend backend = new CpuBackend(threads)) {
            List<QuantizedLayer> whole = calibrate(backend);
            Throwable end = during(backend, "blocks.1", (thread, unit) -> thread.interrupt(), finished);
            assertTrue(end instanceof CancellationException && !finished.isEmpty() && finished.size() < 4, end + ", " + finished.keySet());
            assertEquals(whole, Calibrator.of(model).on(backend).config(config()).resume(finished).run(images).layers());
        }
    }

    private Throwable during(CpuBackend backend, String unit, BiConsumer<Thread, String> strike) throws Exception {
        return during(backend, unit, strike, new java.util.concurrent.ConcurrentHashMap<>());
    }

    /** Calibrates in another thread, and does something when a unit is finished; returns what it ended with. */
    private Throwable during(CpuBackend backend, String unit, BiConsumer<Thread, String> strike,
            Map<String, List<QuantizedLayer>> finished) throws Exception {
        AtomicReference<Throwable> end = new AtomicReference<>();
        Thread thread = new Thread(() -> {
            try {
                Calibrator.of(model).on(backend).config(config()).onUnit((name, layers) -> {
                    finished.put(name, layers);
                    if (name.equals(unit)) {
                        strike.accept(Thread.currentThread(), name);
                    }
                }).run(images);
            } catch (RuntimeException | Error e) {
                end.set(e);
            }
        });
        thread.start();
        thread.join(TimeUnit.MINUTES.toMillis(5));
        assertTrue(!thread.isAlive(), "it hangs after " + unit);
        return end.get();
    }

    private List<QuantizedLayer> calibrate(Backend backend) {
        return Calibrator.of(model).on(backend).config(config()).run(images).layers();
    }

    private static CalibrationConfig config() {
        return CalibrationConfig.ptq4vit(new BitWidths(6, 6)).withRounds(1);
    }

    private static void await(CountDownLatch latch) {
        try {
            assertTrue(latch.await(5, TimeUnit.MINUTES));
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
