package io.github.ptq4vit.model;

import java.util.Optional;
import java.util.OptionalInt;

/**
 * What a user says about a model because its file may not.
 *
 * @param heads attention heads of a ViT
 * @param imageSize side of the input in pixels; other than the file's, position embeddings are resampled
 * @param known which model it is; its file is checked against it
 * @param weightsKey what is in front of the weights' names in a checkpoint that has several, such as {@code state_dict_ema}
 */
public record ReadOptions(OptionalInt heads, OptionalInt imageSize, Optional<KnownModel> known, Optional<String> weightsKey) {
    /** The file tells everything. */
    public static final ReadOptions NONE = new ReadOptions(OptionalInt.empty(), OptionalInt.empty(), Optional.empty());

    /** The usual weights of the file. */
    public ReadOptions(OptionalInt heads, OptionalInt imageSize, Optional<KnownModel> known) {
        this(heads, imageSize, known, Optional.empty());
    }

    /** The same for images of another size. */
    public ReadOptions withImageSize(int pixels) {
        return new ReadOptions(heads, OptionalInt.of(pixels), known, weightsKey);
    }

    /** The same for another file, which has its own weights under its own keys. */
    public ReadOptions forAnotherFile() {
        return new ReadOptions(heads, imageSize, known);
    }

    /** The file tells all but the heads. */
    public static ReadOptions heads(int heads) {
        return new ReadOptions(OptionalInt.of(heads), OptionalInt.empty(), Optional.empty());
    }
}
