package io.github.ptq4vit.calibrate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.artifact.CheckpointWriter;
import io.github.ptq4vit.artifact.Existing;
import io.github.ptq4vit.artifact.Fingerprints;
import io.github.ptq4vit.artifact.OutputFolder;
import io.github.ptq4vit.artifact.Provenance;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.BackendUnderTest;
import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.Activation;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.KnownModel;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.Pooling;
import io.github.ptq4vit.model.PrefixTokens;
import io.github.ptq4vit.model.RandomVit;
import io.github.ptq4vit.model.SwinConfig;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Whole calibrations of small networks of every architecture: a shrunken twin of each model of the paper, and the others. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ArchitecturesTest {
    private static final int IMAGES = 4;
    private static final CalibrationConfig CONFIG = CalibrationConfig.ptq4vit(new BitWidths(8, 8)).withRounds(1);
    /** Squared error of the quantised logits, relative to their variance: 8 bits in each of a few layers lose little. */
    private static final double LOSS = 0.02;

    private final Backend backend = new CpuBackend(2);

    @AfterAll
    void close() {
        backend.close();
    }

    static Stream<Architecture> twins() {
        return KnownModel.all().stream().map(KnownModel::config).map(ArchitecturesTest::twin);
    }

    /** Same patches, windows and heads; fewer and shorter tokens, fewer blocks. */
    private static Architecture twin(Architecture config) {
        if (config instanceof SwinConfig swin) {
            return new SwinConfig("twin of " + swin.name(), 2 * swin.window() * swin.patchSize(), swin.patchSize(), 3,
                    8 * swin.heads().get(0), List.of(2, 1), swin.heads().subList(0, 2), swin.window(), 2, 7, swin.epsilon());
        }
        VitConfig vit = (VitConfig) config;
        return new VitConfig("twin of " + vit.name(), 3 * vit.patchSize(), vit.patchSize(), 3, 8 * vit.heads(), 2, vit.heads(),
                16 * vit.heads(), 7, false, vit.epsilon());
    }

    static Stream<Architecture> others() {
        return Stream.of(vit("distilled", new PrefixTokens(true, true, 0, true), Pooling.CLASS_TOKEN, 2, false, 0),
                vit("two tokens, one classifier", new PrefixTokens(true, true, 0, true), Pooling.CLASS_TOKEN, 1, false, 0),
                vit("layer scale", new PrefixTokens(true, false, 0, false), Pooling.CLASS_TOKEN, 1, true, 0),
                vit("registers", new PrefixTokens(true, false, 4, true), Pooling.MEAN_THEN_NORM, 1, true, 0),
                vit("no class token", new PrefixTokens(false, false, 0, true), Pooling.NORM_THEN_MEAN, 1, false, 0),
                vit("pre-logits", new PrefixTokens(true, false, 0, true), Pooling.CLASS_TOKEN, 1, false, 20),
                new VitConfig("swiglu", 24, 8, 3, 32, 2, 4, 48, 7, new PrefixTokens(true, false, 0, true), Pooling.CLASS_TOKEN, 1, true,
                        0, Activation.SWIGLU, 1e-6f));
    }

    private static VitConfig vit(String name, PrefixTokens prefix, Pooling pooling, int classifiers, boolean layerScale,
            int representation) {
        return new VitConfig(name, 24, 8, 3, 32, 2, 4, 48, 7, prefix, pooling, classifiers, layerScale, representation, 1e-6f);
    }

    @ParameterizedTest
    @MethodSource({"twins", "others"})
    void aCalibratedNetworkIsWrittenReadAndCloseToItsOriginal(Architecture config, @TempDir Path folder) throws IOException {
        VisionTransformer model = RandomVit.of(config, 1);
        Path out = folder.resolve("out");
        String none = Fingerprints.ofIds(List.of());
        CalibrationResult result;
        try (OutputFolder target = OutputFolder.open(out, Existing.REFUSE)) {
            CheckpointWriter writer = CheckpointWriter.open(target, model, "",
                    new Provenance(Map.of(), 0, List.of(), none, none, none, Map.of()));
            result = Calibrator.of(model).on(backend).config(CONFIG).onUnit(writer::unit).run(images(config));
            writer.finish();
        }
        assertEquals(config.layers().stream().map(Layer::name).toList(), result.layers().stream().map(QuantizedLayer::name).toList());
        boolean gated = config instanceof VitConfig vit && vit.activation() != Activation.GELU;
        String manifest = Files.readString(out.resolve("manifest.json"));
        assertEquals(gated, manifest.contains("\"activation\""), "older programs do not know the field");
        assertTrue(manifest.contains("\"format_version\" : " + (gated ? 3 : 2)), manifest.substring(0, 200));
        Checkpoint checkpoint = Checkpoint.read(out);
        assertEquals(config, checkpoint.model().model().config());
        assertEquals(result.layers(), checkpoint.model().layers());
        Tensor pixels = RandomVit.images(config, IMAGES, 3);
        try (Classifier floats = Classifier.of(backend, model); Classifier quantized = Classifier.of(backend, checkpoint.model())) {
            float[] expected = floats.logits(pixels).toArray();
            float[] found = quantized.logits(pixels).toArray();
            double error = 0;
            double power = 0;
            for (int i = 0; i < expected.length; i++) {
                error += Math.pow(found[i] - expected[i], 2);
                power += expected[i] * expected[i];
            }
            assertTrue(error > 0 && error <= LOSS * power, config.name() + ": relative squared error " + error / power);
        }
        float[] logits = reproducible(backend, checkpoint, pixels);
        BackendUnderTest.quickGpus().forEach(gpu -> {
            try (Backend other = gpu.open().get()) {
                assertArrayEquals(logits, reproducible(other, checkpoint, pixels), "the same bits with every backend");
            }
        });
    }

    private static float[] reproducible(Backend backend, Checkpoint checkpoint, Tensor pixels) {
        try (Classifier classifier = Classifier.of(backend.reproducible(), checkpoint.model())) {
            return classifier.logits(pixels).toArray();
        }
    }

    @Test
    void theNumberOfThreadsChangesNothingForSwin() {
        Architecture config = twin(KnownModel.named("swin_tiny_patch4_window7_224").config());
        VisionTransformer model = RandomVit.of(config, 1);
        List<QuantizedLayer> two = Calibrator.of(model).on(backend).config(CONFIG).run(images(config)).layers();
        try (Backend one = new CpuBackend(1)) {
            assertEquals(two, Calibrator.of(model).on(one).config(CONFIG).run(images(config)).layers());
        }
    }

    private static CalibrationImages images(Architecture config) {
        return new CalibrationImages(IntStream.range(0, IMAGES).mapToObj(i -> "image " + i).toList(),
                RandomVit.images(config, IMAGES, 2));
    }
}
