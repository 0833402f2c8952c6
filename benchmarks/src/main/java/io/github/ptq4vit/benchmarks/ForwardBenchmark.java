package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.tensor.Shape;
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
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        VIT_TI.tensors().forEach((name, shape) -> {
            boolean gamma = name.matches("(.*\\.)?norm[12]?\\.weight");
            double deviation = shape.rank() == 1 ? 0.1 : Math.sqrt(shape.size(0) / (double) shape.elements());
            tensors.put(name, gamma ? ones(shape) : RandomNumbers.normal(name.hashCode(), deviation, shape.toArray()));
        });
        return tensors;
    }

    private static Tensor ones(Shape shape) {
        Tensor ones = Tensor.zeros(shape.toArray());
        for (int i = 0; i < ones.data().limit(); i++) {
            ones.data().put(i, 1);
        }
        return ones;
    }
}
