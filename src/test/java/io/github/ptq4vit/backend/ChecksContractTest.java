package io.github.ptq4vit.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.github.ptq4vit.tensor.Tensor;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Every operation refuses views that are too short, too long, strided, or of codes, before it reads what is not its own. */
@EveryBackend
class ChecksContractTest {
    private static final int ROWS = 4;
    private static final int COLUMNS = 6;
    private static final CodeGrid GRID = CodesContractTest.uniform(8, 0.1f);
    /** Operations that take no views, or whose arguments {@link MatmulProblem} checks. */
    private static final Set<String> WITHOUT_VIEWS = Set.of("close", "device", "hostInstead", "parallel", "reproducible", "scope", "scoring",
            "scoringSeconds");

    private final Backend backend;
    private final Set<String> checked = new TreeSet<>();
    private Side side;
    /** What fits, and what does not: a row less, a row longer by one, codes, and every other column. */
    private View x;
    private View y;
    private View vector;
    private List<View> wrong;
    private List<View> wrongVectors;

    ChecksContractTest(BackendUnderTest subject) {
        this.backend = subject.open().get();
    }

    @BeforeEach
    void allocate() {
        side = Side.of(backend);
        x = side.normal(1, ROWS, COLUMNS);
        y = side.normal(2, ROWS, COLUMNS);
        vector = side.normal(3, COLUMNS);
        View codes = View.over(side.scope.buffer(DataType.INT8, ROWS * COLUMNS), ROWS, COLUMNS);
        wrong = List.of(x.slice(0, 0, ROWS - 1), side.normal(4, ROWS, COLUMNS + 1), codes, side.normal(5, ROWS, 2 * COLUMNS).slice(1, 0, COLUMNS));
        wrongVectors = List.of(vector.slice(0, 0, COLUMNS - 1), side.normal(6, COLUMNS + 1), codes.reshape(ROWS * COLUMNS).slice(0, 0, COLUMNS),
                side.normal(7, COLUMNS, 2).slice(1, 0, 1).dropAxis(1));
    }

    @AfterEach
    void close() {
        side.close();
        backend.close();
    }

    private interface OfView {
        void run(View view);
    }

    private void refused(String operation, List<View> views, OfView call) {
        checked.add(operation);
        for (View view : views) {
            assertThrows(IllegalArgumentException.class, () -> call.run(view), () -> operation + " of " + view + " on "
                    + backend.device().device());
        }
    }

    private void refused(String operation, Runnable call) {
        checked.add(operation);
        assertThrows(IllegalArgumentException.class, call::run, () -> operation + " on " + backend.device().device());
    }

    @Test
    void everyOperationChecksItsSizes() {
        transfers();
        functions();
        gradients();
        reductions();
        products();
        scores();
        Set<String> all = Arrays.stream(Backend.class.getDeclaredMethods()).filter(m -> Modifier.isPublic(m.getModifiers()))
                .map(Method::getName).filter(name -> !WITHOUT_VIEWS.contains(name)).collect(Collectors.toCollection(TreeSet::new));
        assertEquals(all, checked, "operations that this test has");
    }

    private void transfers() {
        Tensor numbers = Tensor.zeros(ROWS, COLUMNS);
        refused("upload", wrong, view -> backend.upload(numbers, view));
        refused("download", wrong.subList(2, 4), backend::download);
        refused("zero", wrong.subList(2, 4), backend::zero);
        refused("copy", wrong.subList(0, 2), view -> backend.copy(x, view));
        refused("copy", wrong.subList(2, 3), view -> backend.copy(x, view));
        refused("gather", wrong, view -> backend.gather(x, new int[] {3, 2, 1, 0}, view));
        refused("gather", wrong.subList(1, 4), view -> backend.gather(view, new int[] {3, 2, 1, 0}, y));
        refused("gather", () -> backend.gather(x, new int[] {0, 1, 2, ROWS}, y));
        refused("gather", () -> backend.gather(x, new int[] {0, 1, 2, -1}, y));
        refused("gather", () -> backend.gather(x, new int[] {0, 1, 2}, y));
        View codes = wrong.get(2);
        refused("quantize", wrong, view -> backend.quantize(view, GRID, 0, codes));
        refused("quantize", () -> backend.quantize(x, GRID, 0, y));
        refused("quantize", () -> backend.quantize(x, GRID, 1, codes));
    }

    private void functions() {
        refused("layerNorm", wrong, view -> backend.layerNorm(x, vector, vector, 1e-6f, view));
        refused("layerNorm", wrongVectors, view -> backend.layerNorm(x, view, vector, 1e-6f, y));
        refused("layerNorm", wrongVectors, view -> backend.layerNorm(x, vector, view, 1e-6f, y));
        refused("softmax", wrong, view -> backend.softmax(x, 1, view));
        refused("softmax", wrong, view -> backend.softmax(view, 1, y));
        refused("gelu", wrong, view -> backend.gelu(x, view));
        refused("gelu", wrong, view -> backend.gelu(view, y));
        refused("add", wrong, view -> backend.add(x, y, view));
        refused("add", wrong, view -> backend.add(x, view, y));
        refused("add", wrongVectors, view -> backend.add(x, view, y));
        refused("multiply", wrong, view -> backend.multiply(x, vector, view));
        refused("multiply", wrongVectors, view -> backend.multiply(x, view, y));
        refused("addSquare", wrong, view -> backend.addSquare(x, 1, view));
        refused("magnitudes", wrong, view -> backend.magnitudes(x, view));
        refused("decoded", wrong, view -> backend.decoded(x, GRID, view));
        refused("hadamard", wrong, view -> backend.hadamard(x, 2, view));
        refused("hadamard", () -> backend.hadamard(x, 4, y));
    }

    private void gradients() {
        View dx = side.normal(8, ROWS, COLUMNS);
        refused("layerNormBackward", wrong, view -> backend.layerNormBackward(x, vector, 1e-6f, view, dx));
        refused("layerNormBackward", wrong, view -> backend.layerNormBackward(x, vector, 1e-6f, y, view));
        refused("layerNormBackward", wrongVectors, view -> backend.layerNormBackward(x, view, 1e-6f, y, dx));
        refused("softmaxBackward", wrong, view -> backend.softmaxBackward(x, view, 1, dx));
        refused("softmaxBackward", wrong, view -> backend.softmaxBackward(x, y, 1, view));
        refused("geluBackward", wrong, view -> backend.geluBackward(x, view, dx));
        refused("geluBackward", wrong, view -> backend.geluBackward(x, y, view));
    }

    private void reductions() {
        View a = x.reshape(2, 2, COLUMNS);
        refused("squaredErrors", wrong, view -> backend.squaredErrors(a, view, Optional.empty()));
        refused("squaredErrors", wrong, view -> backend.squaredErrors(a, a, Optional.of(view)));
        refused("squaredErrors", () -> backend.squaredErrors(x, y, Optional.empty()));
        refused("maxima", () -> backend.maxima(x, true));
        refused("maxima", () -> backend.maxima(side.normal(9, 2, 2, 2 * COLUMNS).slice(2, 0, COLUMNS), true));
        refused("rowSums", wrong.subList(2, 4), backend::rowSums);
    }

    private void products() {
        Tensor weight = Tensor.zeros(5, COLUMNS);
        Backend.Linear numbers = backend.linear(side.scope, weight, Optional.empty());
        Backend.Linear codes = backend.linear(side.scope, new byte[5 * COLUMNS], new float[5], COLUMNS, Optional.empty());
        View out = side.normal(8, ROWS, 5);
        List<View> wrongOut = List.of(out.slice(0, 0, ROWS - 1), side.normal(9, ROWS, 4), side.normal(9, ROWS, 10).slice(1, 0, 5));
        refused("linear", wrong, view -> backend.linear(view, numbers, out));
        refused("linear", wrongOut, view -> backend.linear(x, numbers, view));
        refused("linear", wrong, view -> backend.linear(view, GRID, codes, out));
        refused("linear", wrongOut, view -> backend.linear(x, GRID, codes, view));
        refused("linear", wrongVectors, view -> backend.linear(x, new RowTransform(Optional.of(view), Optional.empty(), 1), GRID, codes, out));
        refused("linear", wrongVectors, view -> backend.linear(x, new RowTransform(Optional.empty(), Optional.of(view), 1), GRID, codes, out));
        refused("linear", wrong, view -> backend.linear(view, new RowTransform(Optional.empty(), Optional.empty(), 2), GRID, codes, out));
        refused("linear", wrongOut, view -> backend.linear(x, new RowTransform(Optional.empty(), Optional.empty(), 2), GRID, codes, view));
        refused("linear", () -> backend.linear(x, new RowTransform(Optional.empty(), Optional.empty(), 4), GRID, codes, out));
        refused("linear", () -> backend.linear(side.scope, weight, Optional.of(Tensor.zeros(4))));
        refused("linear", () -> backend.linear(side.scope, Tensor.zeros(5), Optional.empty()));
        refused("linear", () -> backend.linear(side.scope, new byte[29], new float[5], COLUMNS, Optional.empty()));
        refused("linear", () -> backend.linear(side.scope, new byte[30], new float[5], COLUMNS, Optional.of(Tensor.zeros(6))));
        refused("linearBackward", wrong, view -> backend.linearBackward(out, numbers, view));
        refused("linearBackward", wrongOut, view -> backend.linearBackward(view, numbers, x));
        View b = side.normal(10, COLUMNS, 3);
        View c = side.normal(11, ROWS, 3);
        refused("matmul", wrong.subList(1, 3), view -> backend.matmul(view, b, c));
        refused("matmul", () -> backend.matmul(x, b.slice(0, 0, 5), c));
        refused("matmul", () -> backend.matmul(x, b, c.slice(0, 0, 3)));
        refused("matmul", () -> backend.matmul(x, b, side.normal(12, ROWS, 2)));
        refused("matmul", () -> backend.matmul(x, b, c.reshape(1, ROWS, 3)));
        View left = x.reshape(1, 2, 2, COLUMNS);
        View right = side.normal(13, 1, 2, COLUMNS, 3);
        View product = side.normal(14, 1, 2, 2, 3);
        List<CodeGrid> one = List.of(GRID);
        refused("matmul", () -> backend.matmul(left, List.of(GRID, GRID, GRID), right, one, product));
        refused("matmul", () -> backend.matmul(left, one, right, List.of(), product));
        refused("matmul", () -> backend.matmul(left, one, right.slice(1, 0, 1), one, product));
        refused("matmul", () -> backend.matmul(left, one, right, one, product.slice(3, 0, 2)));
        refused("matmul", () -> backend.matmul(x, one, b, one, c));
    }

    private void scores() {
        ScoreProblem linear = ScoreProblem.linear(5, 7, 6).columns(3);
        MatmulProblem on = linear.on(side);
        List<CodeGrid> one = linear.rightGrids(6, 0, 1);
        List<CodeGrid> left = linear.leftGrids(6, 0, 1);
        refused("score", () -> backend.score(on, Operand.RIGHT, left, List.of(linear.rightGrids(6, 0, 2)), 0, 5));
        refused("score", () -> backend.score(on, Operand.RIGHT, left, List.of(one, linear.rightGrids(6, 0, 3)), 0, 5));
        refused("score", () -> backend.score(on, Operand.LEFT, one, List.of(linear.leftGrids(6, 0, 3)), 0, 5));
        refused("score", () -> backend.score(on, Operand.LEFT, List.of(), List.of(left), 0, 5));
        refused("score", () -> backend.score(on, Operand.RIGHT, linear.leftGrids(6, 0, 3), List.of(one), 0, 5));
        List<CodeGrid> twin = ScoreProblem.linear(5, 7, 6).with(ScoreProblem.Left.GELU_TWIN).leftGrids(6, 0, 1);
        refused("score", () -> backend.score(on, Operand.LEFT, twin, List.of(left), 0, 5));
        refused("score", () -> backend.score(on, Operand.RIGHT, left, List.of(twin), 0, 5));
        refused("score", () -> backend.score(on, Operand.LEFT, one, List.of(left, twin), 0, 5));
        refused("score", () -> backend.score(on, Operand.LEFT, one, List.of(left), 3, 6));
    }

    @Test
    void aNewBackendWritesFewOperations() {
        List<String> needed = Arrays.stream(Backend.class.getDeclaredMethods()).filter(m -> Modifier.isAbstract(m.getModifiers()))
                .map(Method::getName).sorted().toList();
        assertEquals(List.of("close", "copy", "device", "download", "quantize", "scope", "upload"), needed);
    }
}
