package io.github.ptq4vit.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.tensor.SafetensorsFile;
import io.github.ptq4vit.tensor.Tensor;
import java.net.URISyntaxException;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The models of {@code src/test/resources/models}, written by PyTorch, with the logits that it computes. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class LayoutsTest {
    /** Two float32 computations of a small network, relative to the largest logit. */
    private static final double RELATIVE = 1e-5;

    private final Path folder = folder();
    private final SafetensorsFile expected = SafetensorsFile.open(folder.resolve("expected.safetensors"));
    private final Backend backend = new CpuBackend(1);

    @AfterAll
    void close() {
        expected.close();
        backend.close();
    }

    private static Path folder() {
        try {
            return Path.of(LayoutsTest.class.getResource("/models").toURI());
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"vit/timm.pth", "vit/nested.pth", "vit/legacy.pth", "vit/parameters.pt", "vit/torchvision.pth", "vit-hf",
        "vit-hf/model.safetensors", "vit-shards", "vit-shards/model.safetensors.index.json"})
    void aVitIsTheSameInEveryLayout(String path) {
        VisionTransformer model = read("vit/timm.safetensors", ReadOptions.heads(2));
        VisionTransformer other = read(path, path.startsWith("vit-") ? ReadOptions.NONE : ReadOptions.heads(2));
        same(model, other);
        agrees("vit", other, "images");
    }

    @ParameterizedTest
    @ValueSource(strings = {"swin/timm-new.safetensors", "swin/torchvision.pth", "swin-hf"})
    void aSwinIsTheSameInEveryLayout(String path) {
        VisionTransformer model = read("swin/timm-old.safetensors", ReadOptions.NONE);
        VisionTransformer other = read(path, size(32));
        same(model, other);
        agrees("swin", other, "images");
    }

    private void same(VisionTransformer model, VisionTransformer other) {
        assertEquals(model.config(), other.config());
        assertEquals(model.tensors().keySet(), other.tensors().keySet());
        model.tensors().forEach((name, tensor) -> {
            assertEquals(tensor.shape(), other.tensor(name).shape(), name);
            assertArrayEquals(tensor.toArray(), other.tensor(name).toArray(), name);
        });
        assertArrayEquals(logits(model, expected.read("images")), logits(other, expected.read("images")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"deit-distilled", "deit3", "registers", "registers-positioned", "average", "average-without-class-token",
        "average-of-norm", "without-qkv-bias", "patch14", "patch32"})
    void everyKindComputesWhatPyTorchComputes(String name) {
        VisionTransformer model = read("kinds/" + name + ".safetensors", ReadOptions.NONE);
        agrees(name, model, expected.contains(name + " images") ? name + " images" : "images");
        VitConfig config = (VitConfig) model.config();
        assertEquals(name.equals("deit-distilled") ? 2 : 1, config.classifiers());
        assertEquals(name.startsWith("registers") ? 4 : 0, config.prefix().registers());
        assertEquals(!name.contains("without-class") && !name.equals("average-of-norm"), config.prefix().classToken());
        assertEquals(name.equals("deit3") || name.equals("registers"), config.layerScale());
    }

    @Test
    void aLayerBeforeTheClassifierIsComputed() {
        VisionTransformer model = read("kinds/pre-logits.pth", ReadOptions.heads(2));
        assertEquals(12, ((VitConfig) model.config()).representation());
        agrees("pre-logits", model, "images");
    }

    @ParameterizedTest
    @CsvSource({"deit-hf-teacher, deit-distilled, 2", "deit-hf, deit-hf, 1"})
    void aDistilledDeitOfHuggingFaceHasOneOrTwoClassifiers(String path, String logits, int classifiers) {
        VisionTransformer model = read(path, ReadOptions.NONE);
        assertEquals(classifiers, ((VitConfig) model.config()).classifiers());
        assertTrue(((VitConfig) model.config()).prefix().distillationToken());
        agrees(logits, model, "images");
    }

    @Test
    void imagesOfAnotherSizeResamplePositionsAsTimmDoes() {
        ReadOptions heads = ReadOptions.heads(2);
        agrees("vit at 48", read("vit/timm.safetensors", heads.withImageSize(48)), "images48");
        VisionTransformer small = read("vit/timm.safetensors", heads.withImageSize(24));
        assertEquals(24, small.config().imageSize());
        close(expected.read("vit at 24").toArray(), logits(small, centre(expected.read("images"), 24)));
        assertThrows(ModelException.class, () -> read("vit/timm.safetensors", heads.withImageSize(50)));
    }

    @Test
    void aSwinKeepsItsWindowsOnLargerImages() {
        agrees("swin at 64", read("swin/timm-new.safetensors", size(64)), "images64");
        String message = assertThrows(ModelException.class, () -> read("swin/timm-new.safetensors", size(40))).getMessage();
        assertTrue(message.contains("40") && message.contains("--image-size"), message);
    }

    @Test
    void whatIsNotSupportedIsRefusedWithTheFirstTensorThatDoesNotFit() {
        String message = assertThrows(ModelException.class, () -> read("kinds/query-norms.safetensors", ReadOptions.NONE)).getMessage();
        assertTrue(message.contains("blocks.0.attn.q_norm"), message);
    }

    private void agrees(String name, VisionTransformer model, String images) {
        close(expected.read(name).toArray(), logits(model, expected.read(images)));
    }

    private static void close(float[] theirs, float[] ours) {
        double largest = 0;
        for (float number : theirs) {
            largest = Math.max(largest, Math.abs(number));
        }
        assertArrayEquals(theirs, ours, (float) (RELATIVE * largest));
    }

    private float[] logits(VisionTransformer model, Tensor images) {
        try (Scope scope = backend.scope()) {
            return new Network(backend, scope, model).logits(new FloatArithmetic(backend, scope, model), images).toArray();
        }
    }

    private static Tensor centre(Tensor images, int side) {
        int whole = images.shape().size(2);
        int edge = (whole - side) / 2;
        Tensor cut = Tensor.zeros(images.shape().size(0), 3, side, side);
        for (int i = 0; i < cut.data().limit(); i++) {
            int plane = i / (side * side);
            int row = i / side % side;
            cut.data().put(i, images.data().get((plane * whole + row + edge) * whole + i % side + edge));
        }
        return cut;
    }

    private VisionTransformer read(String path, ReadOptions options) {
        return ModelReader.read(folder.resolve(path), options);
    }

    private static ReadOptions size(int side) {
        return ReadOptions.NONE.withImageSize(side);
    }
}
