package io.github.ptq4vit.calibrate;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.StringJoiner;

/**
 * What a calibration found for one layer, in a few bytes. The quantisers are digested as the manifest writes them, each float
 * with all its bits; so the digest also holds the manifest's text.
 *
 * @param calibration what was calibrated and how: model, preset and bit widths
 * @param layer name of the layer
 * @param left digest of the left operand's quantisers
 * @param right digest of the right operand's
 * @param codes digest of the weight's codes
 */
record LayerDigest(String calibration, String layer, String left, String right, String codes) {
    private static final ObjectMapper JSON = new ObjectMapper();

    /** Of all layers of a model in network order. */
    static List<LayerDigest> of(String calibration, QuantizedModel model) {
        JsonNode manifest;
        try {
            manifest = JSON.readTree(new Checkpoint(model, "", null).scalesJson()).required("layers");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        List<LayerDigest> digests = new ArrayList<>();
        for (QuantizedLayer layer : model.layers()) {
            JsonNode node = manifest.get(digests.size());
            if (!node.required("name").textValue().equals(layer.name())) {
                throw new IllegalStateException("The manifest has " + node + " in the place of " + layer.name());
            }
            boolean product = node.has("left");
            digests.add(new LayerDigest(calibration, layer.name(), digest(node.required(product ? "left" : "input")),
                    digest(node.required(product ? "right" : "weight")), digest(layer.weightCodes())));
        }
        return digests;
    }

    /** The inverse of {@link #toString}. */
    static LayerDigest parse(String line) {
        String[] words = line.split(" ");
        int layer = words.length - 4;
        return new LayerDigest(String.join(" ", Arrays.copyOf(words, layer)), words[layer], words[layer + 1],
                words[layer + 2], words[layer + 3]);
    }

    private static String digest(JsonNode node) {
        return digest(node.toString().getBytes(StandardCharsets.UTF_8));
    }

    /** The first 16 digits of the SHA-256. */
    static String digest(byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes), 0, 8);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("Every Java has SHA-256", e);
        }
    }

    /** In words, in what it differs from another digest of the same layer; empty if in nothing. */
    String differences(LayerDigest other) {
        StringJoiner moved = new StringJoiner(", ");
        if (!left.equals(other.left)) {
            moved.add("left scales");
        }
        if (!right.equals(other.right)) {
            moved.add("right scales");
        }
        if (!codes.equals(other.codes)) {
            moved.add("codes");
        }
        return moved.toString();
    }

    @Override
    public String toString() {
        return String.join(" ", calibration, layer, left, right, codes);
    }
}
