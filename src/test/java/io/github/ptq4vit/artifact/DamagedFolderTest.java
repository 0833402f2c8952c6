package io.github.ptq4vit.artifact;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.TinyModel;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.InputTransform;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.DType;
import io.github.ptq4vit.tensor.SafetensorsFile;
import io.github.ptq4vit.tensor.SafetensorsWriter;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Folders that somebody has edited by hand, or that a disk has changed: none is believed, each is refused by name. */
class DamagedFolderTest {
    private static final JsonMapper JSON = new JsonMapper();
    /** Fields of free text or free numbers, in which nothing but another type is wrong. */
    private static final List<String> FREE = List.of("transform", "seed", "shift", "name", "ids", "configuration", "versions");

    @TempDir
    Path folder;
    private VisionTransformer model;
    private Path out;

    @BeforeEach
    void makeModel() {
        model = TinyModel.model(folder);
        out = folder.resolve("out");
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 3})
    void everyFieldOfTheManifestIsCheckedForPresenceTypeAndRange(int version) throws IOException {
        write(version == 2 ? TinyModel.quantize(model, 6) : withTransforms());
        String good = Files.readString(out.resolve("manifest.json"));
        assertEquals(version, JSON.readTree(good).required("format_version").intValue());
        Checkpoint.read(out);
        int edits = 0;
        for (String field : fields(JSON.readTree(good), "")) {
            for (Edit edit : Edit.values()) {
                ObjectNode root = (ObjectNode) JSON.readTree(good);
                if (!edit.apply(root, field)) {
                    continue;
                }
                Files.writeString(out.resolve("manifest.json"), root.toString());
                String what = edit + " of " + field;
                if (field.equals("/format") && edit != Edit.STRANGER) {
                    assertTrue(message(what).contains("is not a quantised model"), what);
                } else {
                    String message = message(what);
                    String name = field.substring(field.lastIndexOf('/') + 1);
                    assertTrue(message.contains("manifest.json") && message.contains("expected is") && message.contains("found is"), message);
                    // a list that lost an element shows in its count, a layer that is there twice in its name, sizes of an architecture
                    // that do not fit together in the whole
                    boolean inWhole = field.equals("/provenance/images/ids") || field.equals("/layers") || field.startsWith("/architecture");
                    assertTrue(name.matches("\\d+") || message.contains(name) || inWhole, what + ": " + message);
                }
                edits++;
            }
        }
        assertTrue(edits > 400, "only " + edits + " edits were tried");
    }

    /** What somebody may do to a field. */
    private enum Edit {
        REMOVED, NULL, OTHER_TYPE, FRACTION, TOO_LARGE, NEGATIVE, ZERO, WRAPPED, SHORTER, LONGER, OTHER_WORD, STRANGER;

        /** Whether the edit makes sense, and so was done. */
        boolean apply(ObjectNode root, String pointer) {
            JsonNode value = root.at(pointer);
            JsonNode parent = root.at(pointer.substring(0, pointer.lastIndexOf('/')));
            String name = pointer.substring(pointer.lastIndexOf('/') + 1);
            boolean free = FREE.stream().anyMatch(word -> pointer.matches(".*/" + word + "(/.*)?"));
            boolean whole = value.isIntegralNumber();
            switch (this) {
                case REMOVED -> {
                    // an optional field, names that are free, and elements of lists, whose number is another edit
                    if (name.equals("factors") || name.equals("input_transform") || parent.isArray() || pointer.matches(".*/(configuration|versions)/.*")) {
                        return false;
                    }
                    ((ObjectNode) parent).remove(name);
                    return true;
                }
                case NULL -> {
                    return set(parent, name, JSON.nullNode());
                }
                case OTHER_TYPE -> {
                    boolean anything = pointer.matches("/provenance/configuration/.*");
                    return set(parent, name, anything ? JSON.createArrayNode() : value.isTextual() ? JSON.getNodeFactory().numberNode(1)
                            : JSON.getNodeFactory().textNode("NaN"));
                }
                case FRACTION -> {
                    return whole && !free && set(parent, name, JSON.getNodeFactory().numberNode(value.intValue() + 0.9));
                }
                case TOO_LARGE -> {
                    return value.isNumber() && !pointer.contains("/configuration/") && set(parent, name, JSON.getNodeFactory().numberNode(1e300));
                }
                case NEGATIVE -> {
                    return value.isNumber() && !free && set(parent, name, JSON.getNodeFactory().numberNode(-1));
                }
                case ZERO -> {
                    boolean may = List.of("registers", "representation", "prefix_tokens").contains(name) || pointer.matches(".*/(exponents|zero_points)/\\d+");
                    return value.isNumber() && !free && !may && set(parent, name, JSON.getNodeFactory().numberNode(0));
                }
                case WRAPPED -> {
                    return whole && !free && set(parent, name, JSON.getNodeFactory().numberNode((1L << 32) + value.longValue()));
                }
                case SHORTER -> {
                    if (!value.isArray() || value.isEmpty()) {
                        return false;
                    }
                    ((ArrayNode) value).remove(0);
                    return true;
                }
                case LONGER -> {
                    if (!value.isArray() || value.isEmpty()) {
                        return false;
                    }
                    ((ArrayNode) value).add(value.get(0));
                    return true;
                }
                case OTHER_WORD -> {
                    return value.isTextual() && !free && set(parent, name, JSON.getNodeFactory().textNode(value.textValue() + "x"))
                            || name.equals("name") && pointer.startsWith("/layers") && set(parent, name, JSON.getNodeFactory().textNode("x"));
                }
                default -> {
                    if (!value.isObject() || pointer.matches(".*/(configuration|versions)")) {
                        return false;
                    }
                    ((ObjectNode) value).put("stranger", 1);
                    return true;
                }
            }
        }

        private static boolean set(JsonNode parent, String name, JsonNode value) {
            if (parent.isArray()) {
                ((ArrayNode) parent).set(Integer.parseInt(name), value);
            } else {
                ((ObjectNode) parent).set(name, value);
            }
            return true;
        }
    }

    /** Pointers to everything below a node; of the layers the first of each role. */
    private static List<String> fields(JsonNode node, String pointer) {
        List<String> all = new ArrayList<>();
        if (!pointer.isEmpty()) {
            all.add(pointer);
        }
        node.properties().forEach(field -> all.addAll(fields(field.getValue(), pointer + "/" + field.getKey())));
        for (int i = 0; node.isArray() && i < (pointer.equals("/layers") ? 7 : Math.min(3, node.size())); i++) {
            all.addAll(fields(node.get(i), pointer + "/" + i));
        }
        return all;
    }

    @Test
    void quantisersThatALayerCannotHaveAreRefused() throws IOException {
        write(TinyModel.quantize(model, 6));
        edited("blocks.0.attn.qkv", "weight.groups", layer -> groups(layer.withObject("weight"), 5));
        edited("blocks.0.attn.qkv", "input.groups", layer -> groups(layer.withObject("input"), 2));
        edited("blocks.0.attn.matmul1", "left.groups", layer -> groups(layer.withObject("left"), 3));
        edited("patch_embed.proj", "input.kind", layer -> layer.withObject("input").put("kind", "uniform"));
        edited("blocks.1.mlp.fc1", "weight.kind", layer -> layer.set("weight", gelu()));
        edited("blocks.1.mlp.fc1", "input.kind", layer -> layer.set("input", gelu()));
        edited("head", "weight.bits", layer -> layer.withObject("weight").put("bits", 33));
        edited("head", "weight.bits", layer -> layer.withObject("weight").put("bits", 1));
        edited("head", "weight.bits", layer -> layer.withObject("weight").put("bits", 8.9));
        edited("blocks.0.attn.matmul2", "left.thresholds[0]", layer -> layer.withObject("left").withArray("exponents").set(0, 5));
        edited("blocks.0.attn.qkv", "input_transform", layer -> layer.putObject("input_transform"));
    }

    private void edited(String name, String field, Consumer<ObjectNode> edit) throws IOException {
        Path manifest = out.resolve("manifest.json");
        String good = Files.readString(manifest);
        ObjectNode root = (ObjectNode) JSON.readTree(good);
        root.required("layers").forEach(layer -> {
            if (layer.required("name").textValue().equals(name)) {
                edit.accept((ObjectNode) layer);
            }
        });
        Files.writeString(manifest, root.toString());
        String message = message(field);
        assertTrue(message.contains("layer " + name + ", field " + field + ": expected is "), message);
        Files.writeString(manifest, good);
    }

    private static void groups(ObjectNode quantizer, int count) {
        ArrayNode scales = quantizer.put("groups", count).putArray("scales");
        for (int i = 0; i < count; i++) {
            scales.add(0.5);
        }
    }

    private static ObjectNode gelu() {
        ObjectNode twin = JSON.createObjectNode().put("kind", "gelu_twin").put("bits", 6).put("groups", 1);
        twin.putArray("negative_scales").add(0.5);
        twin.putArray("positive_scales").add(0.5);
        return twin;
    }

    @Test
    void everyTensorIsCheckedForTypeShapeAndNumbers() throws IOException {
        write(TinyModel.quantize(model, 6));
        damaged("blocks.0.norm1.weight", (numbers, i) -> numbers[i] = Float.NaN, "finite");
        damaged("head.bias", (numbers, i) -> numbers[i] = Float.NEGATIVE_INFINITY, "finite");
        damaged("blocks.1.attn.qkv.weight_scale", (numbers, i) -> numbers[i] *= 1.0000002f, "manifest.json");
        damaged("blocks.1.attn.matmul2.left_scale", (numbers, i) -> numbers[i] = 0, "manifest.json");
        byte[] good = Files.readAllBytes(out.resolve("model.safetensors"));
        for (int code : new int[] {-33, 32}) {
            rewritten((name, tensors) -> tensors.bytes.get("blocks.0.mlp.fc1.weight")[7] = (byte) code);
            String message = message("code");
            assertTrue(message.contains("blocks.0.mlp.fc1.weight") && message.contains("from -32 to 31") && message.contains(code + " at index 7"),
                    message);
            Files.write(out.resolve("model.safetensors"), good);
        }
        rewritten((name, tensors) -> tensors.floats.put("head.weight_scales", Tensor.zeros(1)));
        assertTrue(message("stranger").contains("head.weight_scales"));
        Files.write(out.resolve("model.safetensors"), good);
        rewritten((name, tensors) -> tensors.floats.put("norm.bias", Tensor.zeros(31)));
        assertTrue(message("shape").contains("norm.bias: expected is shape [32], found is [31]"));
        rewritten((name, tensors) -> tensors.floats.remove("norm.bias"));
        assertTrue(assertThrows(RuntimeException.class, () -> Checkpoint.read(out)).getMessage().contains("norm.bias"));
    }

    private void damaged(String tensor, BiConsumer<float[], Integer> damage, String expected) throws IOException {
        byte[] good = Files.readAllBytes(out.resolve("model.safetensors"));
        rewritten((name, tensors) -> {
            float[] numbers = tensors.floats.get(tensor).toArray().clone();
            damage.accept(numbers, numbers.length - 1);
            tensors.floats.put(tensor, Tensor.of(tensors.floats.get(tensor).shape(), numbers));
        });
        String message = message(tensor);
        assertTrue(message.contains("model.safetensors") && message.contains(tensor) && message.contains(expected), message);
        Files.write(out.resolve("model.safetensors"), good);
    }

    private static final class Tensors {
        final Map<String, Tensor> floats = new TreeMap<>();
        final Map<String, byte[]> bytes = new TreeMap<>();
        final Map<String, Shape> shapes = new TreeMap<>();
    }

    private void rewritten(BiConsumer<Path, Tensors> change) {
        Path path = out.resolve("model.safetensors");
        Tensors tensors = new Tensors();
        SafetensorsWriter writer = new SafetensorsWriter();
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            file.metadata().forEach(writer::metadata);
            for (String name : file.names()) {
                if (file.info(name).dtype() == DType.I8) {
                    tensors.bytes.put(name, file.readBytes(name));
                    tensors.shapes.put(name, file.info(name).shape());
                } else {
                    tensors.floats.put(name, Tensor.of(file.info(name).shape(), file.read(name).toArray().clone()));
                }
            }
        }
        change.accept(path, tensors);
        tensors.floats.forEach(writer::add);
        tensors.bytes.forEach((name, codes) -> writer.addBytes(name, DType.I8, tensors.shapes.get(name), codes));
        writer.write(path);
    }

    @Test
    void aPartIsContinuedOnlyIfItIsTheVeryFileThatWasWritten() throws IOException {
        Map<String, List<QuantizedLayer>> units = TinyModel.units(TinyModel.quantize(model, 6));
        Path part = out.resolve("parts/blocks.1.safetensors");
        begin(writer -> writer.unit("blocks.1", units.get("blocks.1")));
        begin(writer -> assertEquals(units.get("blocks.1"), writer.finished().get("blocks.1")));
        byte[] good = Files.readAllBytes(part);
        byte[] flipped = good.clone();
        flipped[flipped.length - 1] ^= 1;
        Path other = folder.resolve("other");
        Path own = out;
        out = other;
        begin(writer -> writer.unit("blocks.1", TinyModel.units(TinyModel.quantize(model, 5)).get("blocks.1")));
        out = own;
        for (byte[] bad : List.of(flipped, Files.readAllBytes(other.resolve("parts/blocks.1.safetensors")))) {
            Files.write(part, bad);
            String message = assertThrows(ArtifactException.class, () -> begin(CheckpointWriter::finished)).getMessage();
            assertTrue(message.contains(part.toString()) && message.contains("SHA-256") && message.contains("--force"), message);
            assertThrows(ArtifactException.class, () -> begin(CheckpointWriter::finish));
        }
        Files.write(part, good);
        Path manifest = out.resolve("manifest.json");
        ObjectNode root = (ObjectNode) JSON.readTree(Files.readString(manifest));
        root.remove("parts");
        Files.writeString(manifest, root.toString());
        String message = assertThrows(ArtifactException.class, () -> begin(CheckpointWriter::finished)).getMessage();
        assertTrue(message.contains("digests") && Files.exists(part), message);
    }

    @Test
    void aRecordIsReadOnlyIfItIsTheVeryFileThatWasWritten() throws IOException {
        List<QuantizedLayer> layers = TinyModel.quantize(model, 6);
        begin(writer -> {
            layers.stream().map(TinyRecords::of).forEach(writer::record);
            TinyModel.units(layers).forEach(writer::unit);
        });
        Path part = out.resolve("parts/blocks.1.record.json");
        String own = Files.readString(part);
        for (String other : others(own, Files.readString(out.resolve("parts/blocks.0.record.json")))) {
            Files.writeString(part, other);
            refused(() -> begin(CheckpointWriter::records), part);
            refused(() -> begin(CheckpointWriter::finish), part);
        }
        Files.writeString(part, own);
        begin(CheckpointWriter::finish);
        Path record = out.resolve("record.json");
        assertEquals(layers.stream().map(TinyRecords::of).toList(), Checkpoint.records(out));
        String whole = Files.readString(record);
        for (String other : others(whole, own)) {
            Files.writeString(record, other);
            refused(() -> Checkpoint.records(out), record);
            assertEquals(layers, Checkpoint.read(out).model().layers());
        }
        Files.delete(record);
        assertTrue(Checkpoint.records(out).isEmpty());
    }

    /** Damaged, and of something else. */
    private static List<String> others(String record, String another) {
        String unknown = record.replaceFirst("\"losses\"", "\"extra\" : 1, \"losses\"");
        return List.of(another, record.replaceFirst("\"cost\" : [0-9]", "\"cost\" : 7"), record.replaceFirst("\"high\" : ", "\"high\" :  "),
                unknown, signed(unknown), signed(record.replaceFirst("\"low\" : [^,]*", "\"low\" : 1e9")),
                signed(record.replaceFirst("\"format_version\" : 1", "\"format_version\" : 2")), record.substring(0, record.length() / 2), "");
    }

    /** With a digest that fits. */
    private static String signed(String record) {
        String zeros = record.replaceFirst("\"sha256\" : \"[0-9a-f]*\"", "\"sha256\" : \"" + "0".repeat(64) + "\"");
        return zeros.replaceFirst("0{64}", Fingerprints.ofBytes(zeros.getBytes(StandardCharsets.UTF_8)));
    }

    private static void refused(Executable reading, Path file) {
        String message = assertThrows(ArtifactException.class, reading).getMessage();
        assertTrue(message.startsWith(file + ": ") && message.lines().count() == 1, message);
    }

    @Test
    void theTransformedNetworkIsContinuedOnlyIfItIsTheVeryFileThatWasWritten() throws IOException {
        VisionTransformer other = new VisionTransformer(model.config(), TinyModel.tensors(2), model.metadata());
        begin(writer -> writer.network(other));
        begin(writer -> assertEquals(other.tensors().keySet(), writer.network().orElseThrow().tensors().keySet()));
        Path part = out.resolve("parts/network.safetensors");
        new SafetensorsWriter().add("pos_embed", Tensor.zeros(1)).write(part);
        assertTrue(assertThrows(ArtifactException.class, () -> begin(CheckpointWriter::network)).getMessage().contains(part.toString()));
        // written, but killed before the manifest knows of it: it does not count
        Path manifest = out.resolve("manifest.json");
        Files.writeString(manifest, Files.readString(manifest).replaceFirst("\"network\" : \"[0-9a-f]*\"", ""));
        begin(writer -> assertTrue(writer.network().isEmpty()));
        assertTrue(Files.notExists(part));
    }

    @Test
    void linksInAFolderAreNotFollowedAndForeignFilesStay() throws IOException {
        Path outside = Files.createDirectories(folder.resolve("outside"));
        Files.writeString(outside.resolve("head.safetensors"), "mine");
        begin(writer -> assertTrue(writer.finished().isEmpty()));
        Files.delete(out.resolve("parts"));
        Files.createSymbolicLink(out.resolve("parts"), outside);
        assertTrue(assertThrows(ArtifactException.class, () -> begin(CheckpointWriter::finished)).getMessage().contains("link"));
        assertEquals("mine", Files.readString(outside.resolve("head.safetensors")));
        Files.delete(out.resolve("parts"));
        begin(writer -> write("mine", out.resolve("parts/notes.txt")));
        begin(writer -> {
            TinyModel.units(TinyModel.quantize(model, 6)).forEach(writer::unit);
            writer.finish();
        });
        assertEquals("mine", Files.readString(out.resolve("parts/notes.txt")));
        assertEquals(14, Checkpoint.read(out).model().layers().size());
    }

    private static void write(String text, Path file) {
        try {
            Files.writeString(file, text);
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    private void begin(Consumer<CheckpointWriter> work) {
        try (OutputFolder target = OutputFolder.open(out, Existing.RESUME)) {
            work.accept(CheckpointWriter.open(target, model, "crop=32", CheckpointWriterTest.provenance("w", 7)));
        }
    }

    private String message(String what) {
        String message = assertThrows(ArtifactException.class, () -> Checkpoint.read(out), what).getMessage();
        assertEquals(1, message.lines().count(), message);
        return message;
    }

    private void write(List<QuantizedLayer> layers) {
        begin(writer -> {
            TinyModel.units(layers).forEach(writer::unit);
            writer.finish();
        });
    }

    /** What version 3 of the format has beside the quantisers of version 2. */
    private List<QuantizedLayer> withTransforms() {
        List<QuantizedLayer> layers = new ArrayList<>();
        for (QuantizedLayer q : TinyModel.quantize(model, 6)) {
            layers.add(switch (q.name()) {
                case "blocks.0.attn.qkv" -> new QuantizedLayer(q.name(), List.of(new Quantizer.Affine(0.02f, 30, 6),
                        new Quantizer.Affine(0.03f, 20, 6)), q.right(), q.weightCodes(), InputTransform.NONE.withHadamard(16).withPrefixTokens(1));
                case "blocks.0.mlp.fc2" -> new QuantizedLayer(q.name(), List.of(new Quantizer.Logarithmic(2, 15, 6)), q.right(),
                        q.weightCodes(), InputTransform.NONE.withChannels(0.17f, filled(48, 0.5f)));
                case "blocks.0.attn.matmul2" -> new QuantizedLayer(q.name(), List.of(new Quantizer.Logarithmic(1, 37, 6),
                        new Quantizer.Logarithmic(0.5f, 12, 6)), q.right(), new byte[0], InputTransform.NONE.withRows(RowScale.SUM, RowScale.RANGE));
                default -> q;
            });
        }
        return layers;
    }

    private static float[] filled(int count, float number) {
        float[] numbers = new float[count];
        java.util.Arrays.fill(numbers, number);
        return numbers;
    }
}
