package io.github.ptq4vit.artifact;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.InputTransform;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.quant.TwinRule;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.function.Function;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;

/**
 * The quantisers of one operand as JSON: {@code {"kind": "uniform", "bits": 8, "groups": 3, "scales": [...]}}. Scales are
 * the shortest decimals that give the same float32 again.
 */
final class QuantizerJson {
    static final String NONE = "none";
    static final String UNIFORM = "uniform";
    static final String SOFTMAX_TWIN = "softmax_twin";
    static final String GELU_TWIN = "gelu_twin";
    static final String AFFINE = "affine";
    static final String LOGARITHMIC = "logarithmic";
    static final String COMPANDED = "companded";
    static final Set<String> KINDS = Set.of(UNIFORM, SOFTMAX_TWIN, GELU_TWIN, AFFINE, LOGARITHMIC, COMPANDED);
    /** More output channels, heads or tokens than any network has. */
    private static final int MOST_GROUPS = 1 << 20;
    private static final int MOST_HADAMARD = 1 << 20;

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
        } else if (first instanceof Quantizer.Companded) {
            floats(node, "tops", groups, q -> ((Quantizer.Companded) q).top());
            groups.forEach(q -> node.withArray("bends").add(((Quantizer.Companded) q).bend()));
        } else {
            floats(node, "negative_scales", groups, q -> ((Quantizer.GeluTwin) q).negativeScale());
            floats(node, "positive_scales", groups, q -> ((Quantizer.GeluTwin) q).positiveScale());
        }
        return node;
    }

    /** Reads the field of an object. */
    static List<Quantizer> read(Fields parent, String name, Set<String> kinds) {
        Fields fields = parent.object(name);
        String kind = fields.word("kind", kinds);
        List<Quantizer> groups = new ArrayList<>();
        if (!kind.equals(NONE)) {
            int bits = fields.integer("bits", BitWidths.MIN, BitWidths.MAX);
            int count = fields.integer("groups", 1, MOST_GROUPS);
            groups.addAll(switch (kind) {
                case UNIFORM -> each(fields.positives("scales", count), scale -> new Quantizer.Uniform(scale, bits));
                case SOFTMAX_TWIN -> softmaxTwins(fields, count, bits);
                case AFFINE -> affines(fields, count, bits);
                case LOGARITHMIC -> logarithmics(fields, count, bits);
                case COMPANDED -> compandeds(fields, count, bits);
                default -> geluTwins(fields, count, bits);
            });
        }
        fields.done();
        return groups;
    }

    private static List<Quantizer> each(float[] numbers, Function<Float, Quantizer> quantizer) {
        return IntStream.range(0, numbers.length).mapToObj(i -> quantizer.apply(numbers[i])).toList();
    }

    private static List<Quantizer> softmaxTwins(Fields fields, int count, int bits) {
        TwinRule rule = fields.constant("rule", TwinRule.class);
        int[] exponents = fields.integers("exponents", count, 0, Quantizer.SoftmaxTwin.THRESHOLDS - 1);
        float[] thresholds = fields.positives("thresholds", count);
        List<Quantizer> groups = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            Quantizer.SoftmaxTwin twin = new Quantizer.SoftmaxTwin(exponents[i], bits, rule);
            if (thresholds[i] != twin.threshold()) {
                throw fields.wrong("thresholds[" + i + "]", twin.threshold() + " for exponent " + exponents[i], thresholds[i]);
            }
            groups.add(twin);
        }
        return groups;
    }

    private static List<Quantizer> affines(Fields fields, int count, int bits) {
        float[] scales = fields.positives("scales", count);
        int smallest = Math.max(0, (1 << bits) - 1 - Byte.MAX_VALUE);
        int largest = Math.min(-Byte.MIN_VALUE, (1 << bits) - 1);
        int[] zeroPoints = fields.integers("zero_points", count, smallest, largest);
        return IntStream.range(0, count).<Quantizer>mapToObj(i -> new Quantizer.Affine(scales[i], zeroPoints[i], bits)).toList();
    }

    private static List<Quantizer> logarithmics(Fields fields, int count, int bits) {
        float[] tops = fields.positives("tops", count);
        int[] ratios = fields.integers("ratios", count, 1, Quantizer.Logarithmic.MOST_RATIO);
        return IntStream.range(0, count).<Quantizer>mapToObj(i -> new Quantizer.Logarithmic(tops[i], ratios[i], bits)).toList();
    }

    private static List<Quantizer> compandeds(Fields fields, int count, int bits) {
        if (bits > Quantizer.Companded.MOST_BITS) {
            throw fields.wrong("bits", "at most " + Quantizer.Companded.MOST_BITS + " of companded levels", bits);
        }
        float[] tops = fields.positives("tops", count);
        int[] bends = fields.integers("bends", count, 1, Quantizer.Companded.MOST_BEND);
        return IntStream.range(0, count).<Quantizer>mapToObj(i -> new Quantizer.Companded(tops[i], bends[i], bits)).toList();
    }

    private static List<Quantizer> geluTwins(Fields fields, int count, int bits) {
        float[] negative = fields.positives("negative_scales", count);
        float[] positive = fields.positives("positive_scales", count);
        return IntStream.range(0, count).<Quantizer>mapToObj(i -> new Quantizer.GeluTwin(negative[i], positive[i], bits)).toList();
    }

    private static String kind(Quantizer quantizer) {
        return quantizer instanceof Quantizer.Uniform ? UNIFORM : quantizer instanceof Quantizer.SoftmaxTwin ? SOFTMAX_TWIN
                : quantizer instanceof Quantizer.Affine ? AFFINE : quantizer instanceof Quantizer.Logarithmic ? LOGARITHMIC
                : quantizer instanceof Quantizer.Companded ? COMPANDED : GELU_TWIN;
    }

    /** Whether a reader of version 2 of the format knows these. */
    static boolean isOfVersion2(List<Quantizer> groups) {
        return groups.stream().noneMatch(q -> q instanceof Quantizer.Affine || q instanceof Quantizer.Logarithmic
                || q instanceof Quantizer.Companded);
    }

    /** The input transform of a layer. */
    static ObjectNode write(InputTransform transform) {
        ObjectNode node = JsonNodeFactory.instance.objectNode().put("shift", transform.shift()).put("hadamard", transform.hadamard())
                .put("prefix_tokens", transform.prefixTokens()).put("rows", transform.rows().name().toLowerCase(Locale.ROOT))
                .put("columns", transform.columns().name().toLowerCase(Locale.ROOT));
        for (float factor : transform.factors()) {
            node.withArray("factors").add(factor);
        }
        return node;
    }

    /** Reads the field of an object. */
    static InputTransform readTransform(Fields parent, String name) {
        Fields fields = parent.object(name);
        float[] factors = fields.has("factors") ? fields.positives("factors", fields.size("factors")) : new float[0];
        int hadamard = fields.integer("hadamard", 1, MOST_HADAMARD);
        if (Integer.bitCount(hadamard) != 1) {
            throw fields.wrong("hadamard", "a power of two", hadamard);
        }
        InputTransform transform = new InputTransform(fields.number("shift"), factors, hadamard,
                fields.integer("prefix_tokens", 0, MOST_GROUPS), fields.constant("rows", RowScale.class),
                fields.constant("columns", RowScale.class));
        fields.done();
        return transform;
    }

    private static void floats(ObjectNode node, String name, List<Quantizer> groups, ToDoubleFunction<Quantizer> number) {
        groups.forEach(q -> node.withArray(name).add((float) number.applyAsDouble(q)));
    }
}
