package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.Tensor;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/** Scores quantisers of a linear layer's input whose rows have ranges of their own, by the Hessian metric, on some of the rows. */
final class RowSearch {
    private static final int MOST_ROWS = 2048;
    private static final int PIECE = 128;

    private final Backend backend;
    private final LayerData data;
    private final Backend.Linear weights;
    /** All rows over those that are looked at. */
    private final double share;

    /**
     * @param data whose left operand is the input as it is quantised
     * @param weight that belongs to such inputs, {@code [outputs, inputs]}
     * @param scope owns what is prepared
     */
    RowSearch(Backend backend, Scope scope, LayerData data, Tensor weight, Optional<Tensor> bias) {
        this.backend = backend;
        int rows = data.left().size(0);
        int step = Math.max(1, rows / MOST_ROWS);
        // a step that shares no factor with the number of tokens would be better still; neighbours are never alike
        this.data = InputSearch.rows(data, IntStream.range(0, rows).filter(row -> row % step == 0).toArray(), backend, scope);
        this.share = (double) rows / this.data.left().size(0);
        this.weights = backend.linear(scope, weight, bias);
    }

    /** The best of some candidates. */
    RangeSearch.Found best(List<Quantizer> candidates) {
        int rows = data.left().size(0);
        int pieces = (rows + PIECE - 1) / PIECE;
        List<CodeGrid> grids = candidates.stream().map(q -> q.grid().with(RowScale.RANGE)).toList();
        double[][] losses = new double[pieces][grids.size()];
        backend.parallel(pieces, (first, last, scope) -> {
            for (int piece = first; piece < last; piece++) {
                int from = piece * PIECE;
                int to = Math.min(rows, from + PIECE);
                View decoded = scope.floats(to - from, weights.inputs());
                View product = scope.floats(to - from, weights.outputs());
                int[] flat = {1, 1, Math.toIntExact(product.elements())};
                for (int i = 0; i < grids.size(); i++) {
                    backend.decoded(data.left().slice(0, from, to), grids.get(i), decoded);
                    backend.linear(decoded, weights, product);
                    losses[piece][i] = backend.squaredErrors(product.reshape(flat), data.output().slice(0, from, to).reshape(flat),
                            data.gradient().map(g -> g.slice(0, from, to).reshape(flat)))[0];
                }
            }
        });
        double[] sums = new double[grids.size()];
        for (int i = 0; i < sums.length; i++) {
            for (double[] piece : losses) {
                sums[i] += piece[i];
            }
        }
        return RangeSearch.Found.best(candidates, sums).times(share);
    }
}
