package io.github.ptq4vit.calibrate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.cuda.CudaBackend;
import io.github.ptq4vit.backend.cuda.CudaSettings;
import io.github.ptq4vit.backend.cuda.EmulatedGpu;
import io.github.ptq4vit.model.RandomVit;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.quant.BitWidths;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.condition.EnabledIf;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A calibration on a GPU whose n-th allocation or launch fails ends in one sentence and leaves nothing behind. */
@EnabledIf("io.github.ptq4vit.backend.cuda.EmulatedGpu#isBuilt")
class CalibrationFaultsTest {
    private static final VitConfig SHAPE = new VitConfig("small", 16, 8, 3, 24, 1, 3, 48, 5, false, 1e-6f);
    /** All of the first ones; beyond them a sample whose distances grow. */
    private static final int EACH = 12;

    @ParameterizedTest
    @ValueSource(strings = {"fail_allocation", "fail_launch"})
    void wherever(String setting) {
        VisionTransformer model = RandomVit.of(SHAPE, 1);
        CalibrationImages images = new CalibrationImages(List.of("one", "two"), RandomVit.images(SHAPE, 2, 2));
        Random random = new Random(1);
        EmulatedGpu gpu = new EmulatedGpu();
        int failures = 0;
        try {
            for (int n = 1;; n += n < EACH ? 1 : 1 + random.nextInt(n)) {
                gpu.set(setting, n);
                String message = failureOf(model, images);
                gpu.close();
                assertEquals(0, gpu.liveAllocations(), setting + " " + n);
                if (message.isEmpty()) {
                    break;
                }
                failures++;
                assertFalse(message.contains("\n") || message.contains("Exception") || message.isBlank(), setting + " " + n + ": " + message);
            }
        } finally {
            gpu.close();
        }
        assertTrue(failures > EACH, failures + " failures");
    }

    /** The message of what the calibration failed with; empty if it did not. */
    private static String failureOf(VisionTransformer model, CalibrationImages images) {
        try (Backend backend = new CudaBackend(CudaSettings.standard())) {
            Calibrator.of(model).on(backend).config(CalibrationConfig.ptq4vit(new BitWidths(6, 6))).run(images);
            return "";
        } catch (BackendException e) {
            return e.getMessage();
        }
    }
}
