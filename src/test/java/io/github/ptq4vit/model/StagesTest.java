package io.github.ptq4vit.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Buffer;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The stages of every kind of unit, and the memory of what they compute. */
class StagesTest {
    private static final int IMAGES = 3;

    static List<Architecture> architectures() {
        return SmallArchitectures.all();
    }

    static Stream<UnitShape> units() {
        return SmallArchitectures.all().stream().flatMap(config -> config.units().stream());
    }

    @ParameterizedTest
    @MethodSource("units")
    void stagesReadWhatStagesBeforeThemWroteAndEndInTheOutput(UnitShape unit) {
        List<Stage> stages = unit.stages();
        Map<String, Shape> written = new HashMap<>(Map.of(unit.input().array(), unit.input().sizes()));
        for (Stage stage : stages) {
            stage.inputs().forEach(value -> assertEquals(value.sizes(), written.get(value.array()), value.toString()));
            assertEquals(Optional.empty(), Optional.ofNullable(written.put(stage.output().array(), stage.output().sizes())));
        }
        assertEquals(unit.input(), stages.get(0).input());
        assertEquals(unit.output(), stages.get(stages.size() - 1).output());
        Set<Layer> layers = stages.stream().filter(stage -> stage instanceof Stage.OfLayer).map(stage -> ((Stage.OfLayer) stage).layer())
                .collect(Collectors.toSet());
        assertEquals(Set.copyOf(unit.layers()), layers);
    }

    /** Gradients rest on it: parts of an array have their gradients side by side. */
    @ParameterizedTest
    @MethodSource("units")
    void anArrayIsReadAsItIsOrEachOfItsPartsOnce(UnitShape unit) {
        List<Value> read = unit.stages().stream().flatMap(stage -> stage.inputs().stream()).toList();
        for (Value value : read) {
            long parts = value.heads().map(Value.Heads::parts).orElse(0);
            long readers = read.stream().filter(other -> other.array().equals(value.array())).count();
            assertEquals(parts, read.stream().filter(other -> other.array().equals(value.array()) && other.heads().isPresent())
                    .distinct().count());
            assertTrue(parts == 0 || readers == parts, value.toString());
        }
    }

    @ParameterizedTest
    @MethodSource("units")
    void noStageWritesOverWhatIsReadLater(UnitShape unit) {
        List<Stage> stages = unit.stages();
        try (Backend backend = new CpuBackend(1); Scope scope = backend.scope()) {
            for (boolean kept : new boolean[] {false, true}) {
                Values values = new ArrayPlan(stages, kept).allocate(scope, scope.floats(unit.input().arraySizes(IMAGES)),
                        scope.floats(unit.output().arraySizes(IMAGES)));
                for (int i = 0; i < stages.size(); i++) {
                    String written = stages.get(i).output().array();
                    boolean inPlace = stages.get(i) instanceof Stage.InPlace && stages.get(i).input().heads().isEmpty();
                    for (String needed : needed(unit, i, kept)) {
                        boolean own = inPlace && needed.equals(stages.get(i).input().array()) && !needed(unit, i + 1, kept).contains(needed);
                        if (!own) {
                            assertNotSame(buffer(values, needed), buffer(values, written), written + " over " + needed);
                        }
                    }
                }
            }
        }
    }

    /** Arrays that were there before a stage, and that it or a later one reads, or that are kept. */
    private static Set<String> needed(UnitShape unit, int from, boolean kept) {
        List<Stage> stages = unit.stages();
        Set<String> before = new HashSet<>(Set.of(unit.input().array()));
        stages.subList(0, from).forEach(stage -> before.add(stage.output().array()));
        Set<String> needed = new HashSet<>(Set.of(unit.input().array()));
        stages.subList(from, stages.size()).forEach(stage -> stage.inputs().forEach(value -> needed.add(value.array())));
        if (kept) {
            stages.forEach(stage -> stage.kept().forEach(value -> needed.add(value.array())));
        }
        needed.retainAll(before);
        return needed;
    }

    private static Buffer buffer(Values values, String array) {
        return values.arrays().get(array).buffer();
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void aForwardPassThatKeepsNothingComputesTheSameBits(Architecture config) {
        VisionTransformer model = RandomVit.of(config, 1);
        try (Backend backend = new CpuBackend(1); Scope scope = backend.scope()) {
            FloatArithmetic arithmetic = new FloatArithmetic(backend, scope, model);
            for (Unit unit : new Network(backend, scope, model).units()) {
                View input = unit.input(scope, IMAGES);
                backend.upload(random(input.sizes()), input);
                View kept = unit.output(scope, IMAGES);
                unit.forward(arithmetic, unit.values(scope, input, kept));
                View alone = unit.output(scope, IMAGES);
                unit.forward(arithmetic, input, alone);
                assertArrayEquals(backend.download(kept).toArray(), backend.download(alone).toArray(), unit.shape().name());
            }
        }
    }

    private static Tensor random(int... sizes) {
        Random random = new Random(1);
        Tensor tensor = Tensor.zeros(sizes);
        for (int i = 0; i < tensor.data().limit(); i++) {
            tensor.data().put(i, (float) random.nextGaussian());
        }
        return tensor;
    }

    /** Two arrays of tokens, queries with keys and values, one array of scores, one of the MLP. */
    @Test
    void aForwardPassThatKeepsNothingTakesTheMemoryOfWhatLivesTogether() {
        int tokens = 197;
        int dim = 192;
        int elements = (2 + 3 + 4) * tokens * dim + 3 * tokens * tokens;
        for (boolean layerScale : new boolean[] {false, true}) {
            UnitShape block = new BlockShape("block", tokens, dim, 3, 4 * dim, Activation.GELU, Optional.empty(), layerScale);
            assertEquals(elements, elements(block));
        }
        int grid = 56 * 56;
        UnitShape shifted = new BlockShape("block", grid, 96, 3, 4 * 96, Activation.GELU, Optional.of(new Windows(56, 7, 3)), false);
        assertEquals((2 + 3 + 4) * grid * 96 + 64 * 3 * 49 * 49, elements(shifted));
    }

    /** Numbers of an image in the memory of a forward pass but for input and output. */
    private static long elements(UnitShape unit) {
        try (Backend backend = new CpuBackend(1); Scope scope = backend.scope()) {
            Values values = new ArrayPlan(unit.stages(), false).allocate(scope, scope.floats(unit.input().arraySizes(1)),
                    scope.floats(unit.output().arraySizes(1)));
            return values.arrays().entrySet().stream()
                    .filter(entry -> !Set.of(unit.input().array(), unit.output().array()).contains(entry.getKey()))
                    .map(entry -> entry.getValue().buffer()).distinct().mapToLong(Buffer::elements).sum();
        }
    }
}
