package io.github.ptq4vit.calibrate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.backend.cuda.CudaBackend;
import io.github.ptq4vit.backend.cuda.CudaSettings;
import io.github.ptq4vit.backend.cuda.EmulatedGpu;
import io.github.ptq4vit.model.RandomVit;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;

/**
 * What a calibration needs of a GPU's memory: gradients, one block's arrays for all images, the weights. The blocks' inputs wait
 * on the host if they are too large; what the parts of a pass take beside that is cut to fit; and a layer's arrays make room
 * for the next layer's search.
 */
@EnabledIf("io.github.ptq4vit.backend.cuda.EmulatedGpu#isBuilt")
class CalibrationMemoryTest {
    private static final int IMAGES = 24;
    /** Too little without the host's memory and without freeing what a block's searches are done with. */
    private static final long LITTLE = 4250L << 10;

    private final VitConfig shape = new VitConfig("small", 32, 4, 3, 64, 12, 2, 256, 10, false, 1e-6f);
    private final VisionTransformer model = RandomVit.of(shape, 1);
    private final CalibrationConfig config = CalibrationConfig.ptq4vit(new BitWidths(8, 8));

    @Test
    void whatIsKeptOfAllImagesIsEnough() {
        Map<String, List<QuantizedLayer>> units = new LinkedHashMap<>();
        CalibrationImages images = images(shape, IMAGES);
        CalibrationResult result;
        try (Backend cpu = new CpuBackend(2)) {
            // which scales are known does not matter, as long as nothing is left to search
            result = Calibrator.of(model).on(cpu).config(config).onUnit(units::put).run(images(shape, 1));
        }
        long waiting = Float.BYTES * (shape.depth() - 1L) * shape.tokens() * shape.dim() * IMAGES;
        long needed = bytesKept() - waiting;
        assertTrue(needed * 6 / 5 < bytesKept(), "the inputs that wait matter");
        assertEquals(result.layers(), calibrate(model, images, needed * 6 / 5, units).layers());
        String message = assertThrows(BackendException.class, () -> calibrate(model, images, needed * 19 / 20, units)).getMessage();
        assertTrue(message.startsWith("Out of memory on device 0") && message.contains("--count"), message);
    }

    @Test
    void littleMemoryFindsTheSameScales() {
        VitConfig two = new VitConfig("two blocks", 16, 2, 3, 32, 2, 2, 128, 10, false, 1e-6f);
        CalibrationImages images = images(two, 8);
        VisionTransformer small = RandomVit.of(two, 3);
        CalibrationResult expected = calibrate(small, images, 1L << 30, Map.of());
        CalibrationResult found = calibrate(small, images, LITTLE, Map.of());
        assertEquals(expected.layers(), found.layers());
    }

    private static CalibrationImages images(VitConfig shape, int count) {
        return new CalibrationImages(IntStream.range(0, count).mapToObj(i -> "image" + i).toList(), RandomVit.images(shape, count, 2));
    }

    private CalibrationResult calibrate(VisionTransformer vit, CalibrationImages images, long memory,
            Map<String, List<QuantizedLayer>> known) {
        try (EmulatedGpu gpu = new EmulatedGpu().set("memory_bytes", memory);
                Backend backend = new CudaBackend(CudaSettings.standard())) {
            return Calibrator.of(vit).on(backend).config(config).resume(known).run(images);
        }
    }

    /** Inputs of all blocks, gradients of all draws, one block's activations and squares, all weights. */
    private long bytesKept() {
        long td = (long) shape.tokens() * shape.dim();
        long tf = (long) shape.tokens() * shape.hidden();
        long scores = (long) shape.heads() * shape.tokens() * shape.tokens();
        long inputs = (shape.depth() + 1) * td;
        long gradients = config.draws() * td;
        long activations = 9 * td + 2 * scores + 2 * tf;
        long squares = 6 * td + scores + tf;
        long weights = model.tensors().values().stream().mapToLong(t -> t.shape().elements()).sum();
        return Float.BYTES * (IMAGES * (inputs + gradients + activations + squares) + weights);
    }
}
