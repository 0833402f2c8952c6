package io.github.ptq4vit.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.calibrate.BestConfig;
import io.github.ptq4vit.calibrate.LayerCost;
import io.github.ptq4vit.calibrate.Sensitivity;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.quant.BitWidths;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The layers that cost most first. */
@Command(name = "sensitivity", mixinStandardHelpOptions = true, versionProvider = Main.Version.class, sortOptions = false,
        description = "Say which layers of a model lose most when they are quantised, by bit width.")
final class SensitivityCommand implements Callable<Integer> {
    private static final int[] SHOWN = {8, 6, 4, 3, 2};

    @Option(names = "--model", paramLabel = "PATH", required = true, description = "Weights, as for calibrate.")
    private Path model;

    @Mixin
    private ImageOptions images;

    @Option(names = "--count", paramLabel = "N", defaultValue = "8",
            description = "How many of the images to look at (default: ${DEFAULT-VALUE}).")
    private int count;

    @Option(names = "--sort-bits", paramLabel = "BITS", defaultValue = "4",
            description = "Bit width by whose cost layers are sorted, 2 to 8 (default: ${DEFAULT-VALUE}).")
    private int sortBits;

    @Option(names = "--csv", description = "Print the table as CSV.")
    private boolean csv;

    @Mixin
    private ModelOptions modelOptions;

    @Mixin
    private CommonOptions common;

    @Override
    public Integer call() {
        common.check();
        if (count < 1 || sortBits < BitWidths.MIN || sortBits > BitWidths.MAX || csv && common.json()) {
            throw common.wrong(csv && common.json() ? "--csv and --json are two forms of one table; choose one"
                    : count < 1 ? "The number of images must be at least 1, for example 8, not " + count
                    : "The bit width to sort by must be from 2 to 8, for example 4, not " + sortBits);
        }
        WeightsWatch weights = WeightsWatch.of(model);
        ModelSource.Plain source = ModelSource.plain(model, modelOptions.read(common));
        ImageTransform transform = images.transform(source::transform, source.config(), common);
        BestConfig config = BestConfig.of(new BitWidths(sortBits, sortBits));
        CalibrationJob job = CalibrationJob.prepare(source, weights, transform, images.folder(), count, config.seed(), common.decoders());
        List<LayerCost> costs;
        try (Backend backend = common.open(); Bar bar = new Bar("sensitivity", source.config().layers().size())) {
            costs = Sensitivity.of(source.model(), backend, config, job.images(), (step, done, total) -> bar.to(done, total, step));
        }
        print(costs.stream().sorted(Comparator.comparingDouble(cost -> -cost.at(sortBits, sortBits))).toList());
        return 0;
    }

    private void print(List<LayerCost> costs) {
        if (common.json()) {
            ObjectNode json = Console.object();
            costs.forEach(cost -> {
                ObjectNode node = json.withArray("layers").addObject().put("layer", cost.layer()).put("weights", cost.weights())
                        .put("activations", cost.activations());
                for (int bits = BitWidths.MIN; bits <= BitWidths.MAX; bits++) {
                    node.withArray("weight_costs").add(cost.weightCosts()[bits]);
                    node.withArray("activation_costs").add(cost.activationCosts()[bits]);
                }
            });
            Console.json(json);
            return;
        }
        StringBuilder head = new StringBuilder(csv ? "layer" : String.format(Locale.ROOT, "%-28s", "layer"));
        for (String kind : List.of("W", "A")) {
            for (int bits : SHOWN) {
                head.append(csv ? "," + kind + bits : String.format(Locale.ROOT, " %9s", kind + bits));
            }
        }
        Console.result("%s", head);
        for (LayerCost cost : costs) {
            StringBuilder line = new StringBuilder(csv ? cost.layer() : String.format(Locale.ROOT, "%-28s", cost.layer()));
            for (double[] kind : List.of(cost.weightCosts(), cost.activationCosts())) {
                for (int bits : SHOWN) {
                    line.append(String.format(Locale.ROOT, csv ? ",%.6g" : " %9.5f", kind[bits]));
                }
            }
            Console.result("%s", line);
        }
        if (!csv) {
            Console.result("estimated divergence from float32 in nats, of weights (W) and inputs (A) of one layer alone");
        }
    }
}
