package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Buffer;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.View;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * A problem ready for scoring on one device. The fixed operand's codes are kept for the next call, which usually has the same;
 * each call is a {@link ScoreRun}. What a candidate's loss is does not depend on the others in a call, and all sums have a
 * fixed order: equal inputs give equal losses.
 */
final class CudaScoring implements Backend.Scoring {
    private final CudaDevice device;
    private final CudaScope owner;
    private final MatmulProblem problem;
    private final Map<Operand, Fixed> fixedCodes = new EnumMap<>(Operand.class);

    /** Codes of a whole operand. */
    private record Fixed(List<CodeGrid> grids, ScoreCodes codes) {
    }

    /** @param owner what is kept between calls lives there */
    CudaScoring(CudaDevice device, CudaScope owner, MatmulProblem problem) {
        this.device = device;
        this.owner = owner;
        this.problem = problem;
        if (!problem.left().isDense() || !problem.output().isDense() || !problem.weight().map(View::isDense).orElse(true)
                || !problem.bias().map(View::isDense).orElse(true)) {
            throw new IllegalArgumentException("Left operand, outputs, weights and bias of a problem must be dense: " + problem);
        }
        IntegerProducts.checkLength(problem.k());
    }

    @Override
    public double[][] score(Operand searched, List<CodeGrid> fixed, List<List<CodeGrid>> candidates, int from, int to) {
        owner.requireOpen();
        if (from < 0 || to > problem.units() || from >= to) {
            throw new IllegalArgumentException("Units [" + from + ", " + to + ") of " + problem.units());
        }
        if (candidates.isEmpty()) {
            return new double[0][];
        }
        List<CodeGrid> left = searched == Operand.LEFT ? candidates.get(0) : fixed;
        if (left.size() > 1 && problem.heads() == 1) {
            throw new IllegalArgumentException("Without heads the left operand has one grid, not " + left.size());
        }
        boolean several = fixed.size() > 1 || candidates.get(0).size() > 1;
        int scales = !several ? 1 : problem.heads() > 1 ? problem.heads() : problem.columnGroups();
        ScoreCandidates all = new ScoreCandidates(searched, scales, fixed, candidates);
        all.check();
        try (CudaScope scope = new CudaScope(device.memory())) {
            return new ScoreRun(device, this, scope, problem, all, from, to).losses();
        }
    }

    /** Codes of all of an operand, from the last call if they are the same. */
    ScoreCodes fixedCodes(Operand operand, List<CodeGrid> grids, int scales) {
        Fixed known = fixedCodes.get(operand);
        if (known != null && known.grids.equals(grids)) {
            return known.codes;
        }
        ScoreCandidates only = new ScoreCandidates(operand, grids.size() == 1 ? 1 : scales, List.of(), List.of(grids));
        List<ScoreLayout.Rows> runs = ScoreLayout.everyRow(problem, operand, only.scales());
        long bytes = ScoreCodes.bytes(only.codedRanges(), ScoreLayout.count(runs), problem.k());
        Buffer memory = known != null && known.codes.memory().elements() >= bytes ? known.codes.memory()
                : owner.buffer(DataType.INT8, bytes);
        try (CudaScope scope = new CudaScope(device.memory())) {
            ScoreCodes codes = ScoreCodes.of(device, memory, problem, operand, runs, only,
                    CandidateTables.upload(device, scope, only));
            fixedCodes.put(operand, new Fixed(grids, codes));
            return codes;
        }
    }
}
