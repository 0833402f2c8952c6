package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiConsumer;
import java.util.function.Consumer;

/**
 * Quantises a model after training. For example
 *
 * <pre>{@code
 * CalibrationResult result = Calibrator.of(model).on(backend).config(CalibrationConfig.ptq4vit(new BitWidths(8, 8)))
 *         .run(images);
 * }</pre>
 */
public final class Calibrator {
    private final VisionTransformer model;
    private Recipe recipe = CalibrationConfig.ptq4vit(new BitWidths(8, 8));
    private Progress progress = Progress.NONE;
    private Map<String, List<QuantizedLayer>> known = Map.of();
    private BiConsumer<String, List<QuantizedLayer>> onUnit = (unit, layers) -> {
    };
    private Optional<VisionTransformer> network = Optional.empty();
    private Consumer<VisionTransformer> onNetwork = transformed -> {
    };
    private List<LayerRecord> records = List.of();
    private Consumer<LayerRecord> onRecord = record -> {
    };
    private Backend backend;

    private Calibrator(VisionTransformer model) {
        this.model = model;
    }

    /** A calibration of this model; by default {@code ptq4vit} at 8 bits. */
    public static Calibrator of(VisionTransformer model) {
        return new Calibrator(model);
    }

    /** Computes on this backend, which stays the caller's. */
    public Calibrator on(Backend device) {
        this.backend = device;
        return this;
    }

    /** What to do. */
    public Calibrator config(Recipe settings) {
        this.recipe = settings;
        return this;
    }

    /** Whom to tell how far it is. */
    public Calibrator progress(Progress listener) {
        this.progress = listener;
        return this;
    }

    /** Units (embedding, blocks, head) that an earlier run of the same calibration has finished: their layers by unit. */
    public Calibrator resume(Map<String, List<QuantizedLayer>> finished) {
        this.known = Map.copyOf(finished);
        return this;
    }

    /** The transformed network of an earlier run of the same calibration, see {@link #onNetwork}; empty if there is none. */
    public Calibrator network(Optional<VisionTransformer> transformed) {
        this.network = transformed;
        return this;
    }

    /** Records of the units that an earlier run has finished, as far as it kept them. */
    public Calibrator records(List<LayerRecord> earlier) {
        this.records = List.copyOf(earlier);
        return this;
    }

    /** Called with the record of each layer that is quantised, before its unit is finished. */
    public Calibrator onRecord(Consumer<LayerRecord> listener) {
        this.onRecord = listener;
        return this;
    }

    /** Called, before the first unit, with the float32 network that is quantised, if the recipe transforms the model. */
    public Calibrator onNetwork(Consumer<VisionTransformer> listener) {
        this.onNetwork = listener;
        return this;
    }

    /** Called with each finished unit's name and layers, in no particular order, one call at a time. */
    public Calibrator onUnit(BiConsumer<String, List<QuantizedLayer>> listener) {
        this.onUnit = listener;
        return this;
    }

    /**
     * Calibrates.
     *
     * @throws CalibrationException if the images do not fit the model, or the model is not finite on them
     */
    public CalibrationResult run(CalibrationImages images) {
        if (backend == null) {
            throw new IllegalStateException("No backend: call on(Backends.open(\"auto\")) first");
        }
        return new CalibrationRun(model, backend, recipe, images, progress, known, onUnit, network, onNetwork,
                records, onRecord).run();
    }
}
