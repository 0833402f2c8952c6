package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.CandidateGrids;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.CodeTable;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Grids as the kernels read them: {@code CodeGrid} of {@code cuda-kernels/codes.cuh}, one after the other, and behind them
 * each {@code CodeTable} that they look codes up in.
 */
final class GridTable {
    /** Size of a grid in bytes: two ranges of five words, and four more. */
    private static final int GRID_BYTES = 14 * Integer.BYTES;
    /** Places for bounds, and for the codes of a range. */
    private static final int LEVELS = 256;
    /** What a cache reads at a time, of which a table begins one. */
    private static final int LINE = 128;
    private static final int TABLE_BYTES = LEVELS * Float.BYTES + 2 * LEVELS + LINE;

    private GridTable() {
    }

    /** Copies grids of one candidate to memory that the scope owns; returns its address. */
    static long upload(CudaDevice device, CudaScope scope, List<CodeGrid> grids) {
        return upload(device, scope, CandidateGrids.of(List.of(grids)));
    }

    /** Copies grids, candidate after candidate, to memory that the scope owns; returns its address. */
    static long upload(CudaDevice device, CudaScope scope, CandidateGrids grids) {
        List<CodeTable> tables = grids.kinds().stream().flatMap(grid -> grid.table().stream()).distinct().toList();
        int first = (grids.count() * grids.groups() * GRID_BYTES + LINE - 1) / LINE * LINE;
        Map<CodeTable, Integer> places = new HashMap<>();
        tables.forEach(table -> places.put(table, first + places.size() * TABLE_BYTES));
        return Tables.upload(device, scope, first + (long) tables.size() * TABLE_BYTES, words -> {
            for (int candidate = 0; candidate < grids.count(); candidate++) {
                for (int group = 0; group < grids.groups(); group++) {
                    write(grids, candidate, group, places, words);
                }
            }
            places.forEach((table, place) -> write(table, words.position(place)));
        });
    }

    private static void write(CandidateGrids grids, int candidate, int group, Map<CodeTable, Integer> tables, ByteBuffer words) {
        CodeGrid kind = grids.kind(candidate, group);
        for (int range = 0; range < 2; range++) {
            CodeRange r = kind.ranges().get(Math.min(range, kind.ranges().size() - 1));
            words.putFloat(grids.step(candidate, group, Math.min(range, grids.ranges() - 1)))
                    .putFloat(r.from()).putFloat(r.to()).putInt(r.min()).putInt(r.max());
        }
        words.putInt(kind.ranges().size()).putInt(kind.nearest() ? 1 : 0).putInt(kind.rows().ordinal())
                .putInt(kind.table().map(tables::get).orElse(0));
    }

    private static void write(CodeTable table, ByteBuffer words) {
        // so many comparisons tell 2^depth levels apart
        int depth = Integer.SIZE - Integer.numberOfLeadingZeros(table.levels() - 1);
        words.putFloat(Float.NaN);
        for (int node = 1; node < LEVELS; node++) {
            int step = Integer.numberOfTrailingZeros(Integer.highestOneBit(node));
            int inStep = node - (1 << step);
            int bound = step < depth ? ((2 * inStep + 1) << (depth - 1 - step)) - 1 : LEVELS;
            words.putFloat(bound < table.levels() - 1 ? table.bound(bound) : Float.NaN);
        }
        for (int range = 0; range < 2; range++) {
            for (int level = 0; level < LEVELS; level++) {
                words.put((byte) (range < table.ranges() && level < table.levels() ? table.code(range, level) : 0));
            }
        }
        words.putInt(depth);
    }
}
