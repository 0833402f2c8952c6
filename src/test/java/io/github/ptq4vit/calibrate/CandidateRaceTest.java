package io.github.ptq4vit.calibrate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.CandidateGrids;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.quant.Quantizer;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class CandidateRaceTest {
    private static final double[] LOSS_A_UNIT = {3, 2, 5, 4};
    private static final CandidateGrids CANDIDATES = CandidateGrids.of(IntStream.rangeClosed(1, LOSS_A_UNIT.length)
            .mapToObj(i -> List.of(new Quantizer.Uniform(i, 8).grid())).toList());

    private int scored;

    private double[][] score(Operand searched, List<CodeGrid> fixed, CandidateGrids slots, int from, int to) {
        scored += slots.count() * (to - from);
        return IntStream.range(0, slots.count()).map(slot -> (int) slots.step(slot, 0, 0) - 1)
                .mapToObj(candidate -> new double[] {LOSS_A_UNIT[candidate] * (to - from)}).toArray(double[][]::new);
    }

    private double[][] race(Optional<double[]> reached) {
        scored = 0;
        return CandidateRace.progressive(new int[] {1, 2, 4}).run(this::score, Operand.LEFT, List.of(), CANDIDATES, reached);
    }

    @Test
    void aKnownBoundEndsOnTheSameChoiceWithNoMoreWork() {
        assertArrayEquals(new int[] {1}, ScaleSearch.firstBest(race(Optional.empty()), 1));
        int alone = scored;
        assertArrayEquals(new int[] {1}, ScaleSearch.firstBest(race(Optional.of(new double[] {8})), 1));
        assertTrue(scored <= alone, scored + " and " + alone);
    }

    @Test
    void aBoundThatNoCandidateKeepsIsLeftAside() {
        assertArrayEquals(race(Optional.empty()), race(Optional.of(new double[] {1})));
    }
}
