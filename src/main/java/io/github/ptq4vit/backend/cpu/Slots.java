package io.github.ptq4vit.backend.cpu;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.dnnl.dnnl_memory_desc;

/** The arguments of a primitive under construction: their numbers and descriptors, in calling order. */
final class Slots {
    private final Handles handles;
    private final List<Integer> numbers = new ArrayList<>();
    private final List<dnnl_memory_desc> layouts = new ArrayList<>();

    /** @param handles owner of what the construction needs for a while */
    Slots(Handles handles) {
        this.handles = handles;
    }

    Handles handles() {
        return handles;
    }

    /** Appends an argument and returns its descriptor. */
    dnnl_memory_desc add(int number, dnnl_memory_desc layout) {
        numbers.add(number);
        layouts.add(layout);
        return layout;
    }

    int[] numbers() {
        return numbers.stream().mapToInt(Integer::intValue).toArray();
    }

    dnnl_memory_desc[] layouts() {
        return layouts.toArray(new dnnl_memory_desc[0]);
    }
}
