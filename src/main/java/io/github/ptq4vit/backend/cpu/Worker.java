package io.github.ptq4vit.backend.cpu;

import static org.bytedeco.dnnl.global.dnnl.dnnl_binary_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_eltwise_backward_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_eltwise_forward_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_layer_normalization_backward_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_layer_normalization_forward_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_matmul_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_memory_desc_get_size;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_desc_query_md;
import static org.bytedeco.dnnl.global.dnnl.dnnl_reorder_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_softmax_backward_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_softmax_forward_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_stream_create;

import java.util.HashMap;
import java.util.Map;
import java.util.function.Supplier;
import org.bytedeco.dnnl.dnnl_engine;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.dnnl_primitive_attr;
import org.bytedeco.dnnl.dnnl_primitive_desc;
import org.bytedeco.dnnl.dnnl_stream;
import org.bytedeco.dnnl.global.dnnl;

/**
 * One thread's oneDNN: a single-threaded stream and the primitives compiled for it so far, by what they compute. oneDNN
 * shares the generated code between workers; a primitive's arguments and scratch memory are the worker's own.
 */
final class Worker {
    private static final ThreadLocal<Worker> CURRENT = ThreadLocal.withInitial(Worker::new);

    private final dnnl_engine engine = OneDnn.engine();
    private final dnnl_stream stream = new dnnl_stream();
    private final Map<Object, Object> compiled = new HashMap<>();
    private final Map<String, Scratch> scratch = new HashMap<>();
    private final Scratch scalar = new Scratch().atLeast(Float.BYTES);

    private Worker() {
        OneDnn.useOneThread();
        OneDnn.check(dnnl_stream_create(stream, engine, dnnl.dnnl_stream_default_flags), "stream");
    }

    /** The calling thread's. */
    static Worker current() {
        return CURRENT.get();
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
        return cached(key, () -> {
            Slots slots = new Slots();
            dnnl_memory_desc source = slots.add(dnnl.DNNL_ARG_SRC, key.source.descriptor());
            dnnl_memory_desc weights = slots.add(dnnl.DNNL_ARG_WEIGHTS, key.weights.descriptor());
            dnnl_memory_desc bias = key.bias ? slots.add(dnnl.DNNL_ARG_BIAS, Epilogue.columns(key.destination)) : null;
            dnnl_memory_desc destination = slots.add(dnnl.DNNL_ARG_DST, key.destination.descriptor());
            dnnl_primitive_attr attributes = key.epilogue.compile(key.destination, slots);
            dnnl_primitive_desc description = new dnnl_primitive_desc();
            OneDnn.check(dnnl_matmul_primitive_desc_create(description, engine, source, weights, bias, destination,
                    attributes), "product " + key);
            dnnl_memory_desc chosen = new dnnl_memory_desc(
                    dnnl_primitive_desc_query_md(description, dnnl.dnnl_query_weights_md, 0));
            dnnl_memory_desc[] layouts = slots.layouts();
            layouts[1] = chosen;
            return new Compiled(new Primitive(stream, description, slots.numbers(), layouts), chosen,
                    dnnl_memory_desc_get_size(chosen));
        });
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
        Primitive packing = cached(new Reorder(rows, product), () -> reorder(rows.descriptor(), product(product).weights()));
        packing.run(source, to);
    }

    /** Copies between layouts of equal sizes. Arguments: from, to. */
    Primitive copy(Layout from, Layout to) {
        return cached(new Reorder(from, to), () -> reorder(from.descriptor(), to.descriptor()));
    }

    private Primitive reorder(dnnl_memory_desc from, dnnl_memory_desc to) {
        dnnl_primitive_desc description = new dnnl_primitive_desc();
        OneDnn.check(dnnl_reorder_primitive_desc_create(description, from, engine, to, engine, null), "copy");
        return new Primitive(stream, description, new int[] {dnnl.DNNL_ARG_FROM, dnnl.DNNL_ARG_TO},
                new dnnl_memory_desc[] {from, to});
    }

    /** Elementwise on two tensors, the second repeated along axes of size 1. Arguments: a, b, result, epilogue's. */
    Primitive binary(int kind, Layout a, Layout b, Layout result, Epilogue epilogue) {
        return cached(new Binary(kind, a, b, result, epilogue), () -> {
            Slots slots = new Slots();
            dnnl_memory_desc first = slots.add(dnnl.DNNL_ARG_SRC_0, a.descriptor());
            dnnl_memory_desc second = slots.add(dnnl.DNNL_ARG_SRC_1, b.descriptor());
            dnnl_memory_desc destination = slots.add(dnnl.DNNL_ARG_DST, result.descriptor());
            dnnl_primitive_attr attributes = epilogue.compile(result, slots);
            dnnl_primitive_desc description = new dnnl_primitive_desc();
            OneDnn.check(dnnl_binary_primitive_desc_create(description, engine, kind, first, second, destination,
                    attributes), "elementwise operation");
            return new Primitive(stream, description, slots.numbers(), slots.layouts());
        });
    }

    /** Elementwise on one dense tensor. Arguments: x, result; backward: x, dy, dx. */
    Primitive eltwise(int kind, boolean backward, long elements, float alpha, float beta) {
        return cached(new Eltwise(kind, backward, elements, alpha, beta), () -> {
            dnnl_memory_desc x = OneDnn.dense(dnnl.dnnl_f32, elements);
            dnnl_primitive_desc forward = new dnnl_primitive_desc();
            int prop = backward ? dnnl.dnnl_forward_training : dnnl.dnnl_forward_inference;
            OneDnn.check(dnnl_eltwise_forward_primitive_desc_create(forward, engine, prop, kind, x, x, alpha, beta, null),
                    "elementwise operation");
            if (!backward) {
                return new Primitive(stream, forward, new int[] {dnnl.DNNL_ARG_SRC, dnnl.DNNL_ARG_DST},
                        new dnnl_memory_desc[] {x, x});
            }
            dnnl_primitive_desc description = new dnnl_primitive_desc();
            OneDnn.check(dnnl_eltwise_backward_primitive_desc_create(description, engine, kind, x, x, x, alpha, beta,
                    forward, null), "elementwise gradient");
            return new Primitive(stream, description,
                    new int[] {dnnl.DNNL_ARG_SRC, dnnl.DNNL_ARG_DIFF_DST, dnnl.DNNL_ARG_DIFF_SRC},
                    new dnnl_memory_desc[] {x, x, x});
        });
    }

    /** Arguments: x, mean, variance, gamma, beta, y; the moments are written. */
    Primitive layerNorm(long rows, long columns, float epsilon) {
        return cached(new Norm(false, rows, columns, epsilon), () -> {
            dnnl_memory_desc x = OneDnn.dense(dnnl.dnnl_f32, rows, columns);
            dnnl_memory_desc moments = OneDnn.dense(dnnl.dnnl_f32, rows);
            dnnl_memory_desc vector = OneDnn.dense(dnnl.dnnl_f32, columns);
            return new Primitive(stream, normForward(x, moments, epsilon, dnnl.dnnl_use_scale | dnnl.dnnl_use_shift),
                    new int[] {dnnl.DNNL_ARG_SRC, dnnl.DNNL_ARG_MEAN, dnnl.DNNL_ARG_VARIANCE, dnnl.DNNL_ARG_SCALE,
                        dnnl.DNNL_ARG_SHIFT, dnnl.DNNL_ARG_DST},
                    new dnnl_memory_desc[] {x, moments, moments, vector, vector, x});
        });
    }

    /**
     * Gradient of the normalisation itself: oneDNN has none with respect to x alone that knows of gamma. Arguments: x,
     * mean, variance, gradient times gamma, dx.
     */
    Primitive layerNormBackward(long rows, long columns, float epsilon) {
        return cached(new Norm(true, rows, columns, epsilon), () -> {
            dnnl_memory_desc x = OneDnn.dense(dnnl.dnnl_f32, rows, columns);
            dnnl_memory_desc moments = OneDnn.dense(dnnl.dnnl_f32, rows);
            dnnl_primitive_desc description = new dnnl_primitive_desc();
            OneDnn.check(dnnl_layer_normalization_backward_primitive_desc_create(description, engine,
                    dnnl.dnnl_backward_data, x, x, x, moments, epsilon, dnnl.dnnl_normalization_flags_none,
                    normForward(x, moments, epsilon, dnnl.dnnl_normalization_flags_none), null),
                    "layer normalisation gradient");
            return new Primitive(stream, description,
                    new int[] {dnnl.DNNL_ARG_SRC, dnnl.DNNL_ARG_MEAN, dnnl.DNNL_ARG_VARIANCE, dnnl.DNNL_ARG_DIFF_DST,
                        dnnl.DNNL_ARG_DIFF_SRC},
                    new dnnl_memory_desc[] {x, moments, moments, x, x});
        });
    }

    private dnnl_primitive_desc normForward(dnnl_memory_desc x, dnnl_memory_desc moments, float epsilon, int flags) {
        dnnl_primitive_desc forward = new dnnl_primitive_desc();
        OneDnn.check(dnnl_layer_normalization_forward_primitive_desc_create(forward, engine,
                dnnl.dnnl_forward_training, x, x, moments, epsilon, flags, null),
                "layer normalisation");
        return forward;
    }

    /** Arguments: x, y; backward: y, dy, dx. */
    Primitive softmax(boolean backward, long rows, long columns) {
        return cached(new Softmax(backward, rows, columns), () -> {
            dnnl_memory_desc x = OneDnn.dense(dnnl.dnnl_f32, rows, columns);
            dnnl_primitive_desc forward = new dnnl_primitive_desc();
            int prop = backward ? dnnl.dnnl_forward_training : dnnl.dnnl_forward_inference;
            OneDnn.check(dnnl_softmax_forward_primitive_desc_create(forward, engine, prop, dnnl.dnnl_softmax_accurate, x,
                    x, 1, null), "softmax");
            if (!backward) {
                return new Primitive(stream, forward, new int[] {dnnl.DNNL_ARG_SRC, dnnl.DNNL_ARG_DST},
                        new dnnl_memory_desc[] {x, x});
            }
            dnnl_primitive_desc description = new dnnl_primitive_desc();
            OneDnn.check(dnnl_softmax_backward_primitive_desc_create(description, engine, dnnl.dnnl_softmax_accurate, x,
                    x, x, 1, forward, null), "softmax gradient");
            return new Primitive(stream, description,
                    new int[] {dnnl.DNNL_ARG_DST, dnnl.DNNL_ARG_DIFF_DST, dnnl.DNNL_ARG_DIFF_SRC},
                    new dnnl_memory_desc[] {x, x, x});
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
