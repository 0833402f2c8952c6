package io.github.ptq4vit.image;

import com.fasterxml.jackson.databind.JsonNode;
import io.github.ptq4vit.image.ImageTransform.Channels;
import io.github.ptq4vit.tensor.Printable;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;

/**
 * The values of a recorded image transform: as JSON, or as texts in the metadata of safetensors. Null, and texts for it, count
 * as absent. Everything that is wrong is told by the name of the setting.
 */
final class TransformValues {
    private static final Set<String> ABSENT = Set.of("", "null", "None");
    private static final int RGB = 3;

    private final JsonNode root;

    TransformValues(JsonNode root) {
        this.root = root;
    }

    boolean has(String name) {
        JsonNode node = root.path(name);
        return !node.isMissingNode() && !node.isNull() && !(node.isTextual() && ABSENT.contains(node.textValue().strip()));
    }

    /** All names, those of absent values too. */
    List<String> names() {
        List<String> names = new ArrayList<>();
        root.fieldNames().forEachRemaining(names::add);
        return names;
    }

    JsonNode get(String name) {
        return root.path(name);
    }

    String text(String name, String otherwise) {
        return has(name) ? root.get(name).asText().strip() : otherwise;
    }

    /** True or false, also as numbers or texts. */
    boolean flag(String name, boolean otherwise) {
        if (!has(name)) {
            return otherwise;
        }
        return switch (root.get(name).asText().strip().toLowerCase(Locale.ROOT)) {
            case "true", "1" -> true;
            case "false", "0" -> false;
            default -> throw wrong(name, "true or false");
        };
    }

    double number(String name, double otherwise) {
        if (!has(name)) {
            return otherwise;
        }
        try {
            double number = Double.parseDouble(root.get(name).asText().strip());
            if (Double.isFinite(number)) {
                return number;
            }
        } catch (NumberFormatException e) {
            // told below, with what is not finite
        }
        throw wrong(name, "a number");
    }

    /** A share of a side, above 0 and up to 1. */
    double share(String name, double otherwise) {
        double share = number(name, otherwise);
        if (!(share > 0) || share > 1) {
            throw wrong(name, "a number above 0 and up to 1");
        }
        return share;
    }

    /** Three numbers, or one for all. */
    Channels channels(String name, Channels otherwise) {
        if (!has(name)) {
            return otherwise;
        }
        List<Double> numbers = numbers(name);
        if (numbers.size() != RGB && (numbers.size() != 1 || root.get(name).isArray())) {
            throw wrong(name, "three numbers");
        }
        return new Channels(numbers.get(0).floatValue(), numbers.get(numbers.size() / 2).floatValue(),
                numbers.get(numbers.size() - 1).floatValue());
    }

    /** The side of a square: one number, or a list that ends in two equal ones. */
    int square(String name, int otherwise) {
        if (!has(name)) {
            return otherwise;
        }
        List<Double> sides = numbers(name);
        double side = sides.isEmpty() ? 0 : sides.get(sides.size() - 1);
        if (sides.size() > RGB || side != Math.rint(side) || side < 1 || side > Integer.MAX_VALUE) {
            throw wrong(name, "one number, or the two sides of a square");
        }
        if (sides.size() > 1 && sides.get(sides.size() - 2) != side) {
            throw wrong(name, "a square");
        }
        return (int) side;
    }

    private List<Double> numbers(String name) {
        JsonNode node = root.get(name);
        List<Double> numbers = new ArrayList<>();
        try {
            if (node.isArray()) {
                node.forEach(one -> numbers.add(Double.parseDouble(one.asText())));
            } else {
                for (String one : node.asText().replaceAll("[\\[\\]()]", " ").strip().split("[,:\\s]+")) {
                    numbers.add(Double.parseDouble(one));
                }
            }
        } catch (NumberFormatException e) {
            throw wrong(name, "numbers");
        }
        return numbers;
    }

    IllegalArgumentException wrong(String name, String expected) {
        return new IllegalArgumentException(name + " is " + (has(name) ? Printable.of(root.get(name).toString()) : "missing")
                + ", expected is " + expected);
    }
}
