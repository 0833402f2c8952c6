package io.github.ptq4vit.backend.cpu;

import static org.bytedeco.dnnl.global.dnnl.dnnl_post_ops_append_binary;
import static org.bytedeco.dnnl.global.dnnl.dnnl_post_ops_append_eltwise;
import static org.bytedeco.dnnl.global.dnnl.dnnl_post_ops_append_sum;
import static org.bytedeco.dnnl.global.dnnl.dnnl_post_ops_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_attr_set_post_ops;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_attr_set_scales_mask;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_attr_set_zero_points_mask;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.dnnl_post_ops;
import org.bytedeco.dnnl.dnnl_primitive_attr;
import org.bytedeco.dnnl.global.dnnl;

/**
 * What a product or an elementwise operation does to each result while it is in registers, in order. Equal by value, to
 * be part of a primitive's key.
 *
 * @param shifted whether the first factor's codes are {@link CodeForm#SHIFTED}: the sums are made right before all else
 * @param scales what a product of codes is then multiplied by; none with other products
 * @param steps the post-operations
 */
record Epilogue(boolean shifted, Scales scales, List<Step> steps) {

    /** No post-operations. */
    static final Epilogue NONE = new Epilogue(false, Scales.NONE, List.of());

    /** Scales of a product of codes. */
    enum Scales {
        NONE, ONE, ONE_A_COLUMN
    }

    /** What a step does to the result r. */
    enum Kind {
        /** {@code r += old contents of the destination}. */
        ACCUMULATE,
        /** {@code r -= t} for a tensor t as large as the result. */
        SUBTRACT,
        /** {@code r *= t}. */
        MULTIPLY,
        /** {@code r *= r}. */
        SQUARE,
        /** {@code r = |r|}. */
        ABSOLUTE,
        /** {@code r = min(max(r, alpha), beta)}. */
        CLIP,
        /** {@code r = roundHalfEven(r)}. */
        ROUND,
        /** {@code r = alpha * r + beta}. */
        LINEAR,
        /** {@code r *= t} for one number t. */
        MULTIPLY_ALL,
        /** {@code r *= t} for one number t a column. */
        MULTIPLY_COLUMNS,
        /** {@code r *= t} for one number t a row of a batch of one. */
        MULTIPLY_ROWS,
        /** {@code r += t} for one number t a column. */
        ADD_COLUMNS
    }

    /** One step; alpha and beta as its kind says. */
    record Step(Kind kind, float alpha, float beta) {
        static Step of(Kind kind) {
            return new Step(kind, 0, 0);
        }
    }

    static Epilogue of(Kind... kinds) {
        return new Epilogue(false, Scales.NONE, Stream.of(kinds).map(Step::of).toList());
    }

    static Epilogue clip(float min, float max) {
        return new Epilogue(false, Scales.NONE, List.of(new Step(Kind.CLIP, min, max)));
    }

    /** Then adds a number. */
    Epilogue plus(float number) {
        List<Step> all = new ArrayList<>(steps);
        all.add(new Step(Kind.LINEAR, 1, number));
        return new Epilogue(shifted, scales, all);
    }

    /**
     * Of a product of codes: it is multiplied with its scales. They are its first argument; but the second where there is a shift
     * and a scale for each row, which oneDNN knows only as a post-operation.
     */
    static Epilogue scaled(boolean integer, boolean shifted, CodeProduct.Scales scales) {
        return switch (scales) {
            case ONE -> integer ? new Epilogue(shifted, Scales.ONE, List.of()) : of(Kind.MULTIPLY_ALL);
            case COLUMNS -> integer ? new Epilogue(shifted, Scales.ONE_A_COLUMN, List.of()) : of(Kind.MULTIPLY_COLUMNS);
            case ROWS -> new Epilogue(shifted, Scales.NONE, List.of(Step.of(Kind.MULTIPLY_ROWS)));
        };
    }

    Epilogue then(Kind... kinds) {
        return new Epilogue(shifted, scales, Stream.concat(steps.stream(), Stream.of(kinds).map(Step::of)).toList());
    }

    /** Compiles to oneDNN's attributes; the arguments that the steps need are appended to {@code slots}. */
    dnnl_primitive_attr compile(Layout result, Slots slots) {
        Handles handles = slots.handles();
        dnnl_primitive_attr attributes = OneDnn.attributes(handles);
        if (scales != Scales.NONE) {
            boolean columns = scales == Scales.ONE_A_COLUMN;
            OneDnn.check(dnnl_primitive_attr_set_scales_mask(attributes, dnnl.DNNL_ARG_WEIGHTS,
                    columns ? 1 << (result.rank() - 1) : 0), "scales");
            slots.add(dnnl.DNNL_ARG_ATTR_SCALES | dnnl.DNNL_ARG_WEIGHTS,
                    OneDnn.dense(handles, dnnl.dnnl_f32, columns ? result.size(-1) : 1));
        }
        if (shifted) {
            OneDnn.check(dnnl_primitive_attr_set_zero_points_mask(attributes, dnnl.DNNL_ARG_SRC, 0), "zero point");
            slots.add(dnnl.DNNL_ARG_ATTR_ZERO_POINTS | dnnl.DNNL_ARG_SRC, OneDnn.dense(handles, dnnl.dnnl_s32, 1));
        }
        dnnl_post_ops operations = new dnnl_post_ops();
        OneDnn.check(dnnl_post_ops_create(operations), "post-operations");
        handles.own(operations, dnnl::dnnl_post_ops_destroy);
        for (int i = 0; i < steps.size(); i++) {
            Step step = steps.get(i);
            int slot = (dnnl.DNNL_ARG_ATTR_MULTIPLE_POST_OP_BASE * (i + 1)) | dnnl.DNNL_ARG_SRC_1;
            int status = switch (step.kind) {
                case ACCUMULATE -> dnnl_post_ops_append_sum(operations, 1, 0, dnnl.dnnl_data_type_undef);
                case SUBTRACT -> binary(operations, dnnl.dnnl_binary_sub, slots.add(slot, full(handles, result)));
                case MULTIPLY -> binary(operations, dnnl.dnnl_binary_mul, slots.add(slot, full(handles, result)));
                case MULTIPLY_ALL -> binary(operations, dnnl.dnnl_binary_mul, slots.add(slot, row(handles, result, 1)));
                case MULTIPLY_COLUMNS -> binary(operations, dnnl.dnnl_binary_mul, slots.add(slot, columns(handles, result)));
                case MULTIPLY_ROWS -> binary(operations, dnnl.dnnl_binary_mul, slots.add(slot, OneDnn.dense(handles, dnnl.dnnl_f32,
                        1, result.size(-2), 1)));
                case ADD_COLUMNS -> binary(operations, dnnl.dnnl_binary_add, slots.add(slot, columns(handles, result)));
                case SQUARE -> dnnl_post_ops_append_eltwise(operations, dnnl.dnnl_eltwise_square, 0, 0);
                case ABSOLUTE -> dnnl_post_ops_append_eltwise(operations, dnnl.dnnl_eltwise_abs, 0, 0);
                case CLIP -> dnnl_post_ops_append_eltwise(operations, dnnl.dnnl_eltwise_clip, step.alpha, step.beta);
                case ROUND -> dnnl_post_ops_append_eltwise(operations, dnnl.dnnl_eltwise_round, 0, 0);
                case LINEAR -> dnnl_post_ops_append_eltwise(operations, dnnl.dnnl_eltwise_linear, step.alpha, step.beta);
            };
            OneDnn.check(status, "post-operation " + step.kind);
        }
        OneDnn.check(dnnl_primitive_attr_set_post_ops(attributes, operations), "post-operations");
        return attributes;
    }

    private static dnnl_memory_desc full(Handles handles, Layout result) {
        return result.withType(dnnl.dnnl_f32).descriptor(handles);
    }

    /** One number a column, to be repeated along the other axes. */
    static dnnl_memory_desc columns(Handles handles, Layout result) {
        return row(handles, result, result.size(-1));
    }

    private static dnnl_memory_desc row(Handles handles, Layout result, long columns) {
        long[] sizes = new long[result.rank()];
        Arrays.fill(sizes, 1);
        sizes[sizes.length - 1] = columns;
        return OneDnn.dense(handles, dnnl.dnnl_f32, sizes);
    }

    private static int binary(dnnl_post_ops operations, int kind, dnnl_memory_desc other) {
        return dnnl_post_ops_append_binary(operations, kind, other);
    }
}
