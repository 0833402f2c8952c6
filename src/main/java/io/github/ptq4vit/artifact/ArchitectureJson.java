package io.github.ptq4vit.artifact;

import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.model.Activation;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.SwinConfig;
import io.github.ptq4vit.model.VitConfig;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.RecordComponent;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;

/** An architecture as JSON: the components of its record, under snake_case names, and which record it is. */
final class ArchitectureJson {
    private static final String FAMILY = "family";
    private static final Map<String, Class<? extends Architecture>> FAMILIES = Map.of("vit", VitConfig.class, "swin", SwinConfig.class);
    private static final JsonMapper JSON = JsonMapper.builder().propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE).build();
    /** Bounds that no real network comes near; products of two of these numbers fit an int, or nearly. */
    private static final int MOST = 1 << 15;
    private static final int MOST_BLOCKS = 1000;
    private static final int MOST_STAGES = 8;
    /** Components of which there may be none. */
    private static final Set<String> MAY_BE_ZERO = Set.of("registers", "representation");
    /** Components that are written only if they are something else: older programs do not know them. */
    private static final Map<String, String> USUAL = Map.of("activation", Activation.GELU.name());
    private static final PropertyNamingStrategies.SnakeCaseStrategy SNAKE_CASE = new PropertyNamingStrategies.SnakeCaseStrategy();

    private ArchitectureJson() {
    }

    static ObjectNode write(Architecture config) {
        ObjectNode node = JSON.createObjectNode().put(FAMILY, config instanceof SwinConfig ? "swin" : "vit");
        node.setAll(JSON.<ObjectNode>valueToTree(config));
        USUAL.forEach((name, usual) -> {
            if (node.path(name).asText().equals(usual)) {
                node.remove(name);
            }
        });
        // as float32, whose shortest decimal it is, not as the double next to it
        return node.put("epsilon", config.epsilon());
    }

    /** Whether a reader of version 2 of the format knows it. */
    static boolean isOfVersion2(Architecture config) {
        return USUAL.keySet().stream().noneMatch(write(config)::has);
    }

    /** Reads the field of an object. */
    static Architecture read(Fields parent, String name) {
        Fields fields = parent.object(name);
        try {
            Architecture config = record(FAMILIES.get(fields.word(FAMILY, FAMILIES.keySet())), fields);
            // sizes that do not fit together show here, not in the middle of a calculation
            config.tensors().values().forEach(shape -> shape.elements());
            return config;
        } catch (IllegalArgumentException | ArithmeticException e) {
            throw parent.wrong(name, "a network whose sizes fit together", e.getMessage());
        }
    }

    private static <R> R record(Class<R> type, Fields fields) {
        RecordComponent[] components = type.getRecordComponents();
        Object[] values = new Object[components.length];
        Class<?>[] types = new Class<?>[components.length];
        for (int i = 0; i < components.length; i++) {
            types[i] = components[i].getType();
            values[i] = component(SNAKE_CASE.translate(components[i].getName()), types[i], fields);
        }
        fields.done();
        try {
            return type.getDeclaredConstructor(types).newInstance(values);
        } catch (InvocationTargetException e) {
            if (e.getCause() instanceof RuntimeException cause) {
                throw cause;
            }
            throw new IllegalStateException("Records can be made", e);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException("Records can be made", e);
        }
    }

    private static Object component(String name, Class<?> type, Fields fields) {
        if (type == String.class) {
            return fields.text(name);
        } else if (type == int.class) {
            return fields.integer(name, MAY_BE_ZERO.contains(name) ? 0 : 1, name.equals("depth") ? MOST_BLOCKS : MOST);
        } else if (type == boolean.class) {
            return fields.truth(name);
        } else if (type == float.class) {
            return fields.positive(name);
        } else if (type.isEnum()) {
            Map<String, Object> constants = new LinkedHashMap<>();
            for (Object constant : type.getEnumConstants()) {
                constants.put(((Enum<?>) constant).name(), constant);
            }
            return constants.get(USUAL.containsKey(name) && !fields.has(name) ? USUAL.get(name) : fields.word(name, constants.keySet()));
        } else if (type.isRecord()) {
            return record(type, fields.object(name));
        }
        // the only lists are those of the stages of a Swin
        int stages = fields.size(name);
        if (stages < 1 || stages > MOST_STAGES) {
            throw fields.wrong(name, "a list of 1 to " + MOST_STAGES, "a list of " + stages);
        }
        return IntStream.of(fields.integers(name, stages, 1, MOST_BLOCKS)).boxed().toList();
    }
}
