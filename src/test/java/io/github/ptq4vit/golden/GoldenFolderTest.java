package io.github.ptq4vit.golden;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.golden.GoldenFolder.Kind;
import io.github.ptq4vit.golden.GoldenFolder.Layer;
import io.github.ptq4vit.golden.GoldenRun.Operand;
import io.github.ptq4vit.golden.GoldenRun.Search;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.TensorFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class GoldenFolderTest {

    static List<Path> folders() {
        return GoldenFolder.folders();
    }

    @ParameterizedTest
    @MethodSource("folders")
    void everyRunsSearchesAreCompleteAndTheBestIsTheTopOfTheCurve(Path path) {
        try (GoldenFolder folder = GoldenFolder.open(path)) {
            assertFalse(folder.runs().isEmpty());
            for (GoldenRun run : folder.runs()) {
                assertFalse(run.layers().isEmpty());
                for (Layer layer : run.layers()) {
                    List<Search> searches = run.searches(layer.name());
                    assertEquals(run.rounds() * (layer.isConvolution() ? 1 : 2), searches.size(), layer.name());
                    for (int i = 0; i < searches.size(); i++) {
                        Search search = searches.get(i);
                        assertEquals(operand(layer, i), search.operand());
                        assertEquals(layer.isConvolution() ? i : i / 2, search.round());
                        boolean threshold = layer.isSoftmaxTwin() && search.operand() == Operand.LEFT;
                        assertEquals(threshold ? 20 : 100, search.candidates());
                        assertBestIsTheTop(search);
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("folders")
    void everySearchedLayerHasItsRawTensorsAndIntervals(Path path) {
        try (GoldenFolder folder = GoldenFolder.open(path)) {
            for (GoldenRun run : folder.runs()) {
                for (Layer layer : run.layers()) {
                    assertTrue(folder.hasRaw(layer.name()), layer.name());
                    Shape output = folder.raw(layer.name(), "output").shape();
                    assertEquals(output, folder.raw(layer.name(), "grad_pseudolabel").shape());
                    run.quantOutput(layer.name()).ifPresent(tensor -> assertEquals(output, tensor.shape()));
                    for (String operand : layer.isMatmul() ? List.of("A", "B") : List.of("w", "a")) {
                        assertTrue(run.interval(layer.name(), operand + "_interval").isPresent(), layer.name());
                    }
                    assertEquals(layer.isSoftmaxTwin(), run.interval(layer.name(), "split").isPresent());
                    assertEquals(layer.isGeluTwin(), run.interval(layer.name(), "a_neg_interval").isPresent());
                    if (!layer.isMatmul()) {
                        long weights = folder.weights().info(layer.name() + ".weight").shape().elements();
                        run.weightCodes(layer.name()).ifPresent(codes -> assertEquals(weights, codes.length));
                    }
                }
            }
        }
    }

    @Test
    void theTrimmedVitIsComplete() {
        try (GoldenFolder folder = GoldenFolder.open(GoldenFolder.trimmed().resolve("vit_tiny"))) {
            assertEquals(new GoldenFolder.Model(Kind.VIT, 32, 8, 0, 64, List.of(2), List.of(2), 10, 4, true, 1e-6),
                    folder.model());
            assertEquals(14, folder.layers().size());
            assertEquals(9, folder.runs().size());
            assertEquals("patch_embed.proj", folder.layers().get(0).name());
            assertEquals("head", folder.layers().get(13).name());
            assertTrue(folder.layers().stream().allMatch(layer -> folder.hasRaw(layer.name())));
            for (GoldenRun run : folder.runs()) {
                assertEquals(14, run.layers().size());
            }
            GoldenRun run = folder.run("PTQ4ViT_w4a4_pseudolabel");
            assertEquals("hessian", run.metric());
            assertEquals(4, run.weightBits());
            assertEquals(4, run.activationBits());
            assertEquals(64, run.interval("patch_embed.proj", "w_interval").orElseThrow().length);
            assertEquals(3, run.searches("blocks.0.attn.qkv").get(0).groups());
            assertEquals(Shape.of(8, 17, 192), run.quantOutput("blocks.0.attn.qkv").orElseThrow().shape());
            assertEquals(Shape.of(16, 10), run.heldoutQuantLogits().shape());
            assertEquals(Shape.of(16, 3, 32, 32), folder.inputs().read("heldout").shape());
            assertEquals(Shape.of(8, 10), folder.raw().read("logits").shape());
        }
    }

    @Test
    void theTrimmedSwinHasALayerOfEveryKindAndAllWeights() {
        try (GoldenFolder folder = GoldenFolder.open(GoldenFolder.trimmed().resolve("swin_tiny"))) {
            assertEquals(new GoldenFolder.Model(Kind.SWIN, 32, 4, 4, 32, List.of(2, 2), List.of(2, 4), 10, 4, true,
                    1e-5), folder.model());
            assertEquals(27, folder.layers().size());
            assertEquals(9, folder.runs().size());
            Set<String> kinds = folder.layers().stream().map(Layer::name)
                    .map(GoldenFolderTest::kind).collect(Collectors.toSet());
            for (GoldenRun run : folder.runs()) {
                assertEquals(9, run.layers().size());
                assertEquals(kinds, run.layers().stream().map(Layer::name).map(GoldenFolderTest::kind)
                        .collect(Collectors.toSet()));
            }
            for (Layer layer : folder.layers()) {
                assertEquals(!layer.isMatmul(), folder.weights().contains(layer.name() + ".weight"));
            }
            assertEquals(Shape.of(32, 2, 16, 16), folder.raw("layers.0.blocks.1.attn.matmul2", "input_A").shape());
            assertFalse(folder.weights().contains("layers.0.downsample.reduction.bias"));
            assertArrayEquals(folder.inputs().read("calib").toArray(),
                    folder.raw("patch_embed.proj", "input").toArray());
        }
    }

    @Test
    void aFolderWithoutGoldenNumbersIsRefusedByName(@TempDir Path empty) {
        assertTrue(assertThrows(IllegalStateException.class, () -> GoldenFolder.modelsIn(empty)).getMessage()
                .contains(empty.toString()));
        Path missing = empty.resolve("missing");
        assertTrue(assertThrows(IllegalStateException.class, () -> GoldenFolder.modelsIn(missing)).getMessage()
                .contains(missing.toString()));
        Path vit = GoldenFolder.trimmed().resolve("vit_tiny");
        assertEquals(List.of(vit), GoldenFolder.modelsIn(vit));
        assertEquals(2, GoldenFolder.modelsIn(GoldenFolder.trimmed()).size());
        try (GoldenFolder folder = GoldenFolder.open(vit)) {
            assertThrows(IllegalArgumentException.class, () -> folder.run("PTQ4ViT_w5a5_pseudolabel"));
            assertThrows(TensorFileException.class, () -> folder.raw("blocks.7.mlp.fc1", "output"));
        }
    }

    private static Operand operand(Layer layer, int index) {
        if (layer.isConvolution()) {
            return Operand.WEIGHT;
        }
        boolean first = index % 2 == 0;
        return layer.isMatmul() ? first ? Operand.LEFT : Operand.RIGHT : first ? Operand.WEIGHT : Operand.ACTIVATION;
    }

    private static void assertBestIsTheTop(Search search) {
        assertEquals(search.groups(), search.best().length);
        for (int group = 0; group < search.groups(); group++) {
            int top = 0;
            for (int candidate = 1; candidate < search.candidates(); candidate++) {
                if (score(search, candidate, group) > score(search, top, group)) {
                    top = candidate;
                }
            }
            assertEquals(top, search.best()[group]);
        }
    }

    private static float score(Search search, int candidate, int group) {
        return search.curve().data().get(candidate * search.groups() + group);
    }

    private static String kind(String layer) {
        return layer.substring(layer.lastIndexOf('.') + 1) + (layer.contains("attn") ? " of attention" : "");
    }
}
