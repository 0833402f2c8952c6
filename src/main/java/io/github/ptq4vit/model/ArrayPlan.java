package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * Which arrays of a unit take the same memory one after the other: an array that of an equally large one which no stage reads any
 * more. An image then has the same place in both, and images may be computed side by side.
 */
final class ArrayPlan {
    private final String input;
    private final String output;
    private final Map<String, Value> values = new HashMap<>();
    /** Which piece of memory each array takes but for input and output. */
    private final Map<String, Integer> places = new HashMap<>();
    /** How many numbers of an image each piece of memory holds. */
    private final List<Integer> memory = new ArrayList<>();

    /** @param kept whether {@link Stage#kept} is not written over */
    ArrayPlan(List<Stage> stages, boolean kept) {
        this.input = stages.get(0).input().array();
        this.output = stages.get(stages.size() - 1).output().array();
        Map<String, Integer> lastRead = new HashMap<>();
        IntStream.range(0, stages.size()).forEach(i -> stages.get(i).inputs().forEach(value -> lastRead.put(value.array(), i)));
        if (kept) {
            stages.forEach(stage -> stage.kept().forEach(value -> lastRead.put(value.array(), stages.size())));
        }
        Deque<Integer> free = new ArrayDeque<>();
        for (int i = 0; i < stages.size() - 1; i++) {
            Stage stage = stages.get(i);
            Set<Integer> ending = new LinkedHashSet<>();
            for (Value value : stage.inputs()) {
                if (lastRead.get(value.array()) == i && places.containsKey(value.array())) {
                    ending.add(places.get(value.array()));
                }
            }
            int own = places.getOrDefault(stage.input().array(), -1);
            if (stage instanceof Stage.InPlace && stage.input().heads().isEmpty() && ending.remove(own)) {
                free.push(own);
            }
            Value written = stage.output();
            values.put(written.array(), written);
            places.put(written.array(), take(Math.toIntExact(written.sizes().elements()), free));
            // what was used last is in the cache, and is taken first
            ending.forEach(free::push);
        }
    }

    private int take(int elements, Deque<Integer> free) {
        for (int place : free) {
            if (memory.get(place) == elements) {
                free.remove(place);
                return place;
            }
        }
        memory.add(elements);
        return memory.size() - 1;
    }

    /** All arrays of some images: the input and the output as given, the others in memory of the scope. */
    Values allocate(Scope scope, View first, View last) {
        int images = first.size(0);
        List<View> pieces = memory.stream().map(elements -> scope.floats(images, elements)).toList();
        Map<String, View> arrays = new HashMap<>(Map.of(input, first, output, last));
        values.forEach((name, value) -> arrays.put(name, pieces.get(places.get(name)).reshape(value.arraySizes(images))));
        return new Values(arrays);
    }
}
