package io.github.ptq4vit.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

class CandidateGridsTest {
    private static final CodeGrid A = CodesContractTest.uniform(8, 0.5f);
    private static final CodeGrid B = CodesContractTest.uniform(8, 0.25f);
    private static final CodeGrid TABLE = ScoreProblem.levels(4, 6);
    private static final CodeGrid TWIN = CodesContractTest.softmaxTwin(8, 3, true);
    private static final CodeGrid OTHER_TWIN = CodesContractTest.softmaxTwin(8, 4, true);

    private static CandidateGrids grids() {
        return CandidateGrids.of(List.of(List.of(A, TWIN), List.of(B, TWIN), List.of(B, TWIN), List.of(B, OTHER_TWIN), List.of(TABLE, A)));
    }

    @Test
    void holdEveryGridAsItWas() {
        CandidateGrids grids = grids();
        assertEquals(5, grids.count());
        assertEquals(List.of(A, TWIN), grids.grids(0));
        assertEquals(List.of(B, OTHER_TWIN), grids.grids(3));
        assertEquals(List.of(TABLE, A), grids.grids(4));
        assertEquals(4, grids.kinds().size());
        assertEquals(0, CandidateGrids.of(List.of()).count());
        assertThrows(IllegalArgumentException.class, () -> CandidateGrids.of(List.of(List.of(A), List.of(A, B))));
    }

    @Test
    void tellWhichCandidatesRepeatTheOneBefore() {
        CandidateGrids grids = grids();
        assertFalse(grids.repeats(0));
        assertTrue(grids.repeats(1, 1));
        assertFalse(grids.repeats(1, 0));
        assertTrue(grids.repeats(2));
        assertFalse(grids.repeats(3, 1), "steps are the same, the limits are not");
        assertEquals(4, grids.different().count());
        assertEquals(List.of(B, OTHER_TWIN), grids.different().grids(2));
        assertFalse(grids.part(2, 4).repeats(0));
    }

    @Test
    void areComposedGroupByGroup() {
        CandidateGrids composed = grids().composed(new int[][] {{1, 4}, {3}});
        assertEquals(List.of(B, OTHER_TWIN), composed.grids(0));
        assertEquals(List.of(TABLE, OTHER_TWIN), composed.grids(1));
        assertTrue(composed.repeats(1, 1));
        assertEquals(List.of(A, TWIN), grids().composed(new int[][] {{}, {1}}).grids(0));
        assertEquals(0, grids().composed(new int[][] {{}, {}}).count());
        assertEquals(List.of(OTHER_TWIN), grids().of(3, 1, 2).grids(0));
    }

    @Test
    void areEqualByValue() {
        assertEquals(grids(), grids());
        assertEquals(grids().hashCode(), grids().hashCode());
        assertEquals(grids().part(1, 2), grids().part(2, 3));
        assertNotEquals(grids().part(2, 3), grids().part(3, 4));
        assertNotEquals(grids().of(0, 0, 1), grids().of(1, 0, 1));
    }

    @Test
    void rangesCanBeTakenApart() {
        CandidateGrids twins = CandidateGrids.of(List.of(List.of(TWIN), List.of(OTHER_TWIN)));
        assertEquals(CodeGrid.of(TWIN.ranges().get(0)), twins.range(0).grid(0, 0));
        assertEquals(CodeGrid.of(OTHER_TWIN.ranges().get(1)), twins.range(1).grid(1, 0));
        assertEquals(1, twins.range(1).ranges());
    }
}
