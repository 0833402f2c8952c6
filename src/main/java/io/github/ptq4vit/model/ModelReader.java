package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Printable;
import io.github.ptq4vit.tensor.RenamedTensors;
import io.github.ptq4vit.tensor.Tensor;
import io.github.ptq4vit.tensor.TensorSource;
import io.github.ptq4vit.tensor.WeightFiles;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.regex.Pattern;

/**
 * Reads a vision transformer, float32, float16 or bfloat16, and recognises the architecture from the tensors' names and
 * present.
 */
public final class ModelReader {
    /** The metadata entry that tells whose names the tensors had: {@code timm}, {@code hugging-face} or {@code torchvision}. */
    public static final String LAYOUT = "layout";
    /** Values of {@link #LAYOUT}. */
    public static final String TIMM = "timm";
    /** As above. */
    public static final String HUGGING_FACE = "hugging-face";
    /** As above. */
    public static final String TORCHVISION = "torchvision";
    private static final int LISTED = 6;
    /** Tensors that follow from the architecture. */
    private static final Pattern BUFFERS = Pattern.compile(".*\\.(?:relative_position_index|attn_mask)|(?:.*\\.)?position_ids");
    /** Counters of profilers and averages, losses, and what only pre-training needs: a classification does without. */
    private static final Pattern NEEDLESS = Pattern.compile("(?:.*\\.)?(?:total_ops|total_params|num_batches_tracked|n_averaged"
            + "|num_updates|mask_token)|(?:pooler|decoder|criterion|loss|loss_fn|loss_func)\\..*|decoder_.*");

    private final RenamedTensors file;
    private final Path path;

    private ModelReader(RenamedTensors file) {
        this.file = file;
        this.path = file.path();
    }

    /** Reads a model that tells everything but perhaps the number of heads. */
    public static VisionTransformer read(Path file, OptionalInt heads) {
        return read(file, new ReadOptions(heads, OptionalInt.empty(), Optional.empty()));
    }

    /** Reads a model, without telling what of the file is not used. */
    public static VisionTransformer read(Path file, ReadOptions options) {
        return read(file, options, note -> {
        });
    }

    /**
     * Reads a model.
     *
     * @param file safetensors, one file or the index of several, a file of PyTorch, or the folder of one; tensors as timm,
     *     Hugging Face or torchvision name them
     * @param notes told in a sentence each which of several weights were taken, and what was not used
     * @throws ModelException if the file does not hold such a model; says what is missing
     * @throws io.github.ptq4vit.tensor.TensorFileException if it is not a file of tensors
     */
    public static VisionTransformer read(Path file, ReadOptions options, Consumer<String> notes) {
        try (TensorSource tensors = WeightFiles.open(file)) {
            WeightsInFile weights = WeightsInFile.of(tensors, options.weightsKey());
            RenamedTensors named = TimmNames.of(tensors, weights);
            ModelFacts facts = ModelFacts.of(tensors);
            Recogniser recogniser = SwinRecogniser.looksLikeSwin(named) ? new SwinRecogniser(named, facts)
                    : new VitRecogniser(named, facts);
            Architecture config = options.known().isEmpty() ? recogniser.config(options)
                    : options.known().get().config().withClasses(recogniser.shape("head.weight", 2).size(0));
            List<String> needless = new ArrayList<>();
            VisionTransformer model = new ModelReader(named).model(config, needless);
            weights.notes(needless).forEach(notes);
            return options.imageSize().isPresent() ? ImageSizes.change(model, options.imageSize().getAsInt()) : model;
        }
    }

    /** Tensors under the names that this library has for them; closing them closes the source. */
    public static TensorSource renamed(TensorSource source) {
        return TimmNames.of(source, WeightsInFile.of(source, Optional.empty()));
    }

    private VisionTransformer model(Architecture config, List<String> needless) {
        Set<String> present = new LinkedHashSet<>();
        TreeSet<String> missing = new TreeSet<>();
        config.tensors().forEach((name, shape) -> {
            if (!file.contains(name)) {
                if (!Architecture.isOptional(name)) {
                    missing.add(file.original(name));
                }
                return;
            }
            if (!file.shape(name).equals(shape)) {
                throw new ModelException(path + ": tensor " + file.original(name) + " has shape " + file.shape(name) + ", expected "
                        + shape + " of " + config.name());
            }
            present.add(name);
        });
        if (!missing.isEmpty()) {
            throw new ModelException(path + " looks like " + config.name() + " of " + config.units().size() + " blocks, but lacks "
                    + listed(missing));
        }
        for (String name : file.names()) {
            if (present.contains(name) || BUFFERS.matcher(name).matches()) {
                continue;
            }
            if (!NEEDLESS.matcher(name).matches()) {
                throw new ModelException(path + " has a tensor that " + config.name() + " has not: " + file.original(name) + ". "
                        + OtherModels.of(file.names()).map(other -> "It looks like " + other + "; supported are ").orElse("Supported are ")
                        + "ViT, DeiT, DeiT III and Swin; neither query and key norms nor other positions");
            }
            needless.add(file.original(name));
        }
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        present.forEach(name -> tensors.put(name, finite(name, file.read(name))));
        return new VisionTransformer(config, tensors, file.metadata());
    }

    private Tensor finite(String name, Tensor tensor) {
        int count = tensor.data().limit();
        for (int i = 0; i < count; i++) {
            float number = tensor.data().get(i);
            if (!Float.isFinite(number)) {
                throw new ModelException(path + ": tensor " + file.original(name) + " holds " + number + " at index " + i
                        + "; the checkpoint is damaged or its training diverged");
            }
        }
        return tensor;
    }

    /** Some of these names. */
    static String listed(SortedSet<String> names) {
        String first = String.join(", ", names.stream().limit(LISTED).map(Printable::of).toList());
        return names.size() > LISTED ? first + " and " + (names.size() - LISTED) + " more" : first;
    }
}
