package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CandidateGrids;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.Quantizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/**
 * Finds the scales of a product's two operands by alternating between them (PTQ4ViT, section 3.3). What a search of one
 * operand finds depends on the other operand's scales alone, so a search under scales that were seen before is answered
 * from memory: once nothing changes, the remaining rounds cost nothing.
 */
final class ScaleSearch {
    private final Backend.Scoring scoring;
    private final Timings timings;
    private final Layer layer;
    private final Candidates left;
    private final Candidates right;
    private final CandidateRace race;
    private final Map<Operand, CandidateGrids> grids = new EnumMap<>(Operand.class);
    private final Map<Operand, Map<List<Quantizer>, Found>> memory = new HashMap<>();
    private final List<SearchTrace> traces = new ArrayList<>();
    private final Map<Operand, Found> last = new EnumMap<>(Operand.class);
    private List<Quantizer> bestLeft;
    private List<Quantizer> bestRight;
    /** Losses of the last search's choice. */
    private double[] present = new double[0];

    /**
     * @param scoring of this layer
     * @param left search space of the left operand; none leaves it float32
     * @param units ends of the growing parts of the problem that candidates are scored on, the last one all of it
     */
    ScaleSearch(Backend.Scoring scoring, Timings timings, Layer layer, Candidates left, Candidates right, SearchMode mode, int[] units) {
        this.scoring = scoring;
        this.timings = timings;
        this.layer = layer;
        this.left = left;
        this.right = right;
        this.race = mode == SearchMode.EXHAUSTIVE ? CandidateRace.exhaustive(units) : CandidateRace.progressive(units);
        this.bestLeft = left.start();
        this.bestRight = right.start();
    }

    private record Found(double[][] losses, int[] chosen) {
    }

    /** Searches the operands in the given order, round after round. */
    void run(int rounds, Operand... order) {
        for (int round = 0; round < rounds; round++) {
            for (Operand operand : order) {
                search(round, operand);
            }
        }
    }

    private void search(int round, Operand operand) {
        boolean searchesLeft = operand == Operand.LEFT;
        Candidates candidates = searchesLeft ? left : right;
        List<Quantizer> other = searchesLeft ? bestRight : bestLeft;
        Map<List<Quantizer>, Found> known = memory.computeIfAbsent(operand, o -> new HashMap<>());
        // from the second round on the operand's present scales are among the candidates
        Optional<double[]> reached = known.isEmpty() ? Optional.empty() : reached(candidates.groups());
        Found found = known.computeIfAbsent(other, o -> find(operand, candidates, o, reached));
        List<Quantizer> best = IntStream.range(0, candidates.groups())
                .mapToObj(g -> candidates.quantizers().get(found.chosen[g]).get(g)).toList();
        if (searchesLeft) {
            bestLeft = best;
        } else {
            bestRight = best;
        }
        last.put(operand, found);
        traces.add(new SearchTrace(layer.name(), round, operand, found.losses, found.chosen));
        present = IntStream.range(0, candidates.groups()).mapToDouble(g -> found.losses[found.chosen[g]][g]).toArray();
    }

    /** What the present scales of both operands lose in each of so many groups, if the last search tells. */
    private Optional<double[]> reached(int groups) {
        if (groups == present.length) {
            return Optional.of(present);
        }
        return groups == 1 ? Optional.of(new double[] {DoubleStream.of(present).sum()}) : Optional.empty();
    }

    private Found find(Operand operand, Candidates candidates, List<Quantizer> other, Optional<double[]> reached) {
        List<CodeGrid> fixed = other.stream().map(Quantizer::grid).toList();
        long start = System.nanoTime();
        double[][] losses = race.run(scoring, operand, fixed, grids.computeIfAbsent(operand, o -> candidates.grids()), reached);
        timings.add("search " + layer.role().suffix() + (operand == Operand.LEFT ? " L" : " R"), (System.nanoTime() - start) / 1e9);
        return new Found(losses, firstBest(losses, candidates.groups()));
    }

    /** The first candidate with the smallest loss, for each group. */
    static int[] firstBest(double[][] losses, int groups) {
        int[] best = new int[groups];
        for (int g = 0; g < groups; g++) {
            best[g] = -1;
            for (int c = 0; c < losses.length; c++) {
                if (!Double.isNaN(losses[c][g]) && (best[g] < 0 || losses[c][g] < losses[best[g]][g])) {
                    best[g] = c;
                }
            }
            if (best[g] < 0) {
                throw new CalibrationException("No candidate has a loss: the calibration data are not finite");
            }
        }
        return best;
    }

    /** The scales found for the left operand, one a group; none if it stays float32. */
    List<Quantizer> bestLeft() {
        return bestLeft;
    }

    /** The scales found for the right operand, one a group. */
    List<Quantizer> bestRight() {
        return bestRight;
    }

    /** What the candidates of the last search of each operand lose. */
    List<LayerRecord.Curve> curves() {
        List<LayerRecord.Curve> curves = new ArrayList<>();
        last.forEach((operand, found) -> {
            Candidates candidates = operand == Operand.LEFT ? left : right;
            int shown = Math.min(LayerRecord.MOST_GROUPS, candidates.groups());
            for (int i = 0; i < shown; i++) {
                int group = (int) ((long) i * candidates.groups() / shown);
                curves.addAll(LayerRecord.Curve.of(operand, group, candidates.quantizers().stream().map(row -> row.get(group)).toList(),
                        Arrays.stream(found.losses).mapToDouble(row -> row[group]).toArray()));
            }
        });
        return curves;
    }

    /** All searches so far. */
    List<SearchTrace> traces() {
        return traces;
    }
}
