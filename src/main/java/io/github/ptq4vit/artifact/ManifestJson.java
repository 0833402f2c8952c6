package io.github.ptq4vit.artifact;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.model.SwinConfig;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.quant.InputTransform;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;

/** The manifest as JSON; the same manifest gives the same bytes. */
final class ManifestJson {
    static final String FILE = "manifest.json";
    private static final String FORMAT = "ptq4vit quantised vision transformer";
    /** What the paper's quantisers need, and what the others do. */
    private static final int VERSION = 2;
    private static final int VERSION_WITH_TRANSFORMS = 3;
    private static final String TRANSFORM = "input_transform";
    private static final String FAMILY = "family";
    private static final String VIT = "vit";
    private static final String SWIN = "swin";
    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
            .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE).build();

    private ManifestJson() {
    }

    static byte[] write(Manifest manifest) {
        ObjectNode root = JSON.createObjectNode();
        root.put("format", FORMAT).put("format_version", version(manifest)).put("complete", manifest.complete());
        root.putObject("units").put("finished", manifest.units().size()).put("all", manifest.allUnits());
        root.set("architecture", architecture(manifest.config()));
        root.put("transform", manifest.transform());
        root.set("provenance", provenance(manifest.provenance()));
        Map<String, LayerRole> roles = manifest.config().layers().stream().collect(Collectors.toMap(Layer::name, Layer::role));
        ArrayNode layers = root.putArray("layers");
        manifest.units().forEach((unit, members) -> members.forEach(layer -> {
            LayerRole role = roles.get(layer.name());
            ObjectNode node = layers.addObject().put("name", layer.name())
                    .put("role", role.name().toLowerCase(Locale.ROOT)).put("unit", unit);
            putQuantizers(node, role, layer);
        }));
        return bytes(root);
    }

    /** The lowest version that can say it, so that older programs read what they can. */
    private static int version(Manifest manifest) {
        return manifest.units().values().stream().flatMap(List::stream).allMatch(layer -> layer.input().equals(InputTransform.NONE)
                && QuantizerJson.isOfVersion2(layer.left()) && QuantizerJson.isOfVersion2(layer.right())) ? VERSION
                : VERSION_WITH_TRANSFORMS;
    }

    /** The scales of a model and what they belong to, for those who build the quantised network with other means. */
    static byte[] scales(Checkpoint checkpoint) {
        Architecture config = checkpoint.model().model().config();
        ObjectNode root = JSON.createObjectNode();
        root.set("architecture", architecture(config));
        root.put("transform", checkpoint.transform());
        ArrayNode layers = root.putArray("layers");
        Map<String, QuantizedLayer> quantized = checkpoint.model().byName();
        config.layers().forEach(layer -> putQuantizers(layers.addObject().put("name", layer.name())
                .put("role", layer.role().name().toLowerCase(Locale.ROOT)), layer.role(), quantized.get(layer.name())));
        return bytes(root);
    }

    private static void putQuantizers(ObjectNode node, LayerRole role, QuantizedLayer layer) {
        node.set(left(role), QuantizerJson.write(layer.left()));
        node.set(right(role), QuantizerJson.write(layer.right()));
        if (!layer.input().equals(InputTransform.NONE)) {
            node.set(TRANSFORM, QuantizerJson.write(layer.input()));
        }
    }

    private static byte[] bytes(ObjectNode root) {
        try {
            DefaultPrettyPrinter printer = new DefaultPrettyPrinter();
            printer.indentObjectsWith(new DefaultIndenter("  ", "\n"));
            return (JSON.writer(printer).writeValueAsString(root) + "\n").getBytes(StandardCharsets.UTF_8);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("A tree of plain values can be written", e);
        }
    }

    /** Whether there is a manifest of ours, of whatever version. */
    static boolean isOurs(Path folder) {
        return tree(folder.resolve(FILE)).isPresent();
    }

    /** Reads the manifest of a folder; the layers have no codes. */
    static Manifest read(Path folder) {
        Path file = folder.resolve(FILE);
        JsonNode root = tree(file).orElseThrow(() -> new ArtifactException(folder
                + ": is not a quantised model, it has no " + FILE + " of ptq4vit"));
        JsonNode version = root.path("format_version");
        if (!version.canConvertToInt() || version.intValue() < VERSION || version.intValue() > VERSION_WITH_TRANSFORMS) {
            throw new ArtifactException(file + ": has format version " + version.asText("none") + ", this program reads versions "
                    + VERSION + " and " + VERSION_WITH_TRANSFORMS);
        }
        try {
            Map<String, List<QuantizedLayer>> units = new LinkedHashMap<>();
            Architecture config = architecture(root.required("architecture"));
            Map<String, LayerRole> roles = config.layers().stream().collect(Collectors.toMap(Layer::name, Layer::role));
            for (JsonNode layer : root.required("layers")) {
                String name = layer.required("name").asText();
                LayerRole role = Optional.ofNullable(roles.get(name)).orElseThrow(() -> new IllegalArgumentException(
                        "the architecture has no layer " + name));
                units.computeIfAbsent(layer.required("unit").asText(), unit -> new ArrayList<>())
                        .add(new QuantizedLayer(name, QuantizerJson.read(layer.required(left(role))),
                                QuantizerJson.read(layer.required(right(role))), new byte[0],
                                layer.has(TRANSFORM) ? QuantizerJson.readTransform(layer.get(TRANSFORM)) : InputTransform.NONE));
            }
            return new Manifest(config, root.required("transform").asText(), provenance(root.required("provenance")),
                    root.required("complete").booleanValue(), units);
        } catch (JsonProcessingException | IllegalArgumentException e) {
            throw new ArtifactException(file + ": is damaged (" + e.getMessage().lines().findFirst().orElse("") + ")", e);
        }
    }

    /** Under these names manifest and tensors have the operands. */
    static String left(LayerRole role) {
        return role.isMatmul() ? "left" : "input";
    }

    static String right(LayerRole role) {
        return role.isMatmul() ? "right" : "weight";
    }

    private static Optional<JsonNode> tree(Path file) {
        if (!Files.exists(file)) {
            return Optional.empty();
        }
        try {
            return Optional.of(JSON.readTree(Files.readAllBytes(file))).filter(root -> root.path("format").asText()
                    .equals(FORMAT));
        } catch (JsonProcessingException e) {
            return Optional.empty();
        } catch (IOException e) {
            throw new ArtifactException(file + ": cannot be read (" + Disk.reason(e) + ")", e);
        }
    }

    private static ObjectNode architecture(Architecture config) {
        ObjectNode node = JSON.createObjectNode().put(FAMILY, config instanceof SwinConfig ? SWIN : VIT);
        node.setAll(JSON.<ObjectNode>valueToTree(config));
        // as float32, whose shortest decimal it is, not as the double next to it
        return node.put("epsilon", config.epsilon());
    }

    private static Architecture architecture(JsonNode node) throws JsonProcessingException {
        ObjectNode components = node.deepCopy();
        String family = components.required(FAMILY).asText();
        components.remove(FAMILY);
        return switch (family) {
            case VIT -> JSON.treeToValue(components, VitConfig.class);
            case SWIN -> JSON.treeToValue(components, SwinConfig.class);
            default -> throw new IllegalArgumentException("there is no architecture family " + family);
        };
    }

    private static ObjectNode provenance(Provenance p) {
        ObjectNode node = JSON.createObjectNode();
        node.set("configuration", JSON.valueToTree(p.configuration()));
        node.put("seed", p.seed());
        ObjectNode images = node.putObject("images").put("count", p.imageIds().size()).put("ids_sha256", p.idsHash())
                .put("pixels_sha256", p.pixelsHash());
        images.set("ids", JSON.valueToTree(p.imageIds()));
        node.put("weights_sha256", p.weightsHash());
        node.set("versions", JSON.valueToTree(p.versions()));
        return node;
    }

    private static Provenance provenance(JsonNode node) {
        JsonNode images = node.required("images");
        List<String> ids = new ArrayList<>();
        images.required("ids").forEach(id -> ids.add(id.asText()));
        return new Provenance(map(node.required("configuration"), ManifestJson::plain), node.required("seed").longValue(), ids,
                images.required("ids_sha256").asText(), images.required("pixels_sha256").asText(),
                node.required("weights_sha256").asText(), map(node.required("versions"), JsonNode::asText));
    }

    private static <T> Map<String, T> map(JsonNode node, Function<JsonNode, T> value) {
        Map<String, T> map = new LinkedHashMap<>();
        node.properties().forEach(field -> map.put(field.getKey(), value.apply(field.getValue())));
        return map;
    }

    private static Object plain(JsonNode node) {
        return node.isBoolean() ? (Object) node.booleanValue() : node.isNumber() ? node.decimalValue() : node.asText();
    }
}
