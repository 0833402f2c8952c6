package io.github.ptq4vit.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.RandomVit;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;

/** Work is cut to what fits the device's memory, and sizes of memory are rounded sensibly. */
@EnabledIf("io.github.ptq4vit.backend.cuda.EmulatedGpu#isBuilt")
class CutWorkTest {
    private static final int MIB = 1 << 20;

    private EmulatedGpu gpu;

    @BeforeEach
    void restore() {
        gpu = new EmulatedGpu();
    }

    @AfterEach
    void close() {
        gpu.close();
    }

    @Test
    void whatFitsIsDoneAtOnceAfterTheFirst() {
        assertEquals(List.of(1, 99), ranges(100, 1 * MIB));
        assertEquals(List.of(1), ranges(1, 1 * MIB));
        assertEquals(List.of(1, 99), ranges(100, 0));
    }

    @Test
    void whatDoesNotFitIsCutIntoPowersOfTwo() {
        gpu.set("memory_bytes", 256L * MIB);
        // 192 of 256 MiB may be used
        assertEquals(List.of(1, 16, 23), ranges(40, 8 * MIB));
        assertEquals(List.of(1, 1, 1), ranges(3, 120 * MIB));
    }

    @Test
    void whatLivesOutsideTheRangesCounts() {
        gpu.set("memory_bytes", 256L * MIB);
        try (CudaBackend backend = new CudaBackend(CudaSettings.standard()); Scope outer = backend.scope()) {
            outer.floats(128, MIB / Float.BYTES);
            assertEquals(List.of(1, 8, 8, 8, 8, 7), ranges(backend, 40, 8 * MIB));
        }
    }

    @Test
    void whatAnotherProgramHoldsChangesNothing() {
        gpu.set("memory_bytes", 256L * MIB);
        try (CudaBackend other = new CudaBackend(CudaSettings.standard()); Scope scope = other.scope()) {
            scope.floats(64, MIB / Float.BYTES);
            // of what is free, 21 would fit after the first
            assertEquals(List.of(1, 16, 23), ranges(40, 8 * MIB));
        }
    }

    @Test
    void aModelThatDoesNotFitAtOnceGivesTheSameLogits() {
        VitConfig config = new VitConfig("small", 32, 4, 3, 48, 2, 3, 96, 7, false, 1e-6f);
        VisionTransformer model = RandomVit.of(config, 1);
        Tensor images = RandomVit.images(config, 41, 2);
        List<float[]> logits = new ArrayList<>();
        List<Long> peaks = new ArrayList<>();
        for (long memory : new long[] {1024L * MIB, 6L * MIB, 6L * MIB}) {
            gpu.set("memory_bytes", memory);
            try (CudaBackend backend = CudaBackend.withoutBlas(CudaSettings.standard());
                    Classifier classifier = Classifier.of(backend, model)) {
                logits.add(classifier.logits(images).toArray());
                peaks.add(backend.cudaDevice().memory().peakBytes());
            }
        }
        assertTrue(peaks.get(0) > 6L * MIB && peaks.get(1) < 6L * MIB, peaks.toString());
        assertArrayEquals(logits.get(0), logits.get(1));
        assertArrayEquals(logits.get(1), logits.get(2));
    }

    @Test
    void anItemThatDoesNotFitByItselfFails() {
        gpu.set("memory_bytes", 64L * MIB);
        assertThrows(BackendException.class, () -> ranges(3, 100 * MIB));
    }

    @Test
    void sizesAreRoundedByAnEighthAtMostAndLargeOnesByTwoMebibytes() {
        for (long bytes = 1; bytes < 1L << 36; bytes = bytes * 17 / 16 + 3) {
            long size = DeviceMemory.sizeClass(bytes);
            assertTrue(size >= bytes && size % 512 == 0, bytes + " -> " + size);
            assertTrue(size - bytes < Math.max(512, Math.min(bytes / 8.0 + 1, 2 * MIB)), bytes + " -> " + size);
            assertEquals(size, DeviceMemory.sizeClass(size));
        }
    }

    private static List<Integer> ranges(int items, int bytesAnItem) {
        try (CudaBackend backend = new CudaBackend(CudaSettings.standard())) {
            return ranges(backend, items, bytesAnItem);
        }
    }

    /** Sizes of the ranges that the items are cut into; each item is done once. */
    private static List<Integer> ranges(CudaBackend backend, int items, int bytesAnItem) {
        List<Integer> sizes = new ArrayList<>();
        int[] done = new int[items];
        int[] once = new int[items];
        backend.parallel(items, (from, to, scope) -> {
            sizes.add(to - from);
            for (int i = from; i < to; i++) {
                done[i]++;
                once[i] = 1;
            }
            if (bytesAnItem > 0) {
                // half of it in a scope of its own, as callers do
                View half = scope.floats(to - from, bytesAnItem / 2 / Float.BYTES);
                try (Scope inner = backend.scope()) {
                    backend.copy(half, inner.floats(half.sizes()));
                }
            }
        });
        assertArrayEquals(once, done);
        return sizes;
    }
}
