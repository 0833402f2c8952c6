package io.github.ptq4vit.tensor;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * An object of a pickle that is not read: only the name of its class, and what the pickle puts into it. Nothing of the class
 * is looked for, built or executed.
 */
final class PickleObject {
    private final String type;
    private final Map<Object, Object> entries = new LinkedHashMap<>(0);
    private Object state;

    /** @param type the name of the class or function, for messages */
    PickleObject(String type) {
        this.type = type;
    }

    String type() {
        return type;
    }

    /** Entries, if the class is a dictionary. */
    Map<Object, Object> entries() {
        return entries;
    }

    /** Attributes, if the pickle has any: usually a dictionary. */
    Object state() {
        return state;
    }

    void state(Object attributes) {
        state = attributes;
    }
}
