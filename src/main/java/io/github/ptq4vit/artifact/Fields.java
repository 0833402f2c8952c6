package io.github.ptq4vit.artifact;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.stream.IntStream;

/**
 * An object in a manifest, read field by field. A field that is missing, of another type or out of range, and at
 * {@link #done} one that nobody asked for, is an {@link ArtifactException} that names the file, the layer, the field, what
 * is expected and what was found.
 */
final class Fields {
    private static final Pattern SHA_256 = Pattern.compile("[0-9a-f]{64}");
    private static final int SHOWN = 80;
    /** Decimal exponents beyond this are no numbers of ours, and expensive to calculate with. */
    private static final int LARGEST_EXPONENT = 400;

    private final Path file;
    private final String place;
    private final String prefix;
    private final JsonNode node;
    private final Set<String> asked = new HashSet<>();

    private Fields(Path file, String place, String prefix, JsonNode node) {
        this.file = file;
        this.place = place;
        this.prefix = prefix;
        this.node = node;
    }

    /** The object at the top of a file. */
    static Fields of(Path file, JsonNode root) {
        Fields fields = new Fields(file, "", "", root);
        if (!root.isObject()) {
            throw fields.wrong("", "an object", root);
        }
        return fields;
    }

    /** The same fields, said to be of a layer. */
    Fields ofLayer(String name) {
        Fields fields = new Fields(file, "layer " + shortened(name) + ", ", "", node);
        fields.asked.addAll(asked);
        return fields;
    }

    Path file() {
        return file;
    }

    /** Whether there is such a field; asking is enough for {@link #done}. */
    boolean has(String name) {
        asked.add(name);
        return node.has(name);
    }

    Fields object(String name) {
        JsonNode value = value(name, "an object", JsonNode::isObject);
        return new Fields(file, place, prefix + name + ".", value);
    }

    List<Fields> objects(String name) {
        List<Fields> all = new ArrayList<>();
        List<JsonNode> elements = elements(name);
        for (int i = 0; i < elements.size(); i++) {
            Fields element = new Fields(file, place, prefix + name + "[" + i + "].", elements.get(i));
            if (!elements.get(i).isObject()) {
                throw wrong(name + "[" + i + "]", "an object", elements.get(i));
            }
            all.add(element);
        }
        return all;
    }

    String text(String name) {
        return value(name, "text", JsonNode::isTextual).textValue();
    }

    /** One of some words. */
    String word(String name, Set<String> words) {
        String text = text(name);
        if (!words.contains(text)) {
            throw wrong(name, "one of " + String.join(", ", new TreeSet<>(words)), node.get(name));
        }
        return text;
    }

    /** A constant of an enum, in small letters. */
    <E extends Enum<E>> E constant(String name, Class<E> type) {
        Map<String, E> words = new LinkedHashMap<>();
        for (E constant : type.getEnumConstants()) {
            words.put(constant.name().toLowerCase(Locale.ROOT), constant);
        }
        return words.get(word(name, words.keySet()));
    }

    /** SHA-256 in hexadecimal. */
    String hash(String name) {
        return value(name, "64 hexadecimal digits", n -> n.isTextual() && SHA_256.matcher(n.textValue()).matches()).textValue();
    }

    boolean truth(String name) {
        return value(name, "true or false", JsonNode::isBoolean).booleanValue();
    }

    int integer(String name, int min, int max) {
        return value(name, wholeNumber(min, max), n -> isInteger(n, min, max)).intValue();
    }

    long whole(String name) {
        return value(name, "a whole number of 64 bits", n -> n.isIntegralNumber() && n.canConvertToLong()).longValue();
    }

    /** A finite float32. */
    float number(String name) {
        return toFloat(value(name, "a finite number of 32 bits", n -> n.isNumber() && Float.isFinite(toFloat(n))));
    }

    /** A positive finite float32. */
    float positive(String name) {
        return toFloat(value(name, "a positive finite number of 32 bits", Fields::isPositive));
    }

    /** As many positive finite float32. */
    float[] positives(String name, int count) {
        return floats(name, count, "a positive finite number of 32 bits", Fields::isPositive);
    }

    /** As many finite float32. */
    float[] numbers(String name, int count) {
        return floats(name, count, "a finite number of 32 bits", n -> n.isNumber() && Float.isFinite(toFloat(n)));
    }

    private float[] floats(String name, int count, String expected, Predicate<JsonNode> fits) {
        List<JsonNode> elements = elements(name, count);
        float[] numbers = new float[count];
        for (int i = 0; i < count; i++) {
            numbers[i] = toFloat(require(name + "[" + i + "]", elements.get(i), expected, fits));
        }
        return numbers;
    }

    /** A finite float64, or NaN for null. */
    double decimal(String name) {
        return toDouble(value(name, "a finite number or null", Fields::isDecimal));
    }

    /** As many finite float64, or NaN for null. */
    double[] decimals(String name, int count) {
        List<JsonNode> elements = elements(name, count);
        return IntStream.range(0, count).mapToDouble(i -> toDouble(require(name + "[" + i + "]", elements.get(i),
                "a finite number or null", Fields::isDecimal))).toArray();
    }

    /** As many whole numbers. */
    int[] integers(String name, int count, int min, int max) {
        List<JsonNode> elements = elements(name, count);
        int[] numbers = new int[count];
        for (int i = 0; i < count; i++) {
            numbers[i] = require(name + "[" + i + "]", elements.get(i), wholeNumber(min, max),
                    n -> isInteger(n, min, max)).intValue();
        }
        return numbers;
    }

    /** Number of elements of a list. */
    int size(String name) {
        return elements(name).size();
    }

    List<String> texts(String name) {
        List<JsonNode> elements = elements(name);
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < elements.size(); i++) {
            texts.add(require(name + "[" + i + "]", elements.get(i), "text", JsonNode::isTextual).textValue());
        }
        return texts;
    }

    /** Names of the fields of an object whose names are not given. */
    List<String> names() {
        return node.properties().stream().map(Map.Entry::getKey).toList();
    }

    /** Text, number or truth value. */
    Object plain(String name) {
        JsonNode value = value(name, "text, a number, true or false", n -> n.isTextual() || n.isBoolean() || n.isNumber()
                && Math.abs((long) n.decimalValue().precision() - n.decimalValue().scale()) <= LARGEST_EXPONENT);
        return value.isBoolean() ? (Object) value.booleanValue() : value.isNumber() ? value.numberValue() : value.textValue();
    }

    /** Throws if there are fields that nobody asked for. */
    void done() {
        for (Map.Entry<String, JsonNode> field : node.properties()) {
            if (!asked.contains(field.getKey())) {
                throw wrong(field.getKey(), "no such field", field.getValue());
            }
        }
    }

    /** What to throw if a field has another value than it should. */
    ArtifactException wrong(String name, String expected, Object found) {
        String field = prefix + name;
        String shown = found instanceof JsonNode json && json.isMissingNode() ? "nothing" : shortened(String.valueOf(found));
        return new ArtifactException(file + ": is damaged: " + place + (field.isEmpty() ? "" : "field " + shortened(field) + ": ")
                + "expected is " + expected + ", found is " + shown);
    }

    private JsonNode value(String name, String expected, Predicate<JsonNode> fits) {
        asked.add(name);
        return require(name, node.path(name), expected, fits);
    }

    private JsonNode require(String name, JsonNode value, String expected, Predicate<JsonNode> fits) {
        if (!fits.test(value)) {
            throw wrong(name, expected, value);
        }
        return value;
    }

    private List<JsonNode> elements(String name) {
        List<JsonNode> elements = new ArrayList<>();
        value(name, "a list", JsonNode::isArray).forEach(elements::add);
        return elements;
    }

    private List<JsonNode> elements(String name, int count) {
        List<JsonNode> elements = elements(name);
        if (elements.size() != count) {
            throw wrong(name, "a list of " + count, "a list of " + elements.size());
        }
        return elements;
    }

    private static String wholeNumber(int min, int max) {
        return min == max ? String.valueOf(min) : "a whole number from " + min + " to " + max;
    }

    private static boolean isInteger(JsonNode node, int min, int max) {
        return node.isIntegralNumber() && node.canConvertToInt() && node.intValue() >= min && node.intValue() <= max;
    }

    private static boolean isPositive(JsonNode node) {
        return node.isNumber() && toFloat(node) > 0 && Float.isFinite(toFloat(node));
    }

    private static boolean isDecimal(JsonNode node) {
        return node.isNull() || node.isNumber() && Double.isFinite(toDouble(node));
    }

    private static double toDouble(JsonNode node) {
        return node.isNull() ? Double.NaN : Double.parseDouble(node.asText());
    }

    /** From the text: by way of a double it could be rounded twice. */
    private static float toFloat(JsonNode node) {
        return Float.parseFloat(node.asText());
    }

    private static String shortened(String text) {
        return text.length() <= SHOWN ? text : text.substring(0, SHOWN) + "...";
    }
}
