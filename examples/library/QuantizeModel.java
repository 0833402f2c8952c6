import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.calibrate.CalibrationConfig;
import io.github.ptq4vit.calibrate.CalibrationResult;
import io.github.ptq4vit.calibrate.Calibrator;
import io.github.ptq4vit.calibrate.SearchMode;
import io.github.ptq4vit.evaluate.Accuracy;
import io.github.ptq4vit.quant.BitWidths;

/** The library without its command line: a model is quantised to 6 bits by {@code ptq4vit}, and how often it is right is counted. */
public final class QuantizeModel {
    private QuantizeModel() {
    }

    public static void main(String[] args) {
        Characters example = Characters.in(args[0]);
        try (Backend backend = Backends.open("auto")) {
            CalibrationResult result = Calibrator.of(example.model()).on(backend)
                    .config(CalibrationConfig.ptq4vit(new BitWidths(6, 6)).withSearch(SearchMode.PROGRESSIVE))
                    .run(example.images(16));
            System.out.printf("%d layers in %.1f s%n", result.layers().size(), result.seconds());
            Accuracy accuracy = example.accuracy(backend, result.network(), result.layers());
            System.out.printf("top-1 %.2f %% of %d images, the float32 model %.2f %%%n", 100 * accuracy.top1(),
                    accuracy.images(), 100 * accuracy.fraction(accuracy.paired().orElseThrow().referenceTop1Right()));
        }
    }
}
