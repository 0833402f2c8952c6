package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;

/**
 * What a block computes on its way, for a number of images; outermost axis images. Shapes: n tokens, d their length, h
 * heads, f the length inside the MLP, p the parts of its activation, w tokens of a window. What attention computes is in
 * window order; without windows, w is n.
 *
 * @param input {@code [images, n, d]}
 * @param norm1 normalised input in window order, {@code [images, n, d]}
 * @param qkv {@code [images, n, 3 d]}: queries, keys, values, each head by head
 * @param queries scaled, {@code [images, windows * h, w, head length]}, if the block has windows; else as in qkv
 * @param scores queries times transposed keys, {@code [images, windows * h, w, w]}
 * @param probabilities softmax of the scores, scaled or with a bias, shaped like them
 * @param context probabilities times values, {@code [images, n, d]}, head by head
 * @param projection {@code [images, n, d]}, in window order
 * @param middle input plus attention, {@code [images, n, d]}
 * @param norm2 normalised middle, {@code [images, n, d]}
 * @param fc1 {@code [images, n, p f]}
 * @param activated {@code [images, n, f]}
 * @param fc2 {@code [images, n, d]}
 * @param output middle plus MLP, {@code [images, n, d]}
 */
record Activations(View input, View norm1, View qkv, View queries, View scores, View probabilities, View context,
        View projection, View middle, View norm2, View fc1, View activated, View fc2, View output) {

    /** Room for all but the input and the output, which are given. */
    static Activations allocate(Scope scope, BlockShape shape, View input, View output) {
        Room room = new Room(scope, shape, input.size(0));
        View qkv = room.qkv();
        return new Activations(input, room.tokens(), qkv, room.queries(qkv), room.products(), room.products(), room.tokens(),
                room.tokens(), room.tokens(), room.tokens(), room.hidden(shape.activation().parts()), room.hidden(1),
                room.tokens(), output);
    }

    /**
     * The same for a forward pass whose steps are not wanted afterwards: what is not needed any more is written over. Half the
     * memory, which stays in the cache more often.
     */
    static Activations overwritten(Scope scope, BlockShape shape, View input, View output) {
        Room room = new Room(scope, shape, input.size(0));
        View qkv = room.qkv();
        View products = room.products();
        View hidden = room.hidden(shape.activation().parts());
        // GELU is computed in place
        View activated = shape.activation().parts() == 1 ? hidden : room.hidden(1);
        // norm1, context and norm2 are each read by one product, as are projection and fc2 by one sum
        View factor = room.tokens();
        View sum = room.tokens();
        return new Activations(input, factor, qkv, room.queries(qkv), products, products, factor, sum, room.tokens(), factor,
                hidden, activated, sum, output);
    }

    private record Room(Scope scope, BlockShape shape, int images) {
        View tokens() {
            return scope.floats(images, shape.tokens(), shape.dim());
        }

        View qkv() {
            return scope.floats(images, shape.tokens(), 3 * shape.dim());
        }

        View queries(View qkv) {
            return shape.windows().isPresent()
                    ? scope.floats(images, shape.windowCount() * shape.heads(), shape.windowTokens(), shape.headDim())
                    : part(qkv, 0, shape);
        }

        View products() {
            return scope.floats(images, shape.windowCount() * shape.heads(), shape.windowTokens(), shape.windowTokens());
        }

        View hidden(int parts) {
            return scope.floats(images, shape.tokens(), parts * shape.hidden());
        }
    }

    /** The same of images {@code [from, to)}. */
    Activations images(int from, int to) {
        return new Activations(input.slice(0, from, to), norm1.slice(0, from, to), qkv.slice(0, from, to),
                queries.slice(0, from, to), scores.slice(0, from, to), probabilities.slice(0, from, to),
                context.slice(0, from, to), projection.slice(0, from, to), middle.slice(0, from, to),
                norm2.slice(0, from, to), fc1.slice(0, from, to), activated.slice(0, from, to), fc2.slice(0, from, to),
                output.slice(0, from, to));
    }

    /** Queries (part 0), keys (1) or values (2) as {@code [images * windows, heads, w, head length]}; no copy. */
    static View part(View qkv, int part, BlockShape shape) {
        return windows(qkv, shape).split(2, 3).split(3, shape.heads()).permute(2, 0, 3, 1, 4).at(part);
    }

    /** The context, or any such array, as {@code [images * windows, heads, w, head length]}; no copy. */
    static View heads(View context, BlockShape shape) {
        return windows(context, shape).split(2, shape.heads()).permute(0, 2, 1, 3);
    }

    /** Scores, or any dense array shaped like them, as {@code [images * windows, heads, w, last axis]}; no copy. */
    static View products(View scores, BlockShape shape) {
        return shape.windowCount() == 1 ? scores
                : scores.reshape(scores.size(0) * shape.windowCount(), shape.heads(), scores.size(2), scores.size(3));
    }

    private static View windows(View tokens, BlockShape shape) {
        return tokens.reshape(tokens.size(0) * shape.windowCount(), shape.windowTokens(), tokens.size(2));
    }
}
