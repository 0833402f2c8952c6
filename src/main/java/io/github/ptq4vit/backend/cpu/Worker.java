package io.github.ptq4vit.backend.cpu;

import static org.bytedeco.dnnl.global.dnnl.dnnl_binary_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_eltwise_backward_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_eltwise_forward_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_layer_normalization_backward_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_layer_normalization_forward_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_matmul_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_memory_desc_clone;
import static org.bytedeco.dnnl.global.dnnl.dnnl_memory_desc_get_size;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_desc_query_md;
import static org.bytedeco.dnnl.global.dnnl.dnnl_reorder_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_softmax_backward_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_softmax_forward_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_stream_create;

import java.util.HashMap;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.ToIntFunction;
import org.bytedeco.dnnl.dnnl_engine;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.dnnl_primitive_attr;
import org.bytedeco.dnnl.dnnl_primitive_desc;
import org.bytedeco.dnnl.dnnl_stream;
import org.bytedeco.dnnl.global.dnnl;

/**
 * A single-threaded stream of oneDNN and the primitives compiled for it so far, by what they compute, for one thread at a time:
 * {@link Workers} lends them. oneDNN shares the generated code between workers; a primitive's arguments and scratch memory
 * are the worker's own, and go with it.
 */
final class Worker implements AutoCloseable {
    private final Workers workers;
    private final dnnl_engine engine = OneDnn.engine();
    private final Handles owned = new Handles();
    private final dnnl_stream stream = new dnnl_stream();
    private final Map<Object, Object> compiled = new HashMap<>();
    private final Map<String, Scratch> scratch = new HashMap<>();
    private final Scratch scalar = new Scratch().atLeast(Float.BYTES);

    Worker(Workers workers) {
        this.workers = workers;
        OneDnn.check(dnnl_stream_create(stream, engine, dnnl.dnnl_stream_default_flags), "stream");
        owned.own(stream, dnnl::dnnl_stream_destroy);
    }

    dnnl_stream stream() {
        return stream;
    }

    /** Throws if the backend was closed. */
    void requireOpen() {
        workers.requireOpen();
    }

    /** Destroys everything that was made for it. */
    @Override
    public void close() {
        owned.close();
        scratch.values().forEach(Scratch::close);
        scalar.close();
        compiled.clear();
        scratch.clear();
    }

    /** A product {@code destination = source x weights (+ bias)}. */
    record Product(Layout source, Layout weights, boolean bias, Layout destination, Epilogue epilogue) {
    }

    private record Binary(int kind, Layout a, Layout b, Layout result, Epilogue epilogue) {
    }

    private record Eltwise(int kind, boolean backward, long elements, float alpha, float beta) {
    }

    private record Norm(boolean backward, long rows, long columns, float epsilon) {
    }

    private record Softmax(boolean backward, long rows, long columns) {
    }

    private record Reorder(Object from, Object to) {
    }

    /** A compiled product and the layout that oneDNN chose for packed weights. */
    record Compiled(Primitive primitive, dnnl_memory_desc weights, long weightBytes) {
    }

    /**
     * Arguments: source, weights, [bias,] destination, then what the epilogue needs: column scales, and the tensors of its
     * steps in order.
     */
    Compiled product(Product key) {
        return made(key, slots -> {
            Handles handles = slots.handles();
            dnnl_memory_desc source = slots.add(dnnl.DNNL_ARG_SRC, key.source.descriptor(handles));
            dnnl_memory_desc weights = slots.add(dnnl.DNNL_ARG_WEIGHTS, key.weights.descriptor(handles));
            dnnl_memory_desc bias = key.bias ? slots.add(dnnl.DNNL_ARG_BIAS, Epilogue.columns(handles, key.destination)) : null;
            dnnl_memory_desc destination = slots.add(dnnl.DNNL_ARG_DST, key.destination.descriptor(handles));
            dnnl_primitive_attr attributes = key.epilogue.compile(key.destination, slots);
            dnnl_primitive_desc description = description(handles, made -> dnnl_matmul_primitive_desc_create(made, engine, source,
                    weights, bias, destination, attributes), "product " + key);
            dnnl_memory_desc chosen = new dnnl_memory_desc();
            OneDnn.check(dnnl_memory_desc_clone(chosen, dnnl_primitive_desc_query_md(description, dnnl.dnnl_query_weights_md, 0)),
                    "layout of packed weights");
            owned.own(chosen, dnnl::dnnl_memory_desc_destroy);
            dnnl_memory_desc[] layouts = slots.layouts();
            layouts[1] = chosen;
            return new Compiled(new Primitive(this, owned, description, slots.numbers(), layouts), chosen,
                    dnnl_memory_desc_get_size(chosen));
        });
    }

    /** What was made for a key before, else what is made now with descriptors that are gone afterwards. */
    private <T> T made(Object key, Function<Slots, T> make) {
        return cached(key, () -> {
            try (Handles temporary = new Handles()) {
                return make.apply(new Slots(temporary));
            }
        });
    }

    private static dnnl_primitive_desc description(Handles handles, ToIntFunction<dnnl_primitive_desc> create, String what) {
        dnnl_primitive_desc description = new dnnl_primitive_desc();
        OneDnn.check(create.applyAsInt(description), what);
        return handles.own(description, dnnl::dnnl_primitive_desc_destroy);
    }

    /** Brings plain weights at {@code from} into the layout of a compiled product, at {@code to}. */
    void pack(Layout plain, Product product, long from, long to) {
        Layout rows = Layout.dense(plain.type(), plain.size(0), plain.size(1));
        long source = from;
        if (!plain.equals(rows)) {
            // transposing first and packing then is ten times faster than oneDNN's way to do both at once
            source = scratch("transposed weights", plain.elements() * (plain.type() == dnnl.dnnl_f32 ? Float.BYTES : 1));
            copy(plain, rows).run(from, source);
        }
        Layout matrix = product.weights().rank() > rows.rank() ? rows.batched() : rows;
        Primitive packing = made(new Reorder(matrix, product),
                slots -> reorder(slots, matrix.descriptor(slots.handles()), product(product).weights()));
        packing.run(source, to);
    }

    /** Copies between layouts of equal sizes. Arguments: from, to. */
    Primitive copy(Layout from, Layout to) {
        return made(new Reorder(from, to),
                slots -> reorder(slots, from.descriptor(slots.handles()), to.descriptor(slots.handles())));
    }

    private Primitive reorder(Slots slots, dnnl_memory_desc from, dnnl_memory_desc to) {
        slots.add(dnnl.DNNL_ARG_FROM, from);
        slots.add(dnnl.DNNL_ARG_TO, to);
        dnnl_primitive_attr attributes = OneDnn.attributes(slots.handles());
        return primitive(slots, made -> dnnl_reorder_primitive_desc_create(made, from, engine, to, engine, attributes), "copy");
    }

    private Primitive primitive(Slots slots, ToIntFunction<dnnl_primitive_desc> create, String what) {
        return new Primitive(this, owned, description(slots.handles(), create, what), slots.numbers(), slots.layouts());
    }

    /** Elementwise on two tensors, the second repeated along axes of size 1. Arguments: a, b, result, epilogue's. */
    Primitive binary(int kind, Layout a, Layout b, Layout result, Epilogue epilogue) {
        return made(new Binary(kind, a, b, result, epilogue), slots -> {
            dnnl_memory_desc first = slots.add(dnnl.DNNL_ARG_SRC_0, a.descriptor(slots.handles()));
            dnnl_memory_desc second = slots.add(dnnl.DNNL_ARG_SRC_1, b.descriptor(slots.handles()));
            dnnl_memory_desc destination = slots.add(dnnl.DNNL_ARG_DST, result.descriptor(slots.handles()));
            dnnl_primitive_attr attributes = epilogue.compile(result, slots);
            return primitive(slots, made -> dnnl_binary_primitive_desc_create(made, engine, kind, first, second, destination,
                    attributes), "elementwise operation");
        });
    }

    /** Elementwise on one dense tensor. Arguments: x, result; backward: x, dy, dx. */
    Primitive eltwise(int kind, boolean backward, long elements, float alpha, float beta) {
        return made(new Eltwise(kind, backward, elements, alpha, beta), slots -> {
            Handles handles = slots.handles();
            dnnl_memory_desc x = slots.add(dnnl.DNNL_ARG_SRC, OneDnn.dense(handles, dnnl.dnnl_f32, elements));
            dnnl_primitive_attr attributes = OneDnn.attributes(handles);
            int prop = backward ? dnnl.dnnl_forward_training : dnnl.dnnl_forward_inference;
            ToIntFunction<dnnl_primitive_desc> forward = made -> dnnl_eltwise_forward_primitive_desc_create(made, engine, prop,
                    kind, x, x, alpha, beta, attributes);
            if (!backward) {
                slots.add(dnnl.DNNL_ARG_DST, x);
                return primitive(slots, forward, "elementwise operation");
            }
            slots.add(dnnl.DNNL_ARG_DIFF_DST, x);
            slots.add(dnnl.DNNL_ARG_DIFF_SRC, x);
            dnnl_primitive_desc hint = description(handles, forward, "elementwise operation");
            return primitive(slots, made -> dnnl_eltwise_backward_primitive_desc_create(made, engine, kind, x, x, x, alpha, beta,
                    hint, attributes), "elementwise gradient");
        });
    }

    /** Arguments: x, mean, variance, gamma, beta, y; the moments are written. */
    Primitive layerNorm(long rows, long columns, float epsilon) {
        return made(new Norm(false, rows, columns, epsilon), slots -> {
            Handles handles = slots.handles();
            dnnl_memory_desc x = slots.add(dnnl.DNNL_ARG_SRC, OneDnn.dense(handles, dnnl.dnnl_f32, rows, columns));
            dnnl_memory_desc moments = slots.add(dnnl.DNNL_ARG_MEAN, OneDnn.dense(handles, dnnl.dnnl_f32, rows));
            slots.add(dnnl.DNNL_ARG_VARIANCE, moments);
            dnnl_memory_desc vector = slots.add(dnnl.DNNL_ARG_SCALE, OneDnn.dense(handles, dnnl.dnnl_f32, columns));
            slots.add(dnnl.DNNL_ARG_SHIFT, vector);
            slots.add(dnnl.DNNL_ARG_DST, x);
            return primitive(slots, normForward(handles, x, moments, epsilon, dnnl.dnnl_use_scale | dnnl.dnnl_use_shift),
                    "layer normalisation");
        });
    }

    /**
     * Gradient of the normalisation itself: oneDNN has none with respect to x alone that knows of gamma. Arguments: x,
     * mean, variance, gradient times gamma, dx.
     */
    Primitive layerNormBackward(long rows, long columns, float epsilon) {
        return made(new Norm(true, rows, columns, epsilon), slots -> {
            Handles handles = slots.handles();
            dnnl_memory_desc x = slots.add(dnnl.DNNL_ARG_SRC, OneDnn.dense(handles, dnnl.dnnl_f32, rows, columns));
            dnnl_memory_desc moments = slots.add(dnnl.DNNL_ARG_MEAN, OneDnn.dense(handles, dnnl.dnnl_f32, rows));
            slots.add(dnnl.DNNL_ARG_VARIANCE, moments);
            slots.add(dnnl.DNNL_ARG_DIFF_DST, x);
            slots.add(dnnl.DNNL_ARG_DIFF_SRC, x);
            dnnl_primitive_attr attributes = OneDnn.attributes(handles);
            dnnl_primitive_desc hint = description(handles,
                    normForward(handles, x, moments, epsilon, dnnl.dnnl_normalization_flags_none), "layer normalisation");
            return primitive(slots, made -> dnnl_layer_normalization_backward_primitive_desc_create(made, engine,
                    dnnl.dnnl_backward_data, x, x, x, moments, epsilon, dnnl.dnnl_normalization_flags_none, hint, attributes),
                    "layer normalisation gradient");
        });
    }

    private ToIntFunction<dnnl_primitive_desc> normForward(Handles handles, dnnl_memory_desc x, dnnl_memory_desc moments,
            float epsilon, int flags) {
        dnnl_primitive_attr attributes = OneDnn.attributes(handles);
        return made -> dnnl_layer_normalization_forward_primitive_desc_create(made, engine, dnnl.dnnl_forward_training, x, x,
                moments, epsilon, flags, attributes);
    }

    /** Arguments: x, y; backward: y, dy, dx. */
    Primitive softmax(boolean backward, long rows, long columns) {
        return made(new Softmax(backward, rows, columns), slots -> {
            Handles handles = slots.handles();
            dnnl_memory_desc x = OneDnn.dense(handles, dnnl.dnnl_f32, rows, columns);
            dnnl_primitive_attr attributes = OneDnn.attributes(handles);
            int prop = backward ? dnnl.dnnl_forward_training : dnnl.dnnl_forward_inference;
            ToIntFunction<dnnl_primitive_desc> forward = made -> dnnl_softmax_forward_primitive_desc_create(made, engine, prop,
                    dnnl.dnnl_softmax_accurate, x, x, 1, attributes);
            if (!backward) {
                slots.add(dnnl.DNNL_ARG_SRC, x);
                slots.add(dnnl.DNNL_ARG_DST, x);
                return primitive(slots, forward, "softmax");
            }
            slots.add(dnnl.DNNL_ARG_DST, x);
            slots.add(dnnl.DNNL_ARG_DIFF_DST, x);
            slots.add(dnnl.DNNL_ARG_DIFF_SRC, x);
            dnnl_primitive_desc hint = description(handles, forward, "softmax");
            return primitive(slots, made -> dnnl_softmax_backward_primitive_desc_create(made, engine, dnnl.dnnl_softmax_accurate,
                    x, x, x, 1, hint, attributes), "softmax gradient");
        });
    }

    /** Address of memory of this worker for the duration of one operation, by purpose; it grows as needed and stays. */
    long scratch(String purpose, long bytes) {
        return memory(purpose, bytes).address();
    }

    /** The same for numbers that Java reads or writes. */
    Scratch memory(String purpose, long bytes) {
        return scratch.computeIfAbsent(purpose, p -> new Scratch()).atLeast(bytes);
    }

    /** Address of one number, valid until the next call. */
    long scalar(float value) {
        scalar.floats().put(0, value);
        return scalar.address();
    }

    /** Whether scratch memory for a purpose exists, and so keeps what was written to it. */
    boolean hasScratch(String purpose) {
        return scratch.containsKey(purpose);
    }

    /** What was made for a key before, else what is made now. Keys of other types never meet. */
    @SuppressWarnings("unchecked")
    <T> T cached(Object key, Supplier<T> compile) {
        Object known = compiled.get(key);
        if (known == null) {
            known = compile.get();
            compiled.put(key, known);
        }
        return (T) known;
    }
}
