package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.RowTransform;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.quant.InputTransform;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.List;

/** Inputs of linear layers as an {@link InputTransform} makes them, and as their codes stand for them. */
final class TransformedInputs {
    private static final int PARTS = 16;

    private final Backend backend;
    /** Tokens of an image, among which prefix tokens come first. */
    private final int tokens;

    TransformedInputs(Backend backend, int tokens) {
        this.backend = backend;
        this.tokens = tokens;
    }

    /** The numbers that are quantised; the input itself, where nothing changes them. */
    View of(View x, InputTransform transform, Scope scope) {
        if (!transform.changesNumbers()) {
            return x;
        }
        View result = scope.floats(x.sizes());
        RowTransform onDevice = transform.onDevice(backend, scope, x.size(1));
        int parts = Math.min(PARTS, x.size(0));
        backend.parallel(parts, (first, last, inner) -> {
            int from = (int) ((long) x.size(0) * first / parts);
            int to = (int) ((long) x.size(0) * last / parts);
            onDevice.apply(backend, x.slice(0, from, to), result.slice(0, from, to));
        });
        return result;
    }

    /** What the codes of the transformed input stand for, the shift taken back. */
    View decoded(View x, InputChoice input, Scope scope) {
        View source = of(x, input.transform(), scope);
        View decoded = scope.floats(x.sizes());
        List<CodeGrid> grids = input.quantizers().stream().map(q -> q.grid().with(input.transform().rows())).toList();
        int prefix = grids.size() > 1 ? input.transform().prefixTokens() : 0;
        int perImage = prefix > 0 ? tokens : 1;
        float[] back = input.transform().shifts(x.size(1));
        for (int c = 0; c < back.length; c++) {
            back[c] = -back[c];
        }
        View shifts = scope.floats(back.length);
        backend.upload(Tensor.of(Shape.of(back.length), back), shifts);
        backend.parallel(x.size(0) / perImage, (from, to, inner) -> {
            View own = source.slice(0, from * perImage, to * perImage);
            View target = decoded.slice(0, from * perImage, to * perImage);
            backend.decoded(own, grids.get(0), target);
            for (int image = 0; image < to - from && prefix > 0; image++) {
                backend.decoded(own.slice(0, image * perImage, image * perImage + prefix), grids.get(1),
                        target.slice(0, image * perImage, image * perImage + prefix));
            }
            if (input.transform().shift() != 0) {
                backend.add(target, shifts, target);
            }
        });
        return decoded;
    }
}
