package io.github.ptq4vit.digests;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.IntNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.tensor.DType;
import io.github.ptq4vit.tensor.SafetensorsFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Digests of a quantised folder, each the first 64 bits of a SHA-256, in rows:
 * <ul>
 * <li>{@value #HEAD}: the manifest before its layers (architecture, transform, provenance), as it stands in the file;
 * <li>each layer, in network order: {@value #MANIFEST} is what the manifest says of it but for numbers, {@value #SCALES} are these
 * numbers as they stand there and as tensors, {@value #CODES} the int8 codes of its weight, if it has one;
 * <li>{@value #FILES}: both files as a whole.
 * </ul>
 * Left out are the versions in the provenance: of the program, of Java, of the device and its libraries. There is no time in them.
 */
final class CheckpointDigests {
    static final String MANIFEST = "manifest";
    static final String SCALES = "scales";
    static final String CODES = "codes";
    private static final String HEAD = "(head)";
    private static final String FILES = "(files)";
    private static final String MANIFEST_FILE = "manifest.json";
    private static final String TENSORS_FILE = "model.safetensors";
    private static final Pattern VERSIONS = Pattern.compile("(\"versions\" : )\\{[^}]*}");
    private static final Pattern LAYERS = Pattern.compile("\n  \"layers\" : ");
    private static final int DIGITS = 16;

    private CheckpointDigests() {
    }

    static void add(DigestTable table, String calibration, Path folder) throws IOException {
        String manifest = Files.readString(folder.resolve(MANIFEST_FILE));
        Matcher versions = VERSIONS.matcher(manifest);
        if (!versions.find()) {
            throw new IOException(folder + ": the manifest has no versions to leave out");
        }
        String unversioned = versions.replaceFirst("$1{}");
        table.add(calibration, HEAD, Map.of(MANIFEST, digest(utf8(LAYERS.split(unversioned, 2)[0]))));
        try (SafetensorsFile tensors = SafetensorsFile.open(folder.resolve(TENSORS_FILE))) {
            for (JsonNode layer : new JsonMapper().readTree(manifest).required("layers")) {
                String name = layer.required("name").textValue();
                table.add(calibration, name, ofLayer(name, (ObjectNode) layer, tensors));
            }
        }
        Map<String, String> whole = new LinkedHashMap<>();
        whole.put(MANIFEST_FILE, digest(utf8(unversioned)));
        whole.put(TENSORS_FILE, digest(Files.readAllBytes(folder.resolve(TENSORS_FILE))));
        table.add(calibration, FILES, whole);
    }

    private static Map<String, String> ofLayer(String name, ObjectNode layer, SafetensorsFile tensors) throws IOException {
        StringBuilder numbers = new StringBuilder();
        for (String operand : new String[] {"input", "left", "weight", "right"}) {
            if (layer.has(operand)) {
                ObjectNode quantisers = (ObjectNode) layer.required(operand);
                quantisers.properties().forEach(field -> {
                    if (field.getValue().isArray()) {
                        numbers.append(operand).append(field);
                        field.setValue(IntNode.valueOf(field.getValue().size()));
                    }
                });
                String scales = name + "." + operand + "_scale";
                if (tensors.contains(scales)) {
                    numbers.append(tensors.info(scales).shape()).append(HexFormat.of().formatHex(tensors.readBytes(scales)));
                }
            }
        }
        Map<String, String> parts = new LinkedHashMap<>();
        parts.put(MANIFEST, digest(utf8(layer.toString())));
        parts.put(SCALES, digest(utf8(numbers.toString())));
        String codes = name + ".weight";
        if (tensors.contains(codes)) {
            if (tensors.info(codes).dtype() != DType.I8) {
                throw new IOException(tensors.path() + ": " + codes + " has no codes");
            }
            parts.put(CODES, digest(tensors.readBytes(codes)));
        }
        return parts;
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String digest(byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes)).substring(0, DIGITS);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("Every Java has SHA-256", e);
        }
    }
}
