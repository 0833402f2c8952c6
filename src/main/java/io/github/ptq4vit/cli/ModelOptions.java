package io.github.ptq4vit.cli;

import io.github.ptq4vit.model.KnownModel;
import io.github.ptq4vit.model.ModelException;
import io.github.ptq4vit.model.ReadOptions;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Function;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;

/** What to know of float32 weights that their file does not tell. */
final class ModelOptions {
    @Option(names = "--arch", paramLabel = "NAME",
            description = "Which model of the paper the weights are of, see 'ptq4vit models' (default: recognised).")
    private Optional<String> arch = Optional.empty();

    @Option(names = "--heads", paramLabel = "N", description = "Attention heads of a ViT whose file does not tell.")
    private Optional<Integer> heads = Optional.empty();

    @Option(names = "--image-size", paramLabel = "PIXELS",
            description = "Side of the model's input; other than the weights', position embeddings are resampled.")
    private Optional<Integer> imageSize = Optional.empty();

    @Option(names = "--weights-key", paramLabel = "KEY",
            description = {"Which weights of a checkpoint that has several, such as state_dict or model_ema",
                "(default: timm's order, an exponential moving average first)."})
    private Optional<String> weightsKey = Optional.empty();

    ReadOptions read(CommonOptions common) {
        return read(common::wrong);
    }

    /** @param wrong makes the failure of a wrong use from a sentence */
    ReadOptions read(Function<String, ParameterException> wrong) {
        if (imageSize.isPresent() && (imageSize.get() < 1 || imageSize.get() > 1 << 14)) {
            throw wrong.apply("The image size must be 1 to " + (1 << 14) + " pixels, for example 224, not " + imageSize.get());
        }
        try {
            return new ReadOptions(optional(heads), optional(imageSize), arch.map(KnownModel::named), weightsKey);
        } catch (ModelException e) {
            throw wrong.apply(e.getMessage());
        }
    }

    private static OptionalInt optional(Optional<Integer> number) {
        return number.map(OptionalInt::of).orElse(OptionalInt.empty());
    }
}
