package io.github.ptq4vit.export;

import ai.onnx.proto.OnnxMl.TensorProto.DataType;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeTable;
import io.github.ptq4vit.export.CodeOperators.Operand;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * Codes that are looked up. Of levels of positive numbers, the logarithm of a number tells the nearest bound between two levels, since all bounds but the one
 * below the smallest level are nearly equally far from each other in logarithms; on which side of that bound the number is, a
 * comparison tells exactly, and another one whether it reaches the smallest level. Then codes are gathered from a table. Bounds are
 * bfloat16 and positive, so that comparing numbers and comparing their upper 16 bits is the same. For other levels see {@link LevelCells}.
 */
final class LevelCodes {
    /** How far, in levels, a bound may be from where the logarithm puts it; half a level would be too far. */
    private static final double TOLERANCE = 0.45;

    private final OnnxGraph graph;
    private final CodeOperators operators;

    LevelCodes(OnnxGraph graph, CodeOperators operators) {
        this.graph = graph;
        this.operators = operators;
    }

    List<OperandCodes.Part> parts(String name, String x, OperandGroups groups, Operand operand) {
        List<CodeTable> tables = groups.grids().stream().map(grid -> grid.table().orElseThrow()).toList();
        if (tables.stream().anyMatch(table -> table.levels() != tables.get(0).levels())) {
            throw new ExportException(name + ": has tables of different sizes");
        }
        String level = tables.stream().allMatch(table -> table.bound(0) > 0) ? level(name, x, groups, tables)
                : LevelCells.of(name, tables).level(graph, name, x, groups);
        int ranges = groups.grids().stream().mapToInt(grid -> grid.ranges().size()).max().orElseThrow();
        List<OperandCodes.Part> parts = new ArrayList<>();
        for (int range = 0; range < ranges; range++) {
            parts.add(part(ranges == 1 ? name : name + range, level, groups, range, operand));
        }
        return parts;
    }

    private static void check(String name, CodeTable table) {
        int bounds = table.levels() - 1;
        boolean fine = bounds > 2;
        for (int i = 1; i < bounds && fine; i++) {
            fine = Math.abs(perLogarithm(table) * Math.log(table.bound(i) / (double) table.bound(1)) - (i - 1)) < TOLERANCE;
        }
        if (!fine) {
            throw new ExportException(name + ": has levels that are too unevenly spaced to be exported; calibrate with"
                    + " --without logarithmic-softmax,logarithmic-gelu");
        }
    }

    private static int bounds(OperandGroups groups) {
        return groups.grids().get(0).table().orElseThrow().levels() - 1;
    }

    /** Levels for each unit of the natural logarithm. */
    private static double perLogarithm(CodeTable table) {
        int bounds = table.levels() - 1;
        return (bounds - 2) / Math.log(table.bound(bounds - 1) / (double) table.bound(1));
    }

    /** The place of each element's level in the tables of all groups. */
    private String level(String name, String x, OperandGroups groups, List<CodeTable> tables) {
        tables.forEach(table -> check(name, table));
        int bounds = bounds(groups);
        int levels = bounds + 1;
        String fromFirst = graph.add("Mul", name + ".to_first", List.of(x,
                graph.floats(name + ".first_inverse", groups.along(grid -> 1 / (double) grid.table().orElseThrow().bound(1)))));
        String atLeast = graph.add("Clip", name + ".at_least_first", List.of(fromFirst, graph.scalar(name + ".one", 1)));
        String place = graph.add("Mul", name + ".place", List.of(graph.add("Log", name + ".logarithm", List.of(atLeast)),
                graph.floats(name + ".levels_per_logarithm", groups.along(grid -> perLogarithm(grid.table().orElseThrow())))));
        String atMost = graph.add("Clip", name + ".at_most_last", List.of(place, "", graph.scalar(name + ".last", bounds - 2)));
        // casting rounds towards 0
        String rounded = graph.add("Add", name + ".place_and_half", List.of(atMost, graph.scalar(name + ".half", 0.5f)));
        String nearest = cast(name + ".nearest", rounded);
        if (!groups.isOne()) {
            int[] starts = Arrays.stream(groups.groupOf()).map(group -> group * levels).toArray();
            int[] sizes = new int[groups.rank()];
            Arrays.fill(sizes, 1);
            sizes[0] = starts.length;
            nearest = graph.add("Add", name + ".nearest_of_group", List.of(nearest,
                    graph.shortIntegers(name + ".starts", sizes, starts)));
        }
        float[] table = new float[groups.grids().size() * levels];
        Arrays.fill(table, Float.MAX_VALUE);
        for (int group = 0; group < groups.grids().size(); group++) {
            for (int i = 0; i < bounds - 1; i++) {
                table[group * levels + i] = groups.grids().get(group).table().orElseThrow().bound(i + 1);
            }
        }
        String bound = graph.add("Gather", name + ".bound", List.of(graph.floats(name + ".bounds",
                Tensor.of(Shape.of(table.length), table)), nearest));
        String beyond = graph.add("GreaterOrEqual", name + ".beyond", List.of(x, bound));
        String above = graph.add("Add", name + ".above_smallest", List.of(nearest, cast(name + ".beyond.number", beyond)));
        String reached = graph.add("GreaterOrEqual", name + ".reached", List.of(x,
                graph.floats(name + ".smallest", groups.along(grid -> grid.table().orElseThrow().bound(0)))));
        return graph.add("Add", name + ".level", List.of(above, cast(name + ".reached.number", reached)));
    }

    private String cast(String name, String x) {
        return graph.add("Cast", name, List.of(x), OnnxGraph.attribute("to", DataType.INT32.getNumber()));
    }

    private OperandCodes.Part part(String name, String level, OperandGroups groups, int range, Operand operand) {
        int levels = bounds(groups) + 1;
        byte[] table = new byte[groups.grids().size() * levels];
        for (int group = 0; group < groups.grids().size(); group++) {
            CodeGrid grid = groups.grids().get(group);
            for (int i = 0; i < levels && range < grid.ranges().size(); i++) {
                table[group * levels + i] = (byte) grid.table().orElseThrow().code(range, i);
            }
        }
        Optional<Tensor> scales = groups.isOne() ? Optional.empty() : Optional.of(groups.along(grid -> step(grid, range)));
        return new OperandCodes.Part(operators.lookedUp(name, level, groups.isOne() ? step(groups.grids().get(0), range) : 1, operand, table),
                scales);
    }

    private static float step(CodeGrid grid, int range) {
        return range < grid.ranges().size() ? grid.ranges().get(range).step() : 1;
    }
}
