package io.github.ptq4vit.evaluate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.TinyModel;
import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Path;
import java.util.OptionalInt;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvaluatorTest {
    @TempDir
    Path folder;

    @Test
    void aQuantisedModelIsComparedImageByImageWithoutAnyFiles() {
        VisionTransformer model = TinyModel.model(folder);
        Tensor pixels = TinyModel.random(new Random(2), 1, 24, 3, 32, 32);
        try (Backend backend = Backends.open("cpu", OptionalInt.of(1)); Classifier plain = Classifier.of(backend, model);
                Classifier coarse = Classifier.of(backend, new QuantizedModel(model, TinyModel.quantize(model, 3)))) {
            Tensor expected = plain.logits(pixels);
            Tensor other = coarse.logits(pixels);
            int[] labels = new int[24];
            int agreeing = 0;
            int coarseRight = 0;
            int both = 0;
            double divergence = 0;
            for (int i = 0; i < 24; i++) {
                // two thirds of the labels are what the float32 model says
                labels[i] = i % 3 == 0 ? i % TinyModel.CLASSES : Ranks.best(expected, i);
                agreeing += Ranks.best(expected, i) == Ranks.best(other, i) ? 1 : 0;
                coarseRight += Ranks.best(other, i) == labels[i] ? 1 : 0;
                both += Ranks.best(other, i) == labels[i] && Ranks.best(expected, i) == labels[i] ? 1 : 0;
                divergence += divergence(expected, other, i) / 24;
            }
            Evaluator evaluator = Evaluator.of(coarse).against(plain);
            evaluator.add(pixels.slice(0, 10), java.util.Arrays.copyOf(labels, 10));
            evaluator.add(pixels.slice(10, 24), java.util.Arrays.copyOfRange(labels, 10, 24));
            Accuracy accuracy = evaluator.accuracy();
            Accuracy.Paired paired = accuracy.paired().orElseThrow();
            assertEquals(24, accuracy.images());
            assertEquals(coarseRight, accuracy.top1Right());
            assertEquals(agreeing, paired.agreeing());
            assertEquals(both, paired.bothRight());
            assertEquals(divergence, paired.divergence(), 1e-9 * divergence);
            assertEquals(coarseRight - both, paired.onlyModelRight());
            assertTrue(paired.referenceTop1Right() >= 16, "labels were taken from the reference");
            assertTrue(agreeing < 24, "three bits change something, else this test shows nothing");
            assertTrue(accuracy.top5Right() >= accuracy.top1Right());
            assertTrue(accuracy.imagesPerSecond() > 0);
        }
    }

    /** The sum over the classes of p (log p - log q). */
    private static double divergence(Tensor expected, Tensor logits, int image) {
        int classes = TinyModel.CLASSES;
        double p = 0;
        double q = 0;
        for (int c = 0; c < classes; c++) {
            p += Math.exp(expected.data().get(image * classes + c));
            q += Math.exp(logits.data().get(image * classes + c));
        }
        double sum = 0;
        for (int c = 0; c < classes; c++) {
            double a = expected.data().get(image * classes + c);
            sum += Math.exp(a) / p * (a - Math.log(p) - logits.data().get(image * classes + c) + Math.log(q));
        }
        return sum;
    }

    @Test
    void aModelAgreesWithItself() {
        VisionTransformer model = TinyModel.model(folder);
        try (Backend backend = Backends.open("cpu", OptionalInt.of(1)); Classifier plain = Classifier.of(backend, model)) {
            Evaluator evaluator = Evaluator.of(plain).against(plain);
            evaluator.add(TinyModel.random(new Random(2), 1, 5, 3, 32, 32), new int[] {0, 1, 2, 3, 4});
            Accuracy accuracy = evaluator.accuracy();
            assertEquals(5, accuracy.paired().orElseThrow().agreeing());
            assertEquals(0, accuracy.paired().orElseThrow().onlyReferenceRight());
            assertEquals(0, accuracy.paired().orElseThrow().divergence());
            assertEquals(accuracy.top1Right(), accuracy.paired().orElseThrow().bothRight());
        }
    }

    @Test
    void pixelsOfAnotherSizeAreRefused() {
        VisionTransformer model = TinyModel.model(folder);
        try (Backend backend = Backends.open("cpu", OptionalInt.of(1)); Classifier plain = Classifier.of(backend, model)) {
            String message = assertThrows(IllegalArgumentException.class, () -> plain.logits(Tensor.zeros(1, 3, 31, 32)))
                    .getMessage();
            assertTrue(message.contains("32") && message.contains("31"), message);
        }
    }

    @Test
    void ofEqualLogitsTheFirstComesFirstAndNaNComesLast() {
        Tensor logits = Tensor.of(Shape.of(2, 4), 1, 3, 3, 0, Float.NaN, 2, 1, 2);
        assertEquals(1, Ranks.best(logits, 0));
        assertEquals(0, Ranks.of(1, logits, 0));
        assertEquals(1, Ranks.of(2, logits, 0));
        assertEquals(3, Ranks.of(3, logits, 0));
        assertEquals(3, Ranks.of(0, logits, 1));
        assertEquals(0, Ranks.of(1, logits, 1));
        assertEquals(1, Ranks.of(3, logits, 1));
        assertEquals(2, Ranks.of(2, logits, 1));
    }
}
