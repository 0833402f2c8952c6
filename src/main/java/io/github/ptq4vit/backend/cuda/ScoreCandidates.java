package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.CandidateGrids;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.Operand;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The candidates of a search beside the grids of the other operand. A candidate that has, for some scale, the same grid as the
 * one before it is not scored again for it.
 *
 * @param scales how many scales there are: 1, the heads or the column groups
 * @param fixed grids of the other operand: one for all or one a scale; none if it stays float32
 * @param grids of the searched one for every candidate, likewise
 */
record ScoreCandidates(Operand searched, int scales, List<CodeGrid> fixed, CandidateGrids grids) {

    /** How many. */
    int count() {
        return grids.count();
    }

    /** Some of them, one after the other. */
    ScoreCandidates part(int from, int to) {
        return with(grids.part(from, to));
    }

    private ScoreCandidates with(CandidateGrids others) {
        return new ScoreCandidates(searched, scales, fixed, others);
    }

    private CodeGrid fixedGrid(int scale) {
        return fixed.get(fixed.size() == 1 ? 0 : scale);
    }

    /** Ranges of the left operand that are multiplied; 1 if it stays float32. */
    int ranges() {
        return searched == Operand.LEFT ? grids.ranges() : fixed.stream().mapToInt(grid -> grid.ranges().size()).max().orElse(1);
    }

    /** For each scale the candidates that are not the same as the one before, {@code [scales][..]}. */
    int[][] different() {
        int[][] lists = new int[scales][];
        Arrays.setAll(lists, scale -> IntStream.range(0, count()).filter(candidate -> !grids.repeats(candidate, scale)).toArray());
        return lists;
    }

    /** Products of the two operands' steps, {@code [candidates][scales][ranges]}; of a left operand in float32 the other's. */
    float[] steps() {
        int ranges = ranges();
        float[] steps = new float[count() * scales * ranges];
        int at = 0;
        for (int candidate = 0; candidate < count(); candidate++) {
            for (int scale = 0; scale < scales; scale++) {
                for (int range = 0; range < ranges; range++) {
                    steps[at++] = searched == Operand.LEFT
                            ? grids.step(candidate, scale, range) * fixedGrid(scale).ranges().get(0).step()
                            : fixedStep(scale, range) * grids.step(candidate, scale, 0);
                }
            }
        }
        return steps;
    }

    /** Of the left operand. A grid with one range among others with two has codes 0 in the second. */
    private float fixedStep(int scale, int range) {
        if (fixed.isEmpty()) {
            return 1;
        }
        List<CodeRange> own = fixedGrid(scale).ranges();
        return own.get(Math.min(range, own.size() - 1)).step();
    }

    /**
     * Whether the candidates' first ranges are multiplied apart, and what they give is subtracted from the outputs: of GELU's
     * twin the first range is the same in all candidates of a search. It must not depend on the company a candidate is in.
     */
    boolean hasFirstRangeApart() {
        return searched == Operand.LEFT && grids.kinds().stream().allMatch(kind -> kind.ranges().size() == 2
                && kind.isFirstRangeApart());
    }

    /** The first candidate after {@code from} whose first ranges are others than that one's. */
    int firstRangesEnd(int from) {
        CandidateGrids first = grids.range(0);
        int end = from + 1;
        while (end < count() && first.repeats(end)) {
            end++;
        }
        return end;
    }

    /** The first ranges of the first candidate alone. */
    ScoreCandidates firstRange() {
        return with(grids.part(0, 1).range(0));
    }

    /** The second ranges alone. */
    ScoreCandidates secondRanges() {
        return with(grids.range(1));
    }

    /** Copies the losses of candidates that were not scored from the ones before, {@code [candidates][groups]}. */
    void spread(double[][] losses) {
        for (int candidate = 1; candidate < count(); candidate++) {
            for (int group = 0; group < losses[candidate].length; group++) {
                if (grids.repeats(candidate, group)) {
                    losses[candidate][group] = losses[candidate - 1][group];
                }
            }
        }
    }
}
