package io.github.ptq4vit.tensor;

import io.github.ptq4vit.tensor.TorchPickle.Window;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * All tensors of what was saved, by their way through its dictionaries, with dots between: {@code cls_token} of a state_dict,
 * {@code state_dict_ema.cls_token} of a checkpoint. Of a module that was saved as a whole, its parameters and buffers under the
 * names that its state_dict() gives them.
 */
final class NestedTensors {
    private static final int DEEPEST = 32;
    /** Lists are of numbers, but for those of a few dictionaries or tensors. */
    private static final int LONGEST_LIST = 64;
    private static final int LISTED = 6;

    private final Map<String, Window> tensors = new LinkedHashMap<>();
    /** What was walked through: what is shared counts once, and circles end. */
    private final Set<Object> walked = Collections.newSetFromMap(new IdentityHashMap<>());

    private NestedTensors() {
    }

    /** @throws TensorFileException if there are none */
    static Map<String, Window> of(Path path, Object root) {
        NestedTensors nested = new NestedTensors();
        nested.walk("", root, 0);
        if (nested.tensors.isEmpty()) {
            throw new TensorFileException(path + ": holds no tensors but " + described(root)
                    + "; expected is a model's state_dict() or a checkpoint with one");
        }
        return nested.tensors;
    }

    private void walk(String name, Object value, int depth) {
        if (value instanceof Window window) {
            tensors.putIfAbsent(name, window);
            return;
        }
        boolean container = value instanceof Map || value instanceof List<?> list && list.size() <= LONGEST_LIST
                || value instanceof PickleObject;
        if (!container || depth > DEEPEST || !walked.add(value)) {
            return;
        }
        if (value instanceof Map<?, ?> map) {
            map.forEach((key, inner) -> walk(below(name, key), inner, depth + 1));
        } else if (value instanceof List<?> list) {
            for (int i = 0; i < list.size(); i++) {
                walk(below(name, i), list.get(i), depth + 1);
            }
        } else if (value instanceof PickleObject object) {
            object.entries().forEach((key, inner) -> walk(below(name, key), inner, depth + 1));
            if (object.state() instanceof Map<?, ?> attributes) {
                for (String kind : List.of("_parameters", "_buffers", "_modules")) {
                    walk(name, attributes.get(kind), depth + 1);
                }
            }
        }
    }

    private static String below(String name, Object key) {
        return name.isEmpty() ? key.toString() : name + "." + key;
    }

    private static String described(Object root) {
        if (root instanceof Map<?, ?> map) {
            return map.isEmpty() ? "an empty dictionary" : "a dictionary of " + listed(map);
        }
        if (root instanceof PickleObject object) {
            return "an object of " + Printable.of(object.type());
        }
        if (root instanceof PickleReader.Global global) {
            return "a reference to " + Printable.of(global.name());
        }
        return root == null ? "nothing" : root instanceof List ? "a list" : root instanceof String ? "a text" : "a number";
    }

    private static String listed(Map<?, ?> map) {
        List<String> names = new ArrayList<>();
        map.keySet().stream().limit(LISTED).forEach(key -> names.add(Printable.of(key.toString())));
        return String.join(", ", names) + (map.size() > LISTED ? " and " + (map.size() - LISTED) + " more" : "");
    }
}
