package io.github.ptq4vit.model;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
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
            String activation = root.path("hidden_act").asText("gelu");
            if (!activation.equals("gelu")) {
                throw new ModelException(config + ": the model's activation is " + activation + ", only gelu is supported");
            }
            JsonNode input = root.path("pretrained_cfg").path("input_size");
            if (input.isArray() && input.size() == 3) {
                facts.put("image_size", input.get(2).asText());
            }
        }
        NUMBERS.stream().filter(file.metadata()::containsKey).forEach(name -> facts.put(name, file.metadata().get(name)));
        return new ModelFacts(file.path(), facts);
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
            return Optional.ofNullable(facts.get(name)).map(text -> Float.parseFloat(text.strip()));
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
