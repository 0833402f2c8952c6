package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CandidateGrids;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.Operand;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/**
 * One search: which candidates are scored on which part of the data.
 *
 * <p>The exhaustive race scores all candidates on everything. The progressive race finds the same winner with less work.
 * Losses are sums of terms that are not negative, so a candidate whose loss on some of the data already exceeds another's
 * loss on all of it cannot win. All candidates run on the first, small part, which holds the heaviest rows. Then, unless an
 * earlier search tells what the best one loses at most, the leader of each group runs to the end. Before each further part
 * those that have lost already are dropped. Both races add the parts in the same order, so a candidate that finishes has the
 * same loss in both, to the last bit, and the choice is the same by construction.
 */
final class CandidateRace {
    /** Covers what losses of equal codes may differ by when they are summed in another order. */
    private static final double ROUNDING = 1e-4;

    private final int[] ends;
    private final boolean progressive;

    private CandidateRace(int[] ends, boolean progressive) {
        this.ends = ends;
        this.progressive = progressive;
    }

    /** @param ends ends of the parts, in units, increasing */
    static CandidateRace exhaustive(int[] ends) {
        return new CandidateRace(ends, false);
    }

    /** @param ends ends of the parts, in units, increasing */
    static CandidateRace progressive(int[] ends) {
        return new CandidateRace(ends, true);
    }

    /**
     * Runs the race.
     *
     * @param fixed grids of the operand that is not searched
     * @param reached a loss of each group that one of the candidates reaches, as computed by another search; if absent a
     *     progressive race finds one itself
     * @return losses {@code [candidates][groups]}; NaN where the candidate was dropped
     */
    double[][] run(Backend.Scoring scoring, Operand searched, List<CodeGrid> fixed, CandidateGrids candidates, Optional<double[]> reached) {
        Board board = new Board(scoring, searched, fixed, candidates);
        int[][] everyone = new int[candidates.groups()][];
        Arrays.fill(everyone, IntStream.range(0, candidates.count()).toArray());
        if (!progressive) {
            for (int part = 0; part < ends.length; part++) {
                board.advance(everyone, part);
            }
            return board.losses;
        }
        board.advance(everyone, 0);
        double[] bounds = reached.map(losses -> DoubleStream.of(losses).map(loss -> loss * (1 + ROUNDING)).toArray())
                .orElseGet(board::leadersToTheEnd);
        for (int part = 1; part < ends.length; part++) {
            board.advance(board.runners(bounds, part), part);
        }
        double[][] losses = board.finished();
        boolean decided = IntStream.range(0, candidates.groups())
                .allMatch(group -> Arrays.stream(losses).anyMatch(loss -> !Double.isNaN(loss[group])));
        // losses so small that they are rounding alone may all exceed what another search computed
        return decided || reached.isEmpty() ? losses : run(scoring, searched, fixed, candidates, Optional.empty());
    }

    /** Where every candidate stands, group by group: groups run their races independently. */
    private final class Board {
        private final Backend.Scoring scoring;
        private final Operand searched;
        private final List<CodeGrid> fixed;
        private final CandidateGrids candidates;
        private final double[][] losses;
        /** Parts each candidate has run. */
        private final int[][] partsDone;

        Board(Backend.Scoring scoring, Operand searched, List<CodeGrid> fixed, CandidateGrids candidates) {
            this.scoring = scoring;
            this.searched = searched;
            this.fixed = fixed;
            this.candidates = candidates;
            this.losses = new double[candidates.count()][candidates.groups()];
            this.partsDone = new int[candidates.count()][candidates.groups()];
        }

        /** Scores chosen candidates of each group on a part. Slot s holds the s-th candidate of every group. */
        void advance(int[][] chosen, int part) {
            // a group with fewer candidates repeats its last one, which costs nothing
            CandidateGrids slots = candidates.composed(chosen);
            if (slots.count() == 0) {
                return;
            }
            double[][] own = scoring.score(searched, fixed, slots, part == 0 ? 0 : ends[part - 1], ends[part]);
            for (int group = 0; group < chosen.length; group++) {
                for (int slot = 0; slot < chosen[group].length; slot++) {
                    losses[chosen[group][slot]][group] += own[slot][group];
                    partsDone[chosen[group][slot]][group] = part + 1;
                }
            }
        }

        /** Runs the leader of each group to the end; returns their losses. */
        double[] leadersToTheEnd() {
            int[] best = ScaleSearch.firstBest(losses, candidates.groups());
            int[][] leaders = Arrays.stream(best).mapToObj(b -> new int[] {b}).toArray(int[][]::new);
            for (int part = 1; part < ends.length; part++) {
                advance(leaders, part);
            }
            return IntStream.range(0, best.length).mapToDouble(group -> losses[best[group]][group]).toArray();
        }

        /** For each group those that have run all parts before this one, not this one, and can still win. */
        int[][] runners(double[] bounds, int part) {
            return IntStream.range(0, candidates.groups()).mapToObj(group -> IntStream.range(0, candidates.count())
                    .filter(c -> partsDone[c][group] == part && losses[c][group] <= bounds[group]).toArray())
                    .toArray(int[][]::new);
        }

        double[][] finished() {
            for (int c = 0; c < losses.length; c++) {
                for (int g = 0; g < losses[c].length; g++) {
                    losses[c][g] = partsDone[c][g] == ends.length ? losses[c][g] : Double.NaN;
                }
            }
            return losses;
        }
    }
}
