package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.Tensor;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/** Scores quantisers of a linear layer's input by the Hessian metric, with weights of 8 bits, which err little beside them. */
final class InputSearch {
    private final Backend.Scoring scoring;
    private final CandidateRace race;
    private final List<CodeGrid> weights;

    /**
     * @param data whose left operand is the input as it is quantised
     * @param weight that belongs to such inputs, {@code [outputs, inputs]}
     * @param scope owns what is prepared
     */
    InputSearch(Backend backend, Scope scope, LayerData data, Tensor weight, Optional<Tensor> bias) {
        MatmulProblem problem = new ProblemBuilder(backend, scope, Metric.HESSIAN).linear(data, weight, bias, 1);
        this.scoring = backend.scoring(scope, problem);
        float largest = Float.MIN_NORMAL;
        for (float w : weight.toArray()) {
            largest = Math.max(largest, Math.abs(w));
        }
        this.weights = List.of(new Quantizer.Uniform(largest / 127, BitWidths.MAX).grid());
        this.race = CandidateRace.progressive(ProblemBuilder.parts(problem));
    }

    /** Losses of candidates; NaN for those that are worse than another. */
    double[] losses(List<Quantizer> candidates) {
        double[] losses = new double[candidates.size()];
        // a race is among grids of equally many ranges
        IntStream.of(1, 2).forEach(ranges -> {
            int[] own = IntStream.range(0, losses.length)
                    .filter(i -> candidates.get(i).grid().ranges().size() == ranges).toArray();
            if (own.length > 0) {
                double[][] found = race(IntStream.of(own).mapToObj(i -> List.of(candidates.get(i))).toList());
                for (int i = 0; i < own.length; i++) {
                    losses[own[i]] = found[i][0];
                }
            }
        });
        return losses;
    }

    private double[][] race(List<List<Quantizer>> candidates) {
        return race.run(scoring, Operand.LEFT, weights, new Candidates(candidates.get(0), candidates).grids(), Optional.empty());
    }

    /** The best of some candidates. */
    RangeSearch.Found best(List<Quantizer> candidates) {
        return RangeSearch.Found.best(candidates, losses(candidates));
    }

    /** Smallest and largest number of a matrix. */
    static float[] range(HostMatrix matrix) {
        float low = 0;
        float high = 0;
        for (float x : matrix.numbers()) {
            low = Math.min(low, x);
            high = Math.max(high, x);
        }
        if (!Float.isFinite(low) || !Float.isFinite(high)) {
            throw CalibrationException.notFinite(Float.isFinite(low) ? high : low);
        }
        return new float[] {low, high};
    }

    /** Some rows of a layer's data, in memory of the scope. */
    static LayerData rows(LayerData data, int[] rows, Backend backend, Scope scope) {
        return new LayerData(data.layer(), gathered(data.left(), rows, backend, scope), Optional.empty(),
                gathered(data.output(), rows, backend, scope), data.gradient().map(g -> gathered(g, rows, backend, scope)));
    }

    private static View gathered(View matrix, int[] rows, Backend backend, Scope scope) {
        View some = scope.floats(rows.length, matrix.size(1));
        new Parallel(backend).gather(matrix, rows, some);
        return some;
    }
}
