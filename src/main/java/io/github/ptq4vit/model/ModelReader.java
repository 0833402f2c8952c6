package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.SafetensorsFile;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.OptionalInt;
import java.util.TreeSet;

/**
 * Reads a timm checkpoint of a plain ViT or DeiT, float32, float16 or bfloat16, and recognises the architecture from the
 * tensors' names and shapes.
 */
public final class ModelReader {
    private static final float EPSILON = 1e-6f;
    private static final int USUAL_HEAD_DIM = 64;
    private static final int LISTED = 6;

    private final SafetensorsFile file;
    private final Path path;

    private ModelReader(SafetensorsFile file) {
        this.file = file;
        this.path = file.path();
    }

    /**
     * Reads a model.
     *
     * @param file a .safetensors file
     * @param heads the number of attention heads, which no shape tells; if absent, the file's metadata entry
     *     {@code num_heads}, else one head for 64 channels as all published ViT and DeiT have
     * @throws ModelException if the file does not hold such a model; says what is missing
     * @throws io.github.ptq4vit.tensor.TensorFileException if it is not a safetensors file
     */
    public static VisionTransformer read(Path file, OptionalInt heads) {
        try (SafetensorsFile tensors = SafetensorsFile.open(file)) {
            return new ModelReader(tensors).model(heads);
        }
    }

    private VisionTransformer model(OptionalInt heads) {
        VitConfig config = config(heads);
        Map<String, Shape> shapes = expectedShapes(config);
        TreeSet<String> missing = new TreeSet<>(shapes.keySet());
        missing.removeAll(file.names());
        if (!missing.isEmpty()) {
            throw new ModelException(path + " looks like a vision transformer of " + config.depth() + " blocks, but lacks "
                    + listed(missing));
        }
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        shapes.forEach((name, shape) -> {
            if (!file.info(name).shape().equals(shape)) {
                throw new ModelException(path + ": tensor " + name + " has shape " + file.info(name).shape() + ", expected "
                        + shape);
            }
            tensors.put(name, finite(name, file.read(name)));
        });
        for (String name : file.names()) {
            if (name.startsWith("blocks.") && !shapes.containsKey(name)) {
                throw new ModelException(path + " has a tensor that a plain ViT has not: " + name
                        + ". Variants with layer scale, query and key norms or relative positions are not supported");
            }
        }
        return new VisionTransformer(config, tensors, file.metadata());
    }

    private VitConfig config(OptionalInt askedHeads) {
        Shape patch = shape("patch_embed.proj.weight", 4);
        Shape positions = shape("pos_embed", 3);
        shape("cls_token", 3);
        Shape fc1 = shape("blocks.0.mlp.fc1.weight", 2);
        Shape head = shape("head.weight", 2);
        int dim = patch.size(0);
        boolean distilled = file.contains("dist_token");
        int patches = positions.size(1) - (distilled ? 2 : 1);
        int grid = (int) Math.round(Math.sqrt(Math.max(0, patches)));
        if (grid * grid != patches || patches == 0) {
            throw new ModelException(path + ": pos_embed has shape " + positions + "; " + patches
                    + " patches are not a square grid");
        }
        int depth = 0;
        while (file.contains("blocks." + depth + ".attn.qkv.weight")) {
            depth++;
        }
        int heads = heads(dim, askedHeads);
        String name = String.format(java.util.Locale.ROOT, "%s_%s_patch%d_%d", distilled ? "deit" : "vit", size(dim), patch.size(2),
                grid * patch.size(2));
        return new VitConfig(name, grid * patch.size(2), patch.size(2), patch.size(1), dim, depth, heads, fc1.size(0),
                head.size(0), distilled, EPSILON);
    }

    private int heads(int dim, OptionalInt asked) {
        String stated = file.metadata().get("num_heads");
        int heads;
        try {
            heads = asked.orElseGet(() -> stated != null ? Integer.parseInt(stated.strip())
                    : dim % USUAL_HEAD_DIM == 0 ? dim / USUAL_HEAD_DIM : 0);
        } catch (NumberFormatException e) {
            throw new ModelException(path + ": metadata num_heads is not a number: " + stated, e);
        }
        if (heads < 1 || dim % heads != 0) {
            throw new ModelException(path + ": " + (heads < 1 ? "no shape tells the number of attention heads"
                    : heads + " attention heads do not divide tokens of length " + dim) + "; say it with --heads");
        }
        return heads;
    }

    private static String size(int dim) {
        return switch (dim) {
            case 192 -> "tiny";
            case 384 -> "small";
            case 768 -> "base";
            case 1024 -> "large";
            default -> "dim" + dim;
        };
    }

    private Shape shape(String name, int rank) {
        if (!file.contains(name)) {
            TreeSet<String> names = new TreeSet<>(file.names());
            throw new ModelException(path + " is not a ViT or DeiT as timm names it: no tensor " + name + ". It has "
                    + listed(names));
        }
        Shape shape = file.info(name).shape();
        if (shape.rank() != rank) {
            throw new ModelException(path + ": tensor " + name + " has shape " + shape + ", expected " + rank + " axes");
        }
        return shape;
    }

    private Map<String, Shape> expectedShapes(VitConfig config) {
        Map<String, Shape> shapes = new LinkedHashMap<>();
        int d = config.dim();
        int f = config.hidden();
        shapes.put("cls_token", Shape.of(1, 1, d));
        if (config.distilled()) {
            shapes.put("dist_token", Shape.of(1, 1, d));
        }
        shapes.put("pos_embed", Shape.of(1, config.tokens(), d));
        shapes.put("patch_embed.proj.weight", Shape.of(d, config.channels(), config.patchSize(), config.patchSize()));
        shapes.put("patch_embed.proj.bias", Shape.of(d));
        for (int i = 0; i < config.depth(); i++) {
            String block = config.block(i) + ".";
            norm(shapes, block + "norm1", d);
            shapes.put(block + "attn.qkv.weight", Shape.of(3 * d, d));
            if (file.contains(block + "attn.qkv.bias")) {
                shapes.put(block + "attn.qkv.bias", Shape.of(3 * d));
            }
            linear(shapes, block + "attn.proj", d, d);
            norm(shapes, block + "norm2", d);
            linear(shapes, block + "mlp.fc1", f, d);
            linear(shapes, block + "mlp.fc2", d, f);
        }
        norm(shapes, "norm", d);
        for (Layer head : config.headLayers()) {
            linear(shapes, head.name(), config.classes(), d);
        }
        return shapes;
    }

    private static void norm(Map<String, Shape> shapes, String name, int length) {
        shapes.put(name + ".weight", Shape.of(length));
        shapes.put(name + ".bias", Shape.of(length));
    }

    private static void linear(Map<String, Shape> shapes, String name, int outputs, int inputs) {
        shapes.put(name + ".weight", Shape.of(outputs, inputs));
        shapes.put(name + ".bias", Shape.of(outputs));
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

    private static String listed(TreeSet<String> names) {
        String first = String.join(", ", names.stream().limit(LISTED).toList());
        return names.size() > LISTED ? first + " and " + (names.size() - LISTED) + " more" : first;
    }
}
