package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.evaluate.Classifier;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.OptionalInt;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/** The float32 forward pass of 32 images through ViT-Ti/16 at 224 pixels, with random weights. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 2, time = 3)
@Measurement(iterations = 5, time = 4)
@Fork(1)
public class ForwardBenchmark {
    private static final VitConfig VIT_TI = new VitConfig("vit_tiny_patch16_224", 224, 16, 3, 192, 12, 3, 768, 1000, false,
            1e-6f);

    /** How many images at once. */
    @Param("32")
    public int images;

    /** Threads; 0 takes one a processor. */
    @Param("0")
    public int threads;

    private Backend backend;
    private Classifier classifier;
    private Tensor pixels;

    /** Weights that keep activations at about unit size. */
    @Setup
    public void prepare() {
        backend = Backends.open("cpu", threads == 0 ? OptionalInt.empty() : OptionalInt.of(threads));
        classifier = Classifier.of(backend, new VisionTransformer(VIT_TI, weights(), Map.of()));
        pixels = RandomNumbers.normal(1, 1, images, 3, VIT_TI.imageSize(), VIT_TI.imageSize());
    }

    /** Frees the backend. */
    @TearDown
    public void close() {
        classifier.close();
        backend.close();
    }

    /** Pixels to logits. */
    @Benchmark
    public Tensor forward() {
        return classifier.logits(pixels);
    }

    private static Map<String, Tensor> weights() {
        int d = VIT_TI.dim();
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        tensors.put("cls_token", RandomNumbers.normal(1, 0.5, 1, 1, d));
        tensors.put("pos_embed", RandomNumbers.normal(2, 0.3, 1, VIT_TI.tokens(), d));
        for (Layer layer : VIT_TI.layers()) {
            switch (layer.role()) {
                case PATCH_EMBEDDING -> linear(tensors, layer, d, 3, VIT_TI.patchSize(), VIT_TI.patchSize());
                case QKV -> linear(tensors, layer, 3 * d, d);
                case PROJECTION -> linear(tensors, layer, d, d);
                case FC1 -> linear(tensors, layer, VIT_TI.hidden(), d);
                case FC2 -> linear(tensors, layer, d, VIT_TI.hidden());
                case HEAD -> linear(tensors, layer, VIT_TI.classes(), d);
                case QUERY_KEY, PROBABILITY_VALUE -> {
                    // products of attention have no weights
                }
            }
        }
        for (int block = 0; block < VIT_TI.depth(); block++) {
            norm(tensors, VIT_TI.block(block) + ".norm1");
            norm(tensors, VIT_TI.block(block) + ".norm2");
        }
        norm(tensors, "norm");
        return tensors;
    }

    private static void linear(Map<String, Tensor> tensors, Layer layer, int... sizes) {
        Tensor weight = RandomNumbers.normal(layer.name().hashCode(), 1, sizes);
        double scale = 1 / Math.sqrt(weight.shape().elements() / (double) sizes[0]);
        tensors.put(layer.name() + ".weight", RandomNumbers.normal(layer.name().hashCode(), scale, sizes));
        tensors.put(layer.name() + ".bias", RandomNumbers.normal(sizes[0], 0.1, sizes[0]));
    }

    private static void norm(Map<String, Tensor> tensors, String name) {
        float[] ones = new float[VIT_TI.dim()];
        java.util.Arrays.fill(ones, 1);
        tensors.put(name + ".weight", Tensor.of(io.github.ptq4vit.tensor.Shape.of(ones.length), ones));
        tensors.put(name + ".bias", Tensor.zeros(ones.length));
    }
}
