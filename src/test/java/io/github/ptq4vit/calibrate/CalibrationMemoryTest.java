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
 * What the passes of a calibration need of a GPU's memory: every block's input, the gradients, one block's arrays for all
 * images; what its parts take beside that is cut to fit.
 */
@EnabledIf("io.github.ptq4vit.backend.cuda.EmulatedGpu#isBuilt")
class CalibrationMemoryTest {
    private static final int IMAGES = 24;

    private final VitConfig shape = new VitConfig("small", 32, 4, 3, 64, 2, 4, 256, 10, false, 1e-6f);
    private final VisionTransformer model = RandomVit.of(shape, 1);
    private final CalibrationConfig config = CalibrationConfig.ptq4vit(new BitWidths(8, 8));
    private final CalibrationImages images = new CalibrationImages(
            IntStream.range(0, IMAGES).mapToObj(i -> "image" + i).toList(), RandomVit.images(shape, IMAGES, 2));

    @Test
    void whatIsKeptOfAllImagesIsEnough() {
        Map<String, List<QuantizedLayer>> units = new LinkedHashMap<>();
        CalibrationResult result;
        try (Backend cpu = new CpuBackend(2)) {
            result = Calibrator.of(model).on(cpu).config(config).onUnit(units::put).run(images);
        }
        passes(units, result, bytesKept() * 6 / 5);
        String message = assertThrows(BackendException.class, () -> passes(units, result, bytesKept() * 19 / 20)).getMessage();
        assertTrue(message.startsWith("Out of memory on device 0") && message.contains("--count"), message);
    }

    /** The passes of a calibration whose searches are all done: everything but the searches' own memory. */
    private void passes(Map<String, List<QuantizedLayer>> units, CalibrationResult expected, long memory) {
        try (EmulatedGpu gpu = new EmulatedGpu().set("memory_bytes", memory);
                Backend backend = new CudaBackend(CudaSettings.standard())) {
            assertEquals(expected.layers(), Calibrator.of(model).on(backend).config(config).resume(units).run(images).layers());
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
