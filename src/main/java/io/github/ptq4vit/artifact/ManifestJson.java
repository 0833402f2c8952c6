package io.github.ptq4vit.artifact;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.quant.InputTransform;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/** The manifest as JSON; the same manifest gives the same bytes. */
final class ManifestJson {
    static final String FILE = "manifest.json";
    private static final String FORMAT = "ptq4vit quantised vision transformer";
    /** What the paper's quantisers need, and what the others do. */
    static final int VERSION = 2;
    static final int VERSION_WITH_TRANSFORMS = 3;
    static final String TRANSFORM = "input_transform";
    private static final String PARTS = "parts";
    private static final JsonMapper JSON = JsonMapper.builder().enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build();

    private ManifestJson() {
    }

    static byte[] write(Manifest manifest) {
        ObjectNode root = JSON.createObjectNode();
        root.put("format", FORMAT).put("format_version", version(manifest)).put("complete", manifest.complete());
        root.putObject("units").put("finished", manifest.units().size()).put("all", manifest.allUnits());
        if (!manifest.complete()) {
            ObjectNode parts = root.putObject(PARTS);
            manifest.digests().forEach(parts::put);
        }
        root.set("architecture", ArchitectureJson.write(manifest.config()));
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
        boolean old = manifest.units().values().stream().flatMap(List::stream).allMatch(layer -> layer.isQuantized()
                && layer.input().equals(InputTransform.NONE) && QuantizerJson.isOfVersion2(layer.left()) && QuantizerJson.isOfVersion2(layer.right()));
        return old && ArchitectureJson.isOfVersion2(manifest.config()) ? VERSION : VERSION_WITH_TRANSFORMS;
    }

    /** The scales of a model and what they belong to, for those who build the quantised network with other means. */
    static byte[] scales(Checkpoint checkpoint) {
        Architecture config = checkpoint.model().model().config();
        ObjectNode root = JSON.createObjectNode();
        root.set("architecture", ArchitectureJson.write(config));
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

    static byte[] bytes(ObjectNode root) {
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

    /**
     * Reads the manifest of a folder; the layers have no codes.
     *
     * @throws ArtifactException if there is none, or anything in it is not as a manifest is written
     */
    static Manifest read(Path folder) {
        Path file = folder.resolve(FILE);
        JsonNode root = tree(file).orElseThrow(() -> new ArtifactException(folder
                + ": is not a quantised model, it has no " + FILE + " of ptq4vit"));
        Fields fields = Fields.of(file, root);
        fields.word("format", Set.of(FORMAT));
        int version = fields.integer("format_version", VERSION, VERSION_WITH_TRANSFORMS);
        Architecture config = ArchitectureJson.read(fields, "architecture");
        Map<String, LayerPlace> places = LayerPlace.of(config);
        Map<String, List<QuantizedLayer>> units = new LinkedHashMap<>();
        Set<String> seen = new HashSet<>();
        for (Fields element : fields.objects("layers")) {
            Fields layer = element.ofLayer(element.word("name", places.keySet()));
            LayerPlace place = places.get(layer.text("name"));
            if (!seen.add(place.layer().name())) {
                throw layer.wrong("name", "a name that is there once", place.layer().name());
            }
            layer.word("unit", Set.of(place.unit()));
            units.computeIfAbsent(place.unit(), unit -> new ArrayList<>()).add(layer(layer, place, version));
        }
        places.values().forEach(place -> {
            if (units.containsKey(place.unit()) && !seen.contains(place.layer().name())) {
                throw fields.wrong("layers", "layer " + place.layer().name() + " of unit " + place.unit(), "none");
            }
        });
        boolean complete = fields.truth("complete");
        Manifest manifest = new Manifest(config, fields.text("transform"), provenance(fields.object("provenance")), complete, units,
                complete || !fields.has(PARTS) ? Map.of() : digests(fields.object(PARTS), units.keySet()));
        if (complete && units.size() < manifest.allUnits()) {
            throw fields.wrong("layers", "the layers of all " + manifest.allUnits() + " units", units.size() + " units");
        }
        Fields counts = fields.object("units");
        counts.integer("all", manifest.allUnits(), manifest.allUnits());
        counts.integer("finished", units.size(), units.size());
        counts.done();
        fields.done();
        return manifest;
    }

    private static QuantizedLayer layer(Fields fields, LayerPlace place, int version) {
        LayerRole role = place.layer().role();
        fields.word("role", Set.of(role.name().toLowerCase(Locale.ROOT)));
        boolean transformed = version >= VERSION_WITH_TRANSFORMS && fields.has(TRANSFORM);
        QuantizedLayer layer = new QuantizedLayer(place.layer().name(), QuantizerJson.read(fields, left(role), place.leftKinds(version)),
                QuantizerJson.read(fields, right(role), place.rightKinds(version)), new byte[0],
                transformed ? QuantizerJson.readTransform(fields, TRANSFORM) : InputTransform.NONE);
        fields.done();
        place.check(fields, layer);
        return layer;
    }

    private static Map<String, String> digests(Fields parts, Set<String> units) {
        Map<String, String> digests = new LinkedHashMap<>();
        units.forEach(unit -> digests.put(unit, parts.hash(unit)));
        if (parts.has(Manifest.NETWORK)) {
            digests.put(Manifest.NETWORK, parts.hash(Manifest.NETWORK));
        }
        parts.done();
        return digests;
    }

    /** Under these names manifest and tensors have the operands. */
    static String left(LayerRole role) {
        return role.isMatmul() ? "left" : "input";
    }

    static String right(LayerRole role) {
        return role.isMatmul() ? "right" : "weight";
    }

    private static Optional<JsonNode> tree(Path file) {
        if (!Files.isRegularFile(file)) {
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

    /** The object that is another file of the folder. */
    static Fields fields(Path file, byte[] text) {
        try {
            return Fields.of(file, JSON.readTree(text));
        } catch (IOException e) {
            throw new ArtifactException(file + ": is damaged: it is not JSON", e);
        }
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

    private static Provenance provenance(Fields fields) {
        Fields images = fields.object("images");
        List<String> ids = images.texts("ids");
        images.integer("count", ids.size(), ids.size());
        String idsHash = images.hash("ids_sha256");
        if (!idsHash.equals(Fingerprints.ofIds(ids))) {
            throw images.wrong("ids_sha256", Fingerprints.ofIds(ids) + " of the ids", idsHash);
        }
        Fields configuration = fields.object("configuration");
        Map<String, Object> settings = new LinkedHashMap<>();
        configuration.names().forEach(name -> settings.put(name, configuration.plain(name)));
        Fields versions = fields.object("versions");
        Map<String, String> texts = new LinkedHashMap<>();
        versions.names().forEach(name -> texts.put(name, versions.text(name)));
        Provenance provenance = new Provenance(settings, fields.whole("seed"), ids, idsHash, images.hash("pixels_sha256"),
                fields.hash("weights_sha256"), texts);
        images.done();
        fields.done();
        return provenance;
    }
}
