package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.quant.Quantizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * One search: which candidates are scored on which part of the data.
 *
 * <p>The exhaustive race scores all candidates on everything. The progressive race finds the same winner with less work.
 * Losses are sums of terms that are not negative, so a candidate whose loss on some of the data already exceeds another's
 * loss on all of it cannot win. All candidates run on the first, small part, which holds the heaviest rows; the leader of
 * each group then runs to the end, and before each further part those that have lost against it are dropped. Both races add
 * the parts in the same order, so a candidate that finishes has the same loss in both, to the last bit, and the choice is
 * the same by construction.
 */
final class CandidateRace {
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

    /** Scores rows of quantisers, one a group, on units {@code [from, to)}. */
    @FunctionalInterface
    interface Scorer {
        /** The losses {@code [slots][groups]}. */
        double[][] score(List<List<Quantizer>> slots, int from, int to);
    }

    /**
     * Runs the race.
     *
     * @return losses {@code [candidates][groups]}; NaN where the candidate was dropped
     */
    double[][] run(Candidates candidates, Scorer scorer) {
        Board board = new Board(candidates, scorer);
        int[][] everyone = new int[candidates.groups()][];
        Arrays.fill(everyone, IntStream.range(0, candidates.count()).toArray());
        if (!progressive) {
            for (int part = 0; part < ends.length; part++) {
                board.advance(everyone, part);
            }
            return board.losses;
        }
        board.advance(everyone, 0);
        int[][] leaders = board.leaders();
        for (int part = 1; part < ends.length; part++) {
            board.advance(leaders, part);
        }
        for (int part = 1; part < ends.length; part++) {
            board.advance(board.runners(leaders, part), part);
        }
        return board.finished();
    }

    /** Where every candidate stands, group by group: groups run their races independently. */
    private final class Board {
        private final Candidates candidates;
        private final Scorer scorer;
        private final double[][] losses;
        /** Parts each candidate has run. */
        private final int[][] partsDone;

        Board(Candidates candidates, Scorer scorer) {
            this.candidates = candidates;
            this.scorer = scorer;
            this.losses = new double[candidates.count()][candidates.groups()];
            this.partsDone = new int[candidates.count()][candidates.groups()];
        }

        /** Scores chosen candidates of each group on a part. Slot s holds the s-th candidate of every group. */
        void advance(int[][] chosen, int part) {
            int slots = Arrays.stream(chosen).mapToInt(c -> c.length).max().orElse(0);
            if (slots == 0) {
                return;
            }
            List<List<Quantizer>> quantizers = new ArrayList<>();
            for (int slot = 0; slot < slots; slot++) {
                List<Quantizer> row = new ArrayList<>();
                for (int group = 0; group < chosen.length; group++) {
                    int[] own = chosen[group];
                    // a group with fewer candidates repeats its last one, which costs nothing
                    int candidate = own.length == 0 ? 0 : own[Math.min(slot, own.length - 1)];
                    row.add(candidates.quantizers().get(candidate).get(group));
                }
                quantizers.add(row);
            }
            double[][] partLosses = scorer.score(quantizers, part == 0 ? 0 : ends[part - 1], ends[part]);
            for (int group = 0; group < chosen.length; group++) {
                for (int slot = 0; slot < chosen[group].length; slot++) {
                    losses[chosen[group][slot]][group] += partLosses[slot][group];
                    partsDone[chosen[group][slot]][group] = part + 1;
                }
            }
        }

        /** For each group the candidate with the smallest loss so far. */
        int[][] leaders() {
            int[] best = ScaleSearch.firstBest(losses, candidates.groups());
            return Arrays.stream(best).mapToObj(b -> new int[] {b}).toArray(int[][]::new);
        }

        /**
         * For each group those that have run all parts before this one, not this one, and can still win.
         *
         * @param leaders who have run to the end, one a group
         */
        int[][] runners(int[][] leaders, int part) {
            int[][] runners = new int[candidates.groups()][];
            for (int g = 0; g < runners.length; g++) {
                int group = g;
                double bound = losses[leaders[g][0]][g];
                runners[g] = IntStream.range(0, candidates.count())
                        .filter(c -> partsDone[c][group] == part && losses[c][group] <= bound).toArray();
            }
            return runners;
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
