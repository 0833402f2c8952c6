package io.github.ptq4vit.export;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.export.CodeOperators.Interval;
import io.github.ptq4vit.export.CodeOperators.Operand;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.ToDoubleFunction;

/**
 * The codes of a first operand, one {@link Part} for each range. Scales of single heads or tokens are left to multiply the product
 * with, so that the codes have one scale: runtimes multiply those as integers, but not codes whose scales differ along an axis that
 * is no column of a weight.
 */
final class OperandCodes {
    private final OnnxGraph graph;
    private final CodeOperators operators;

    OperandCodes(OnnxGraph graph, CodeOperators operators) {
        this.graph = graph;
        this.operators = operators;
    }

    /**
     * Codes of one range.
     *
     * @param codes of all elements, those of other ranges 0
     * @param scales what products with them are still to be multiplied with, as it is broadcast; none for 1
     */
    record Part(CodeValue codes, Optional<Tensor> scales) {
    }

    /** The codes of x. */
    List<Part> parts(String name, String x, OperandGroups groups, Interval known) {
        CodeGrid first = groups.grids().get(0);
        if (groups.grids().stream().anyMatch(grid -> grid.table().isPresent() != first.table().isPresent()
                || grid.nearest() != first.nearest())) {
            throw new ExportException(name + ": has quantisers of several kinds");
        }
        if (first.table().isPresent()) {
            return levels(name, x, groups, Operand.FIRST);
        }
        if (first.nearest()) {
            if (!groups.isOne()) {
                throw new ExportException(name + ": has twins of the rule nearest, one for each of " + groups.grids().size()
                        + " heads; exported are those with one for all, or of the rule free");
            }
            return nearestTwin(name, x, first);
        }
        if (first.ranges().size() == 2 && !first.ranges().get(0).isUnlimited()) {
            return softmaxTwin(name, x, groups);
        }
        List<Part> parts = new ArrayList<>();
        for (int range = 0; range < first.ranges().size(); range++) {
            parts.add(uniform(first.ranges().size() == 1 ? name : name + range, x, groups, range, known));
        }
        return parts;
    }

    /** The codes of x, which are looked up. */
    List<Part> levels(String name, String x, OperandGroups groups, Operand operand) {
        return new LevelCodes(graph, operators).parts(name, x, groups, operand);
    }

    private Part uniform(String name, String x, OperandGroups groups, int range, Interval known) {
        CodeRange r = groups.grids().get(0).ranges().get(range);
        ToDoubleFunction<CodeGrid> step = grid -> grid.ranges().get(range).step();
        if (groups.isOne()) {
            return new Part(quantized(name, x, r, known), Optional.empty());
        }
        Tensor steps = groups.along(step);
        String units = graph.add("Div", name + ".scaled", List.of(x, graph.floats(name + ".divisor", steps)));
        return new Part(unit(name, units, groups.grids(), range, groups::along, Operand.FIRST), Optional.of(steps));
    }

    /** Where the numbers of a grid belong. */
    @FunctionalInterface
    interface Placement {
        Tensor of(ToDoubleFunction<CodeGrid> number);
    }

    /** Codes of numbers that are in units of their scales, under grids that may have other bounds. */
    CodeValue unit(String name, String x, List<CodeGrid> grids, int range, Placement placement, Operand operand) {
        ToDoubleFunction<CodeGrid> low = grid -> grid.ranges().get(range).min();
        ToDoubleFunction<CodeGrid> high = grid -> grid.ranges().get(range).max();
        int min = (int) grids.stream().mapToDouble(low).min().orElseThrow();
        int max = (int) grids.stream().mapToDouble(high).max().orElseThrow();
        if (grids.stream().allMatch(grid -> low.applyAsDouble(grid) == min && high.applyAsDouble(grid) == max)) {
            return operators.quantized(name, x, 1, min, max, Interval.ALL, operand);
        }
        String bounded = graph.add("Min", name + ".bounded", List.of(graph.add("Max", name + ".bounded_below",
                List.of(x, graph.floats(name + ".low", placement.of(low)))), graph.floats(name + ".high", placement.of(high))));
        return operators.quantized(name, bounded, 1, min, max, new Interval(min, max), operand);
    }

    private CodeValue quantized(String name, String x, CodeRange range, Interval known) {
        return operators.quantized(name, x, range.step(), range.min(), range.max(), known, Operand.FIRST);
    }

    /**
     * The numbers from the threshold on, then what is left; both exact. Where heads have thresholds of their own, numbers are first
     * multiplied with a power of two that makes the threshold 1.
     */
    private List<Part> softmaxTwin(String name, String x, OperandGroups groups) {
        CodeRange low = groups.grids().get(0).ranges().get(0);
        CodeRange high = groups.grids().get(0).ranges().get(1);
        boolean one = groups.isOne();
        ToDoubleFunction<CodeGrid> threshold = grid -> grid.ranges().get(0).to();
        String scaled = one ? x : graph.add("Mul", name + ".scaled", List.of(x,
                graph.floats(name + ".factors", groups.along(grid -> 1 / threshold.applyAsDouble(grid)))));
        String second = graph.add("ThresholdedRelu", name + ".second", List.of(scaled),
                OnnxGraph.attribute("alpha", Math.nextDown(one ? low.to() : 1)));
        String first = graph.add("Sub", name + ".first", List.of(scaled, second));
        if (one) {
            return List.of(new Part(quantized(name + 0, first, low, Interval.SOFTMAX.upTo(low.to())), Optional.empty()),
                    new Part(quantized(name + 1, second, high, Interval.SOFTMAX), Optional.empty()));
        }
        Tensor thresholds = groups.along(threshold);
        String numbers = graph.add("Mul", name + ".second.numbers", List.of(second, graph.floats(name + ".thresholds", thresholds)));
        // the small scale is the large one times the threshold
        return List.of(new Part(quantized(name + 0, first, high, Interval.SOFTMAX), Optional.of(thresholds)),
                new Part(quantized(name + 1, numbers, high, Interval.SOFTMAX), Optional.empty()));
    }

    /** Of each element the number in the range whose point is nearest, and zero in the other. */
    private List<Part> nearestTwin(String name, String x, CodeGrid grid) {
        List<String> errors = new ArrayList<>();
        for (int range = 0; range < 2; range++) {
            String tried = name + ".try" + range;
            String point = operators.decoded(quantized(tried, x, grid.ranges().get(range), Interval.ALL));
            errors.add(graph.add("Abs", tried + ".error", List.of(graph.add("Sub", tried + ".difference", List.of(x, point)))));
        }
        String takesFirst = graph.add("LessOrEqual", name + ".takes_first", errors);
        String zero = graph.scalar(name + ".zero", 0);
        String first = graph.add("Where", name + ".first", List.of(takesFirst, x, zero));
        String second = graph.add("Where", name + ".second", List.of(takesFirst, zero, x));
        return List.of(new Part(quantized(name + 0, first, grid.ranges().get(0), Interval.ALL), Optional.empty()),
                new Part(quantized(name + 1, second, grid.ranges().get(1), Interval.ALL), Optional.empty()));
    }
}
