package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.backend.Distance;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.Scope;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.Locale;
import java.util.OptionalInt;

/**
 * What scoring costs with a scale for each output channel, beside one scale for all: 100 candidates for the weights at ViT-Ti's
 * shapes, in pairs, by the processor time of the process, so that other processes hardly count. Markdown on standard output.
 *
 * <p>Arguments: pairs, then shapes {@code n x k x m}; without shapes those of 32 images.
 */
public final class ChannelScales {
    private static final String[] SHAPES = {"6304x192x576", "6304x192x192", "6304x192x768", "6304x768x192"};

    private ChannelScales() {
    }

    /** Runs it. */
    public static void main(String[] args) {
        int pairs = Integer.parseInt(args[0]);
        String[] shapes = args.length > 1 ? Arrays.copyOfRange(args, 1, args.length) : SHAPES;
        System.out.println("| shape | one scale, ms | a scale a channel, ms | speed of the second, of the first |\n|---|---|---|---|");
        try (Backend backend = Backends.open("cpu", OptionalInt.of(1))) {
            for (String shape : shapes) {
                double[] one = new double[pairs];
                double[] many = new double[pairs];
                double[] ratios = new double[pairs];
                // codes that are kept between calls are made anew in each pair; the first one warms up
                for (int pair = -1; pair < pairs; pair++) {
                    double first = milliseconds(backend, shape, 1);
                    double second = milliseconds(backend, shape, Integer.parseInt(shape.substring(shape.lastIndexOf('x') + 1)));
                    if (pair >= 0) {
                        one[pair] = first;
                        many[pair] = second;
                        ratios[pair] = first / second;
                    }
                }
                System.out.printf(Locale.ROOT, "| %s | %.0f | %.0f | %.0f %% |%n", shape, median(one), median(many), 100 * median(ratios));
            }
        }
    }

    private static double milliseconds(Backend backend, String shape, int groups) {
        try (Scope scope = backend.scope()) {
            ScoringCase scoring = ScoringCase.of(backend, scope, shape, 1, Operand.RIGHT, Distance.SQUARED, false, groups);
            long start = processorTime();
            scoring.score();
            return (processorTime() - start) / 1e6;
        }
    }

    private static long processorTime() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    private static double median(double[] numbers) {
        double[] sorted = numbers.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }
}
