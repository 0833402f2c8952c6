package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Tensor;
import io.github.ptq4vit.tensor.TensorSource;
import io.github.ptq4vit.tensor.WeightFiles;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;

/**
 * Reads a vision transformer, float32, float16 or bfloat16, and recognises the architecture from the tensors' names and
 * present.
 */
public final class ModelReader {
    /** The metadata entry that tells whose names the tensors had: {@code timm}, {@code hugging-face} or {@code torchvision}. */
    public static final String LAYOUT = "layout";
    private static final int LISTED = 6;
    /** Tensors of checkpoints that follow from the architecture. */
    private static final List<String> BUFFERS = List.of(".attn.relative_position_index", ".attn_mask");

    private final TensorSource file;
    private final Path path;

    private ModelReader(TensorSource file) {
        this.file = file;
        this.path = file.path();
    }

    /** Reads a model that tells everything but perhaps the number of heads. */
    public static VisionTransformer read(Path file, OptionalInt heads) {
        return read(file, new ReadOptions(heads, OptionalInt.empty(), Optional.empty()));
    }

    /**
     * Reads a model.
     *
     * @param file safetensors, one file or the index of several, a file of PyTorch, or the folder of one; tensors as timm,
     *     Hugging Face or torchvision name them
     * @throws ModelException if the file does not hold such a model; says what is missing
     * @throws io.github.ptq4vit.tensor.TensorFileException if it is not a file of tensors
     */
    public static VisionTransformer read(Path file, ReadOptions options) {
        try (TensorSource tensors = WeightFiles.open(file)) {
            TensorSource named = TimmNames.of(tensors);
            ModelFacts facts = ModelFacts.of(tensors);
            Recogniser recogniser = SwinRecogniser.looksLikeSwin(named) ? new SwinRecogniser(named, facts)
                    : new VitRecogniser(named, facts);
            Architecture config = options.known().isEmpty() ? recogniser.config(options)
                    : options.known().get().config().withClasses(recogniser.shape("head.weight", 2).size(0));
            VisionTransformer model = new ModelReader(named).model(config);
            return options.imageSize().isPresent() ? ImageSizes.change(model, options.imageSize().getAsInt()) : model;
        }
    }

    /** Tensors under the names that this library has for them; closing them closes the source. */
    public static TensorSource renamed(TensorSource source) {
        return TimmNames.of(source);
    }

    private VisionTransformer model(Architecture config) {
        Set<String> present = new LinkedHashSet<>();
        TreeSet<String> missing = new TreeSet<>();
        config.tensors().forEach((name, shape) -> {
            if (!file.contains(name)) {
                if (!Architecture.isOptional(name)) {
                    missing.add(name);
                }
                return;
            }
            if (!file.shape(name).equals(shape)) {
                throw new ModelException(path + ": tensor " + name + " has shape " + file.shape(name) + ", expected " + shape
                        + " of " + config.name());
            }
            present.add(name);
        });
        if (!missing.isEmpty()) {
            throw new ModelException(path + " looks like " + config.name() + " of " + config.units().size() + " blocks, but lacks "
                    + listed(missing));
        }
        for (String name : file.names()) {
            if (!present.contains(name) && BUFFERS.stream().noneMatch(name::endsWith)) {
                throw new ModelException(path + " has a tensor that " + config.name() + " has not: " + name
                        + ". Supported are ViT, DeiT, DeiT III and Swin; neither query and key norms nor other positions");
            }
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
                throw new ModelException(path + ": tensor " + name + " holds " + number + " at index " + i
                        + "; the checkpoint is damaged or its training diverged");
            }
        }
        return tensor;
    }

    /** Some of these names. */
    static String listed(TreeSet<String> names) {
        String first = String.join(", ", names.stream().limit(LISTED).toList());
        return names.size() > LISTED ? first + " and " + (names.size() - LISTED) + " more" : first;
    }
}
