package io.github.ptq4vit.artifact;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.quant.InputTransform;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.quant.TwinRule;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.ToDoubleFunction;

/**
 * The quantisers of one operand as JSON: {@code {"kind": "uniform", "bits": 8, "groups": 3, "scales": [...]}}. Scales are
 * the shortest decimals that give the same float32 again.
 */
final class QuantizerJson {
    private static final String NONE = "none";
    private static final String UNIFORM = "uniform";
    private static final String SOFTMAX_TWIN = "softmax_twin";
    private static final String GELU_TWIN = "gelu_twin";
    private static final String AFFINE = "affine";
    private static final String LOGARITHMIC = "logarithmic";

    private QuantizerJson() {
    }

    static ObjectNode write(List<Quantizer> groups) {
        ObjectNode node = JsonNodeFactory.instance.objectNode();
        if (groups.isEmpty()) {
            return node.put("kind", NONE);
        }
        Quantizer first = groups.get(0);
        if (groups.stream().anyMatch(other -> other.getClass() != first.getClass() || other.bits() != first.bits())) {
            throw new IllegalArgumentException("The groups of an operand must have quantisers of one kind: " + groups);
        }
        node.put("kind", kind(first)).put("bits", first.bits()).put("groups", groups.size());
        if (first instanceof Quantizer.Uniform) {
            floats(node, "scales", groups, q -> ((Quantizer.Uniform) q).scale());
        } else if (first instanceof Quantizer.SoftmaxTwin twin) {
            node.put("rule", twin.rule().name().toLowerCase(Locale.ROOT));
            groups.forEach(q -> node.withArray("exponents").add(((Quantizer.SoftmaxTwin) q).exponent()));
            floats(node, "thresholds", groups, q -> ((Quantizer.SoftmaxTwin) q).threshold());
        } else if (first instanceof Quantizer.Affine) {
            floats(node, "scales", groups, q -> ((Quantizer.Affine) q).scale());
            groups.forEach(q -> node.withArray("zero_points").add(((Quantizer.Affine) q).zeroPoint()));
        } else if (first instanceof Quantizer.Logarithmic) {
            floats(node, "tops", groups, q -> ((Quantizer.Logarithmic) q).top());
            groups.forEach(q -> node.withArray("ratios").add(((Quantizer.Logarithmic) q).ratio()));
        } else {
            floats(node, "negative_scales", groups, q -> ((Quantizer.GeluTwin) q).negativeScale());
            floats(node, "positive_scales", groups, q -> ((Quantizer.GeluTwin) q).positiveScale());
        }
        return node;
    }

    static List<Quantizer> read(JsonNode node) {
        String kind = node.required("kind").asText();
        List<Quantizer> groups = new ArrayList<>();
        if (kind.equals(NONE)) {
            return groups;
        }
        int bits = node.required("bits").intValue();
        int count = node.required("groups").intValue();
        for (int i = 0; i < count; i++) {
            groups.add(switch (kind) {
                case UNIFORM -> new Quantizer.Uniform(number(node, "scales", i), bits);
                case SOFTMAX_TWIN -> new Quantizer.SoftmaxTwin(node.required("exponents").required(i).intValue(), bits,
                        TwinRule.valueOf(node.required("rule").asText().toUpperCase(Locale.ROOT)));
                case AFFINE -> new Quantizer.Affine(number(node, "scales", i),
                        node.required("zero_points").required(i).intValue(), bits);
                case LOGARITHMIC -> new Quantizer.Logarithmic(number(node, "tops", i),
                        node.required("ratios").required(i).intValue(), bits);
                case GELU_TWIN -> new Quantizer.GeluTwin(number(node, "negative_scales", i),
                        number(node, "positive_scales", i), bits);
                default -> throw new IllegalArgumentException("there is no quantiser of kind " + kind);
            });
        }
        return groups;
    }

    private static String kind(Quantizer quantizer) {
        return quantizer instanceof Quantizer.Uniform ? UNIFORM : quantizer instanceof Quantizer.SoftmaxTwin ? SOFTMAX_TWIN
                : quantizer instanceof Quantizer.Affine ? AFFINE : quantizer instanceof Quantizer.Logarithmic ? LOGARITHMIC : GELU_TWIN;
    }

    /** Whether a reader of version 2 of the format knows these. */
    static boolean isOfVersion2(List<Quantizer> groups) {
        return groups.stream().noneMatch(q -> q instanceof Quantizer.Affine || q instanceof Quantizer.Logarithmic);
    }

    /** The input transform of a layer. */
    static ObjectNode write(InputTransform transform) {
        ObjectNode node = JsonNodeFactory.instance.objectNode().put("shift", transform.shift()).put("hadamard", transform.hadamard())
                .put("prefix_tokens", transform.prefixTokens()).put("rows", transform.rows().name().toLowerCase(Locale.ROOT));
        for (float factor : transform.factors()) {
            node.withArray("factors").add(factor);
        }
        return node;
    }

    static InputTransform readTransform(JsonNode node) {
        JsonNode factors = node.path("factors");
        float[] numbers = new float[factors.size()];
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = number(node, "factors", i);
        }
        return new InputTransform(Float.parseFloat(node.required("shift").asText()), numbers, node.required("hadamard").intValue(),
                node.required("prefix_tokens").intValue(), RowScale.valueOf(node.required("rows").asText().toUpperCase(Locale.ROOT)));
    }

    private static void floats(ObjectNode node, String name, List<Quantizer> groups, ToDoubleFunction<Quantizer> number) {
        groups.forEach(q -> node.withArray(name).add((float) number.applyAsDouble(q)));
    }

    /** Parsed as float32 from the text: by way of a double it could be rounded twice. */
    private static float number(JsonNode node, String name, int index) {
        return Float.parseFloat(node.required(name).required(index).asText());
    }
}
