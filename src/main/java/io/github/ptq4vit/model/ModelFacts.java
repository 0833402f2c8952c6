package io.github.ptq4vit.model;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.github.ptq4vit.tensor.Printable;
import io.github.ptq4vit.tensor.TensorSource;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * What no tensor's shape tells: from the file's metadata, else from a {@code config.json} beside it, as timm and Hugging
 * Face write it.
 */
final class ModelFacts {
    private static final List<String> NUMBERS = List.of("num_heads", "num_attention_heads", "image_size", "layer_norm_eps");

    /** Texts for nothing. */
    private static final List<String> ABSENT = List.of("", "null", "None");

    private final Path path;
    private final Map<String, String> facts;

    private ModelFacts(Path path, Map<String, String> facts) {
        this.path = path;
        this.facts = facts;
    }

    static ModelFacts of(TensorSource file) {
        Map<String, String> facts = new LinkedHashMap<>();
        Path config = file.path().resolveSibling("config.json");
        if (Files.isRegularFile(config)) {
            JsonNode root = json(config);
            for (String name : NUMBERS) {
                if (root.path(name).isNumber()) {
                    facts.put(name, root.get(name).asText());
                }
            }
            // of timm's wrapper
            JsonNode arguments = root.path("model_args");
            if (arguments.path("num_heads").isNumber()) {
                facts.put("num_heads", arguments.get("num_heads").asText());
            }
            JsonNode input = root.path("pretrained_cfg").path("input_size");
            if (input.isArray() && input.size() == 3) {
                facts.put("image_size", input.get(2).asText());
            }
            if (arguments.path("img_size").isNumber()) {
                facts.put("image_size", arguments.get("img_size").asText());
            }
            checkActivation(config, root);
        }
        NUMBERS.stream().filter(file.metadata()::containsKey).forEach(name -> facts.put(name, file.metadata().get(name)));
        facts.values().removeIf(text -> ABSENT.contains(text.strip()));
        return new ModelFacts(file.path(), facts);
    }

    private static void checkActivation(Path config, JsonNode root) {
        String activation = root.path("hidden_act").isTextual() ? root.get("hidden_act").textValue() : "gelu";
        String architecture = root.path("architecture").asText("");
        if (architecture.contains("quickgelu")) {
            activation = "quick_gelu";
        }
        if (!activation.equals("gelu") && !activation.equals("gelu_python")) {
            throw new ModelException(config + ": the model's activation is " + Printable.of(activation)
                    + ", only the exact gelu is supported");
        }
    }

    OptionalInt heads() {
        OptionalInt heads = integer("num_heads");
        return heads.isPresent() ? heads : integer("num_attention_heads");
    }

    OptionalInt imageSize() {
        return integer("image_size");
    }

    Optional<Float> epsilon() {
        String name = "layer_norm_eps";
        try {
            Optional<Float> epsilon = Optional.ofNullable(facts.get(name)).map(text -> Float.parseFloat(text.strip()));
            if (epsilon.isPresent() && !(epsilon.get() > 0 && epsilon.get() < 1)) {
                throw new ModelException(path + ": its metadata or config.json has " + name + " " + Printable.of(facts.get(name))
                        + ", expected is a number above 0 and below 1");
            }
            return epsilon;
        } catch (NumberFormatException e) {
            throw notANumber(name, e);
        }
    }

    private OptionalInt integer(String name) {
        try {
            return facts.containsKey(name) ? OptionalInt.of(Integer.parseInt(facts.get(name).strip())) : OptionalInt.empty();
        } catch (NumberFormatException e) {
            throw notANumber(name, e);
        }
    }

    private ModelException notANumber(String name, NumberFormatException e) {
        return new ModelException(path + ": its metadata or config.json has " + name + " \"" + facts.get(name)
                + "\", expected is a number", e);
    }

    private static JsonNode json(Path config) {
        try {
            return new JsonMapper().readTree(Files.readAllBytes(config));
        } catch (JsonProcessingException e) {
            throw new ModelException(config + ": is not JSON; repair or remove it", e);
        } catch (IOException e) {
            throw new ModelException(config + ": cannot be read (" + e.getMessage() + ")", e);
        }
    }
}
