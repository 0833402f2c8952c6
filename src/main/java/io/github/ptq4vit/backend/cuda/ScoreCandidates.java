package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.Operand;
import java.util.ArrayList;
import java.util.List;

/**
 * The candidates of a search beside the grids of the other operand. A candidate that has, for some scale, the same grid as the
 * one before it is not scored again for it.
 *
 * @param scales how many scales there are: 1, the heads or the column groups
 * @param fixed grids of the other operand: one for all or one a scale; none if it stays float32
 * @param candidates for each candidate the grids of the searched one, likewise
 */
record ScoreCandidates(Operand searched, int scales, List<CodeGrid> fixed, List<List<CodeGrid>> candidates) {

    /** How many. */
    int count() {
        return candidates.size();
    }

    /** Grids that a candidate has of its own. */
    int grids() {
        return candidates.get(0).size();
    }

    /** Some of them, one after the other. */
    ScoreCandidates part(int from, int to) {
        return new ScoreCandidates(searched, scales, fixed, candidates.subList(from, to));
    }

    /** All grids of the candidates, one after the other. */
    List<CodeGrid> allGrids() {
        return candidates.stream().flatMap(List::stream).toList();
    }

    CodeGrid grid(int candidate, int scale) {
        List<CodeGrid> grids = candidates.get(candidate);
        return grids.get(grids.size() == 1 ? 0 : scale);
    }

    private CodeGrid fixedGrid(int scale) {
        return fixed.get(fixed.size() == 1 ? 0 : scale);
    }

    /** Ranges of the left operand that are multiplied; 1 if it stays float32. */
    int ranges() {
        List<CodeGrid> left = searched == Operand.LEFT ? allGrids() : fixed;
        return left.stream().mapToInt(grid -> grid.ranges().size()).max().orElse(1);
    }

    /** Ranges of the candidates' own codes. */
    int codedRanges() {
        return allGrids().stream().mapToInt(grid -> grid.ranges().size()).max().orElseThrow();
    }

    /** For each scale the candidates that are not the same as the one before, {@code [scales][..]}. */
    int[][] different() {
        int[][] lists = new int[scales][];
        for (int scale = 0; scale < scales; scale++) {
            List<Integer> different = new ArrayList<>();
            for (int candidate = 0; candidate < count(); candidate++) {
                if (candidate == 0 || !grid(candidate, scale).equals(grid(candidate - 1, scale))) {
                    different.add(candidate);
                }
            }
            lists[scale] = different.stream().mapToInt(i -> i).toArray();
        }
        return lists;
    }

    /** Products of the two operands' steps, {@code [candidates][scales][ranges]}; of a left operand in float32 the other's. */
    float[] steps() {
        int ranges = ranges();
        float[] steps = new float[count() * scales * ranges];
        int at = 0;
        for (int candidate = 0; candidate < count(); candidate++) {
            for (int scale = 0; scale < scales; scale++) {
                CodeGrid own = grid(candidate, scale);
                for (int range = 0; range < ranges; range++) {
                    CodeGrid left = searched == Operand.LEFT ? own : fixed.isEmpty() ? null : fixedGrid(scale);
                    CodeGrid right = searched == Operand.RIGHT ? own : fixedGrid(scale);
                    // a grid with one range among others with two has codes 0 in the second
                    float stepLeft = left == null ? 1 : left.ranges().get(Math.min(range, left.ranges().size() - 1)).step();
                    steps[at++] = stepLeft * right.ranges().get(0).step();
                }
            }
        }
        return steps;
    }

    /**
     * Whether the candidates' first ranges are multiplied apart, and what they give is subtracted from the outputs: of GELU's
     * twin the first range is the same in all candidates of a search. It must not depend on the company a candidate is in.
     */
    boolean hasFirstRangeApart() {
        return searched == Operand.LEFT && allGrids().stream().allMatch(grid -> grid.ranges().size() == 2
                && grid.isFirstRangeApart());
    }

    /** The first candidate after {@code from} whose first ranges are others than that one's. */
    int firstRangesEnd(int from) {
        List<CodeGrid> first = firstRanges(candidates.get(from));
        int end = from + 1;
        while (end < count() && firstRanges(candidates.get(end)).equals(first)) {
            end++;
        }
        return end;
    }

    /** The first ranges of the first candidate alone. */
    ScoreCandidates firstRange() {
        return new ScoreCandidates(searched, scales, fixed, List.of(firstRanges(candidates.get(0))));
    }

    /** The second ranges alone. */
    ScoreCandidates secondRanges() {
        return new ScoreCandidates(searched, scales, fixed, candidates.stream()
                .map(grids -> grids.stream().map(grid -> CodeGrid.of(grid.ranges().get(1))).toList()).toList());
    }

    private static List<CodeGrid> firstRanges(List<CodeGrid> grids) {
        return grids.stream().map(grid -> CodeGrid.of(grid.ranges().get(0))).toList();
    }

    /** Copies the losses of candidates that were not scored from the ones before, {@code [candidates][groups]}. */
    void spread(double[][] losses) {
        for (int candidate = 1; candidate < count(); candidate++) {
            for (int group = 0; group < losses[candidate].length; group++) {
                boolean same = losses[candidate].length == 1
                        ? candidates.get(candidate).equals(candidates.get(candidate - 1))
                        : grid(candidate, group).equals(grid(candidate - 1, group));
                if (same) {
                    losses[candidate][group] = losses[candidate - 1][group];
                }
            }
        }
    }
}
