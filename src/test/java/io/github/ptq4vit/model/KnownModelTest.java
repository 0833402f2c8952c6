package io.github.ptq4vit.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.tensor.SafetensorsWriter;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** The eleven models of the paper: layers, shapes and numbers of parameters. */
class KnownModelTest {

    static Stream<KnownModel> models() {
        return KnownModel.all().stream();
    }

    /** Layers as the paper counts them, parameters as timm does. */
    @ParameterizedTest
    @CsvSource({"vit_small_patch32_224, 74, 22878952", "vit_small_patch16_224, 74, 22050664", "vit_base_patch16_224, 74, 86567656",
        "vit_base_patch16_384, 74, 86859496", "deit_small_patch16_224, 74, 22050664", "deit_base_patch16_224, 74, 86567656",
        "deit_base_patch16_384, 74, 86859496", "swin_tiny_patch4_window7_224, 77, 28288354",
        "swin_small_patch4_window7_224, 149, 49606258", "swin_base_patch4_window7_224, 149, 87768224",
        "swin_base_patch4_window12_384, 149, 87903584"})
    void layersAndParametersAreCountedAsElsewhere(String name, int layers, long parameters) {
        Architecture config = KnownModel.named(name).config();
        assertEquals(layers, config.layers().size());
        assertEquals(parameters, config.parameters());
    }

    @ParameterizedTest
    @MethodSource("models")
    void layersHaveTimmsNamesAndOrder(KnownModel model) {
        List<String> names = model.config().layers().stream().map(Layer::name).toList();
        assertEquals(names.size(), names.stream().distinct().count());
        assertEquals("patch_embed.proj", names.get(0));
        assertEquals("head", names.get(names.size() - 1));
        String block = model.config() instanceof SwinConfig ? "layers.0.blocks.0" : "blocks.0";
        assertEquals(List.of(block + ".attn.qkv", block + ".attn.proj", block + ".attn.matmul1", block + ".attn.matmul2",
                block + ".mlp.fc1", block + ".mlp.fc2"), names.subList(1, 7));
        if (model.config() instanceof SwinConfig config) {
            assertEquals("layers.0.downsample.reduction", names.get(13));
            assertEquals(3, names.stream().filter(name -> name.endsWith("reduction")).count());
            assertTrue(names.contains("layers.2.blocks." + (config.depths().get(2) - 1) + ".mlp.fc2"));
        }
        for (Layer layer : model.config().layers()) {
            assertEquals(layer.role().isMatmul(), layer.weight().isEmpty());
        }
    }

    @ParameterizedTest
    @MethodSource("models")
    void unitsFitTogether(KnownModel model) {
        Architecture config = model.config();
        UnitShape before = config.units().get(0);
        assertEquals(config.dim(), before.input().sizes().size(1));
        for (UnitShape unit : config.units().subList(1, config.units().size())) {
            assertEquals(before.output().sizes(), unit.input().sizes());
            before = unit;
        }
        assertEquals(config.features(), before.output().sizes().size(1));
        if (config instanceof SwinConfig swin) {
            int side = swin.window();
            assertEquals(side * side, before.output().sizes().size(0));
            for (UnitShape unit : config.units()) {
                if (unit instanceof BlockShape block) {
                    Windows windows = block.windows().orElseThrow();
                    boolean odd = Integer.parseInt(block.name().substring(block.name().lastIndexOf('.') + 1)) % 2 == 1;
                    assertEquals(odd && windows.grid() > side ? side / 2 : 0, windows.shift(), block.name());
                    assertEquals(32, block.headDim());
                }
            }
        }
    }

    /** All tensors are written, without their numbers, and the file is recognised. */
    @ParameterizedTest
    @MethodSource("models")
    void weightsAreRecognisedAndCheckedAgainstTheName(KnownModel model, @TempDir Path folder) {
        Path file = folder.resolve("zeros.safetensors");
        FloatBuffer zeros = FloatBuffer.allocate(1 << 23);
        SafetensorsWriter writer = new SafetensorsWriter();
        model.config().withClasses(10).tensors().forEach((name, shape) ->
                writer.add(name, new Tensor(shape, zeros.slice(0, Math.toIntExact(shape.elements())))));
        writer.write(file);
        Architecture found = ModelReader.read(file, OptionalInt.empty()).config();
        assertEquals(model.config().withClasses(10).tensors(), found.tensors());
        assertEquals(model.config().imageSize(), found.imageSize());
        assertEquals(model.config().layers().size(), found.layers().size());
        assertEquals(model.config().withClasses(10), ModelReader.read(file, known(model.name())).config());
        String other = model.config().imageSize() == 384 ? "vit_small_patch16_224" : "vit_base_patch16_384";
        assertThrows(ModelException.class, () -> ModelReader.read(file, known(other)));
        assertEquals(Optional.of(model), KnownModel.like(found, "/models/" + model.name() + ".pth"));
    }

    private static ReadOptions known(String name) {
        return new ReadOptions(OptionalInt.empty(), OptionalInt.empty(), Optional.of(KnownModel.named(name)));
    }

    @Test
    void withoutItsNameOnlyWhatHasNoDoubleIsKnown() {
        assertEquals("swin_small_patch4_window7_224",
                KnownModel.like(KnownModel.named("swin_small_patch4_window7_224").config(), "model").orElseThrow().name());
        assertEquals(Optional.empty(), KnownModel.like(KnownModel.named("deit_base_patch16_224").config(), "model"));
        assertEquals("deit_base_patch16_224", KnownModel.like(KnownModel.named("vit_base_patch16_224").config().withClasses(5),
                "DeiT-base-patch16-224.pth").orElseThrow().name());
    }

    @Test
    void anUnknownNameIsAnsweredWithAllOthers() {
        String message = assertThrows(ModelException.class, () -> KnownModel.named("resnet50")).getMessage();
        assertTrue(message.contains("resnet50") && message.contains("swin_base_patch4_window12_384"), message);
    }

    @Test
    void thePaperHasFiguresForEqualWidthsOfEightAndSix() {
        KnownModel.Paper paper = KnownModel.named("vit_base_patch16_384").paper();
        assertEquals(Optional.of(46.88), paper.top1("base", 6, 6));
        assertEquals(Optional.of(85.82), paper.top1("ptq4vit", 8, 8));
        assertEquals(Optional.empty(), paper.top1("ptq4vit", 4, 4));
        assertEquals(Optional.empty(), paper.top1("ptq4vit", 4, 8));
    }

    @Test
    void shiftedWindowsKeepApartWhatWasApart() {
        // a grid of 4 x 4 in windows of 2 x 2, shifted by one: the first window holds the tokens 5, 6, 9, 10
        Windows windows = new Windows(4, 2, 1);
        assertEquals(List.of(5, 6, 9, 10, 7, 4, 11, 8), java.util.Arrays.stream(windows.order().places()).boxed().toList().subList(0, 8));
        float[] bias = windows.bias(Tensor.of(Shape.of(9, 1), 0, 1, 2, 3, 4, 5, 6, 7, 8)).toArray();
        // first window: all were neighbours; row of the first token: itself, right, below, below right
        assertEquals(List.of(4f, 3f, 1f, 0f), floats(bias, 0));
        // second window: tokens 7 and 4 come from opposite edges
        assertEquals(List.of(4f, -97f, 1f, -100f), floats(bias, 16));
    }

    private static List<Float> floats(float[] numbers, int from) {
        return List.of(numbers[from], numbers[from + 1], numbers[from + 2], numbers[from + 3]);
    }
}
