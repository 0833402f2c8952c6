package io.github.ptq4vit.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.Distance;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Candidates that repeat the one before them are not multiplied again; what the CPU's clock counts says so. */
class RepeatedCandidatesTest {
    private static final int ROWS = 50;
    private static final int INNER = 16;
    private static final int COLUMNS = 24;
    /** Operations of a candidate's product. */
    private static final double ALL = 2.0 * ROWS * INNER * COLUMNS;

    @ParameterizedTest(name = "{0} groups")
    @ValueSource(ints = {1, 3, 24})
    void candidatesThatRepeatTheOneBeforeAreNotMultiplied(int groups) {
        List<CodeGrid> a = Collections.nCopies(groups, grid(0.1f));
        List<CodeGrid> b = Collections.nCopies(groups, grid(0.2f));
        assertEquals(4 * ALL, operations(groups, List.of(a, b, a, b)));
        assertEquals(2 * ALL, operations(groups, List.of(a, a, b, b)));
    }

    private static CodeGrid grid(float step) {
        return CodeGrid.of(CodeRange.unlimited(step, -8, 7));
    }

    private static double operations(int groups, List<List<CodeGrid>> candidates) {
        try (CpuBackend backend = new CpuBackend(1); Scope scope = backend.scope()) {
            View right = zeros(backend, scope, 1, COLUMNS, INNER).transpose();
            MatmulProblem problem = new MatmulProblem(zeros(backend, scope, 1, ROWS, INNER), right, zeros(backend, scope, 1, ROWS, COLUMNS),
                    Optional.empty(), Optional.empty(), 1, groups, Distance.SQUARED);
            backend.score(problem, Operand.RIGHT, List.of(grid(0.3f)), candidates, 0, ROWS);
            return backend.scoringClock().operations();
        }
    }

    private static View zeros(CpuBackend backend, Scope scope, int... sizes) {
        View view = scope.floats(sizes);
        backend.upload(Tensor.zeros(sizes), view);
        return view;
    }
}
