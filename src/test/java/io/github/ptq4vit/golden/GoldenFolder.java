package io.github.ptq4vit.golden;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.ptq4vit.tensor.SafetensorsFile;
import io.github.ptq4vit.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * What the public PTQ4ViT code computed for one small network; see {@code src/test/resources/golden/README.md}. Reads a
 * full set as well as a trimmed one, in which some layers have neither raw tensors nor searches.
 */
public final class GoldenFolder implements AutoCloseable {
    private static final String JSON = "golden.json";

    /** Family of a network. */
    public enum Kind { VIT, SWIN }

    /**
     * The network. ViT has one stage and window 0.
     *
     * @param depths blocks per stage
     * @param heads heads per stage
     */
    public record Model(Kind kind, int imageSize, int patchSize, int windowSize, int embedDim, List<Integer> depths,
            List<Integer> heads, int classes, int mlpRatio, boolean qkvBias, double layerNormEps) {
    }

    /** A layer and the reference's class for it, e.g. {@code PTQSLBatchingQuantLinear}. */
    public record Layer(String name, String type) {
        public boolean isMatmul() {
            return type.endsWith("MatMul");
        }

        public boolean isConvolution() {
            return type.endsWith("Conv2d");
        }

        public boolean isLinear() {
            return type.endsWith("Linear");
        }

        public boolean isSoftmaxTwin() {
            return type.startsWith("SoS");
        }

        public boolean isGeluTwin() {
            return type.startsWith("PostGelu");
        }
    }

    private final Path path;
    private final JsonNode golden;
    private final SafetensorsFile raw;
    private final SafetensorsFile weights;
    private final SafetensorsFile inputs;
    private final List<GoldenRun> runs = new ArrayList<>();

    private GoldenFolder(Path path) {
        this.path = path;
        try {
            this.golden = new ObjectMapper().readTree(path.resolve(JSON).toFile());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        this.raw = SafetensorsFile.open(path.resolve("raw.safetensors"));
        this.weights = SafetensorsFile.open(path.resolve("weights.safetensors"));
        this.inputs = SafetensorsFile.open(path.resolve("inputs.safetensors"));
        for (Map.Entry<String, JsonNode> run : golden.get("runs").properties()) {
            runs.add(new GoldenRun(run.getKey(), run.getValue(),
                    SafetensorsFile.open(path.resolve("calib_" + run.getKey() + ".safetensors"))));
        }
    }

    /** Opens the folder of one model. */
    public static GoldenFolder open(Path path) {
        return new GoldenFolder(path);
    }

    /**
     * The folders to check against, one per model: those of {@code -Dgolden.dir} (one model's folder or a folder of
     * them), else the full set beside the project, else the trimmed one in the test resources.
     */
    public static List<Path> folders() {
        String chosen = System.getProperty("golden.dir");
        Path shared = Path.of("..", "shared", "golden");
        Path root = chosen != null ? Path.of(chosen) : Files.isDirectory(shared) ? shared : trimmed();
        List<Path> folders = modelsIn(root);
        System.out.println("Golden numbers: " + folders.stream().map(folder -> folder.toAbsolutePath().normalize())
                .map(Path::toString).collect(Collectors.joining(", ")));
        return folders;
    }

    /** The folder of folders in the test resources. */
    static Path trimmed() {
        try {
            return Path.of(GoldenFolder.class.getResource("/golden").toURI());
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    static List<Path> modelsIn(Path root) {
        if (Files.exists(root.resolve(JSON))) {
            return List.of(root);
        }
        if (!Files.isDirectory(root)) {
            throw new IllegalStateException("Golden numbers: there is no folder " + root.toAbsolutePath());
        }
        try (Stream<Path> inside = Files.list(root)) {
            List<Path> models = inside.filter(folder -> Files.exists(folder.resolve(JSON)))
                    .sorted(Comparator.comparing(Path::toString)).toList();
            if (models.isEmpty()) {
                throw new IllegalStateException("Golden numbers: neither " + root.toAbsolutePath()
                        + " nor a folder in it holds a " + JSON);
            }
            return models;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    public Path path() {
        return path;
    }

    public Model model() {
        JsonNode model = golden.get("model");
        boolean swin = model.get("arch").textValue().contains("Swin");
        return new Model(swin ? Kind.SWIN : Kind.VIT, model.get("img_size").intValue(),
                model.get("patch_size").intValue(), swin ? model.get("window_size").intValue() : 0,
                model.get("embed_dim").intValue(), numbers(model.get(swin ? "depths" : "depth")),
                numbers(model.get("num_heads")), model.get("num_classes").intValue(),
                model.get("mlp_ratio").intValue(), model.get("qkv_bias").booleanValue(),
                model.get("layernorm_eps").doubleValue());
    }

    /**
     * All quantised layers in the reference's order with their PTQ4ViT classes. A BasePTQ run has other classes for
     * some, see {@link GoldenRun#layers()}.
     */
    public List<Layer> layers() {
        return golden.get("layers").properties().stream()
                .sorted(Comparator.comparingInt(entry -> entry.getValue().get("order").intValue()))
                .map(entry -> new Layer(entry.getKey(), entry.getValue().get("class").textValue())).toList();
    }

    /** Whether the layer's raw tensors are here. */
    public boolean hasRaw(String layer) {
        return raw.contains(layer + ".output");
    }

    /**
     * A tensor of the float network on the calibration images.
     *
     * @param what {@code input}, {@code input_A}, {@code input_B}, {@code output} or {@code grad_pseudolabel}
     */
    public Tensor raw(String layer, String what) {
        return raw.read(layer + "." + what);
    }

    /** All raw tensors, {@code logits} and {@code heldout_logits} among them. */
    public SafetensorsFile raw() {
        return raw;
    }

    /** Parameters under timm's names. */
    public SafetensorsFile weights() {
        return weights;
    }

    /** {@code calib} and perhaps {@code heldout}, normalised images [images, 3, height, width]. */
    public SafetensorsFile inputs() {
        return inputs;
    }

    /** The calibrations here. */
    public List<GoldenRun> runs() {
        return List.copyOf(runs);
    }

    /** A calibration by its name, e.g. {@code PTQ4ViT_w8a8_pseudolabel}. */
    public GoldenRun run(String name) {
        return runs.stream().filter(run -> run.name().equals(name)).findFirst()
                .orElseThrow(() -> new IllegalArgumentException(path + " has no run " + name + ", only "
                        + runs.stream().map(GoldenRun::name).toList()));
    }

    @Override
    public void close() {
        raw.close();
        weights.close();
        inputs.close();
        runs.forEach(GoldenRun::close);
    }

    @Override
    public String toString() {
        return path.getFileName().toString();
    }

    static List<Integer> numbers(JsonNode node) {
        List<Integer> numbers = new ArrayList<>();
        if (node.isArray()) {
            node.forEach(number -> numbers.add(number.intValue()));
        } else {
            numbers.add(node.intValue());
        }
        return List.copyOf(numbers);
    }
}
