package io.github.ptq4vit.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Codes of transformed rows: equal, to the last bit, to the operations one after the other, on every backend. */
@EveryBackend
class RowTransformContractTest {
    private static final int OUTPUTS = 17;
    private final Backend backend;

    RowTransformContractTest(BackendUnderTest subject) {
        this.backend = subject.open().get();
    }

    @AfterEach
    void close() {
        backend.close();
    }

    @ParameterizedTest(name = "{0} x {1} in blocks of {2}")
    @CsvSource({"1, 1, 1", "3, 6, 2", "13, 12, 4", "65, 24, 8", "13, 97, 1", "197, 192, 64", "5, 160, 32", "3, 384, 128", "2, 768, 256",
        "3, 48, 16"})
    void transformsAndCodesInOneStep(int rows, int inputs, int block) {
        for (CodeGrid grid : grids()) {
            for (boolean factors : new boolean[] {true, false}) {
                for (boolean shifts : new boolean[] {true, false}) {
                    Function<Side, View> separate = side -> {
                        View x = side.normal(1, rows, inputs);
                        if (factors) {
                            side.backend.multiply(x, side.normal(3, inputs), x);
                        }
                        if (shifts) {
                            side.backend.add(x, side.normal(4, inputs), x);
                        }
                        side.backend.hadamard(x, block, x);
                        View y = side.scope.floats(rows, OUTPUTS);
                        side.backend.linear(x, grid, weights(side, inputs), y);
                        return y;
                    };
                    String what = grid + ", " + factors + ", " + shifts;
                    assertArrayEquals(Side.run(backend, separate),
                            Side.run(backend, side -> atOnce(side, rows, inputs, factors, shifts, block, grid)), what);
                }
            }
        }
    }

    /** A layer whose inputs are transformed and coded in one step. */
    static View atOnce(Side side, int rows, int inputs, boolean factors, boolean shifts, int block, CodeGrid grid) {
        View y = side.scope.floats(rows, OUTPUTS);
        RowTransform transform = new RowTransform(factors ? Optional.of(side.normal(3, inputs)) : Optional.empty(),
                shifts ? Optional.of(side.normal(4, inputs)) : Optional.empty(), block);
        side.backend.linear(side.normal(1, rows, inputs), transform, grid, weights(side, inputs), y);
        return y;
    }

    /** A grid of each kind. */
    static List<CodeGrid> grids() {
        List<CodeGrid> grids = new ArrayList<>(CodesContractTest.levels().subList(0, 2));
        grids.add(CodesContractTest.uniform(8, 0.31f));
        grids.add(CodesContractTest.geluTwin(32, 0.17f / 32, 0.09f, true));
        grids.add(CodesContractTest.geluTwin(128, 0.17f / 128, 0.021f, false));
        grids.add(CodesContractTest.levels().get(0).with(RowScale.RANGE));
        // its codes take all of a byte, so that no zero point fits beside them
        grids.add(CodesContractTest.levels().get(3).with(RowScale.RANGE));
        grids.add(CodesContractTest.uniform(8, 0.9f / 15).with(RowScale.RANGE));
        grids.add(CodesContractTest.uniform(128, 1f / 255).with(RowScale.RANGE));
        return grids;
    }

    private static Backend.Linear weights(Side side, int inputs) {
        byte[] codes = new byte[OUTPUTS * inputs];
        new Random(1).nextBytes(codes);
        float[] steps = new float[OUTPUTS];
        for (int i = 0; i < OUTPUTS; i++) {
            steps[i] = 0.001f * (1 + i % 7);
        }
        return side.backend.linear(side.scope, codes, steps, inputs, side.bias(true, OUTPUTS));
    }
}
