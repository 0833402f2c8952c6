package io.github.ptq4vit.export;

import ai.onnx.proto.OnnxMl.TensorProto.DataType;
import io.github.ptq4vit.backend.CodeTable;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.List;

/**
 * Levels of tables whose bounds lie not much closer together in one place than in another, such as companded ones. Numbers are divided
 * into cells of one width, narrow enough that none holds two bounds; a table says at which level a cell starts, and another which
 * bound it holds, if any. Bounds keep away from the edges of cells, so that the rounding of a number never moves it across a bound.
 * Bounds are bfloat16: negative ones belong to the level above them together with what rounds towards 0 to them.
 */
final class LevelCells {
    private static final int MOST_CELLS = 1 << 12;
    /** Widths that are tried, each so much narrower than the one before. */
    private static final int WIDTHS = 2000;
    private static final double NARROWER = 0.999;
    private static final double FROM_EDGE = 0.02;

    private final double[] widths;
    private final int half;
    private final List<CodeTable> tables;

    private LevelCells(List<CodeTable> tables, double[] widths, int half) {
        this.tables = tables;
        this.widths = widths;
        this.half = half;
    }

    /**
     * Cells for some tables.
     *
     * @throws ExportException if their levels are too unevenly spaced
     */
    static LevelCells of(String name, List<CodeTable> tables) {
        double[] widths = tables.stream().mapToDouble(table -> width(name, table)).toArray();
        int half = 0;
        for (int i = 0; i < widths.length; i++) {
            CodeTable table = tables.get(i);
            half = Math.max(half, 1 + (int) Math.ceil(Math.max(Math.abs(bound(table, 0)), Math.abs(bound(table, table.levels() - 2))) / widths[i]));
        }
        return new LevelCells(tables, widths, half);
    }

    private static double width(String name, CodeTable table) {
        int bounds = table.levels() - 1;
        double largest = Math.max(Math.abs(bound(table, 0)), Math.abs(bound(table, bounds - 1)));
        double width = largest;
        for (int i = 1; i < bounds; i++) {
            width = Math.min(width, bound(table, i) - bound(table, i - 1));
        }
        for (int i = 0; i < WIDTHS && largest / width < MOST_CELLS / 2.0 - 2; i++) {
            if (fits(table, width)) {
                return width;
            }
            width *= NARROWER;
        }
        throw new ExportException(name + ": has levels that are too unevenly spaced to be exported; calibrate with --without companded");
    }

    private static boolean fits(CodeTable table, double width) {
        long before = Long.MIN_VALUE;
        for (int i = 0; i < table.levels() - 1; i++) {
            double place = bound(table, i) / width;
            long cell = Math.round(place);
            if (cell == before || Math.abs(place - cell) > 0.5 - FROM_EDGE) {
                return false;
            }
            before = cell;
        }
        return true;
    }

    /**
     * The smallest float32 of a level: a negative bfloat16 bound is reached by what rounds towards 0 to it, which is up to the next
     * bfloat16 below.
     */
    private static float bound(CodeTable table, int level) {
        float bound = table.bound(level);
        // -0 and what rounds to it reaches 0, too
        return bound > 0 ? bound : Float.intBitsToFloat(Float.floatToRawIntBits(bound == 0 ? -0f : bound) + 0xffff);
    }

    /** The place of each element's level in the tables of all groups, {@code levels} a group. */
    String level(OnnxGraph graph, String name, String x, OperandGroups groups) {
        int cells = 2 * half + 1;
        int levels = tables.get(0).levels();
        int[] starts = new int[tables.size() * cells];
        float[] bounds = new float[starts.length];
        Arrays.fill(bounds, Float.MAX_VALUE);
        for (int group = 0; group < tables.size(); group++) {
            CodeTable table = tables.get(group);
            int level = 0;
            for (int cell = 0; cell < cells; cell++) {
                int place = group * cells + cell;
                starts[place] = group * levels + level;
                if (level < levels - 1 && Math.round(bound(table, level) / widths[group]) == cell - half) {
                    bounds[place] = bound(table, level);
                    level++;
                }
            }
        }
        String inCells = graph.add("Mul", name + ".in_cells", List.of(x,
                graph.floats(name + ".cells_per_unit", groups.along(grid -> 1 / widths[groups.grids().indexOf(grid)]))));
        String clipped = graph.add("Clip", name + ".within", List.of(inCells, graph.scalar(name + ".least", -half),
                graph.scalar(name + ".most", half)));
        // casting rounds towards 0
        String shifted = graph.add("Add", name + ".from_first_cell", List.of(clipped, graph.scalar(name + ".shift", half + 0.5f)));
        String cell = cast(graph, name + ".cell", shifted);
        if (!groups.isOne()) {
            int[] sizes = new int[groups.rank()];
            Arrays.fill(sizes, 1);
            sizes[0] = groups.groupOf().length;
            cell = graph.add("Add", name + ".cell_of_group", List.of(cell, graph.shortIntegers(name + ".first_cells", sizes,
                    Arrays.stream(groups.groupOf()).map(group -> group * cells).toArray())));
        }
        String start = graph.add("Gather", name + ".start", List.of(graph.shortIntegers(name + ".starts", new int[] {starts.length},
                starts), cell));
        String bound = graph.add("Gather", name + ".bound", List.of(graph.floats(name + ".bounds",
                Tensor.of(Shape.of(bounds.length), bounds)), cell));
        String beyond = graph.add("GreaterOrEqual", name + ".beyond", List.of(x, bound));
        return graph.add("Add", name + ".level", List.of(start, cast(graph, name + ".beyond.number", beyond)));
    }

    private static String cast(OnnxGraph graph, String name, String x) {
        return graph.add("Cast", name, List.of(x), OnnxGraph.attribute("to", DataType.INT32.getNumber()));
    }
}
