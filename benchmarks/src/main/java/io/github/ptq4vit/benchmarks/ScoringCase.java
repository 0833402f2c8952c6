package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CandidateGrids;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.Distance;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Optional;

/**
 * The scoring of all candidates for one operand of a product of random numbers, with the Hessian metric at 8 bits.
 *
 * @param fixed grids of the operand that is not searched
 */
record ScoringCase(Backend.Scoring scoring, MatmulProblem problem, Operand searched, List<CodeGrid> fixed,
        CandidateGrids candidates) {
    private static final int CANDIDATES = 100;
    private static final int HALF = 128;

    /**
     * Prepares it: operands of unit size, weights as squared gradients are.
     *
     * @param shape {@code n x k x m} of a linear layer; {@code batch x n x k x m} of attention, one product a head
     * @param images of attention, which share the batch
     */
    static ScoringCase of(Backend backend, Scope scope, String shape, int images, Operand searched) {
        return of(backend, scope, shape, images, searched, Distance.SQUARED, false, 1);
    }

    /**
     * The same with another distance, of a left operand that stays in float32, as pixels do, or with a scale for each group of columns.
     *
     * @param columnGroups of a linear layer whose right operand is searched; else 1
     */
    static ScoringCase of(Backend backend, Scope scope, String shape, int images, Operand searched, Distance distance,
            boolean floatLeft, int columnGroups) {
        int[] sizes = Arrays.stream(shape.split("x")).mapToInt(Integer::parseInt).toArray();
        boolean attention = sizes.length == 4;
        int batch = attention ? sizes[0] : 1;
        int n = sizes[sizes.length - 3];
        int k = sizes[sizes.length - 2];
        int m = sizes[sizes.length - 1];
        View left = upload(backend, scope, RandomNumbers.normal(1, 1, batch, n, k));
        View right = upload(backend, scope, RandomNumbers.normal(2, attention ? 1 : 0.05, batch, m, k)).transpose();
        View output = scope.floats(batch, n, m);
        backend.matmul(left, right, output);
        View weight = upload(backend, scope, RandomNumbers.squares(3, 1e-3, batch, n, m));
        int heads = attention ? batch / images : 1;
        MatmulProblem problem = new MatmulProblem(left, right, output, Optional.of(weight), Optional.empty(), heads, columnGroups,
                distance);
        double largestLeft = 4.5;
        double largestRight = attention ? 4.5 : 0.2;
        boolean searchesLeft = searched == Operand.LEFT;
        List<List<CodeGrid>> candidates = new ArrayList<>();
        for (int i = 0; i < CANDIDATES; i++) {
            candidates.add(grids(searchesLeft ? largestLeft : largestRight, 0.01 + i * 1.19 / CANDIDATES,
                    Math.max(heads, columnGroups)));
        }
        return new ScoringCase(backend.scoring(scope, problem), problem, searched,
                floatLeft ? List.of() : grids(searchesLeft ? largestRight : largestLeft, 1, heads), CandidateGrids.of(candidates));
    }

    private static View upload(Backend backend, Scope scope, Tensor numbers) {
        View view = scope.floats(numbers.shape().toArray());
        backend.upload(numbers, view);
        return view;
    }

    private static List<CodeGrid> grids(double largest, double factor, int groups) {
        float step = (float) (factor * largest / (HALF - 0.5));
        return Collections.nCopies(groups, CodeGrid.of(CodeRange.unlimited(step, -HALF, HALF - 1)));
    }

    /** The losses of all candidates. */
    double[][] score() {
        return scoring.score(searched, fixed, candidates, 0, problem.units());
    }

    /** Multiplications and additions of the products of all candidates: 2 n k m each. */
    double operations() {
        return 2.0 * candidates.count() * problem.batch() * problem.n() * problem.k() * problem.m();
    }
}
