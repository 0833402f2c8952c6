package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;

/**
 * What a block computes on its way, for a number of images; outermost axis images. Shapes: n tokens, d their length, h
 * heads, f the length inside the MLP.
 *
 * @param input {@code [images, n, d]}
 * @param norm1 normalised input, {@code [images, n, d]}
 * @param qkv {@code [images, n, 3 d]}: queries, keys, values, each head by head
 * @param scores queries times transposed keys, not yet scaled, {@code [images, h, n, n]}
 * @param probabilities softmax of the scaled scores, {@code [images, h, n, n]}
 * @param context probabilities times values, {@code [images, n, d]}, head by head
 * @param projection {@code [images, n, d]}
 * @param middle input plus projection, {@code [images, n, d]}
 * @param norm2 normalised middle, {@code [images, n, d]}
 * @param fc1 {@code [images, n, f]}
 * @param gelu {@code [images, n, f]}
 * @param fc2 {@code [images, n, d]}
 * @param output middle plus fc2, {@code [images, n, d]}
 */
public record Activations(View input, View norm1, View qkv, View scores, View probabilities, View context, View projection,
        View middle, View norm2, View fc1, View gelu, View fc2, View output) {

    /** Room for all but the input, which is given. */
    public static Activations allocate(Scope scope, VitConfig config, View input) {
        return allocate(scope, config, input, scope.floats(input.sizes()));
    }

    /** Room for all but the input and the output, which are given. */
    public static Activations allocate(Scope scope, VitConfig config, View input, View output) {
        int images = input.size(0);
        int n = config.tokens();
        int d = config.dim();
        return new Activations(input, scope.floats(images, n, d), scope.floats(images, n, 3 * d),
                scope.floats(images, config.heads(), n, n), scope.floats(images, config.heads(), n, n),
                scope.floats(images, n, d), scope.floats(images, n, d), scope.floats(images, n, d),
                scope.floats(images, n, d), scope.floats(images, n, config.hidden()),
                scope.floats(images, n, config.hidden()), scope.floats(images, n, d), output);
    }

    /** The same of images {@code [from, to)}. */
    public Activations images(int from, int to) {
        return new Activations(input.slice(0, from, to), norm1.slice(0, from, to), qkv.slice(0, from, to),
                scores.slice(0, from, to), probabilities.slice(0, from, to), context.slice(0, from, to),
                projection.slice(0, from, to), middle.slice(0, from, to), norm2.slice(0, from, to), fc1.slice(0, from, to),
                gelu.slice(0, from, to), fc2.slice(0, from, to), output.slice(0, from, to));
    }

    /** The same room for another block: from another input to another output. */
    public Activations between(View otherInput, View otherOutput) {
        return new Activations(otherInput, norm1, qkv, scores, probabilities, context, projection, middle, norm2, fc1, gelu,
                fc2, otherOutput);
    }

    /** Queries (part 0), keys (1) or values (2) as {@code [images, heads, n, head length]}; no copy. */
    public static View part(View qkv, int part, int heads) {
        return qkv.split(2, 3).split(3, heads).permute(2, 0, 3, 1, 4).at(part);
    }

    /** The context, or any such array, as {@code [images, heads, n, head length]}; no copy. */
    public static View heads(View context, int heads) {
        return context.split(2, heads).permute(0, 2, 1, 3);
    }
}
