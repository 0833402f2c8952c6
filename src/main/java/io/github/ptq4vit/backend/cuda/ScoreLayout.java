package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * How the outputs that a search compares are cut into tiles, see {@code cuda-kernels/score.cuh}: row blocks, and parts of the
 * columns. A tile has one scale and belongs to one group of the losses.
 *
 * @param scales scales of a candidate: 1, the heads or the column groups
 * @param groups losses of a candidate: 1, or as many as scales
 * @param byHead whether scales are those of heads
 * @param side rows and columns of a tile
 * @param parts parts of the columns that share no tile
 * @param tiles tiles of a part, side by side
 * @param slots partial sums of a candidate's group along the rows
 * @param inner the same along the columns
 * @param leftRows rows of the left operand that take part, as runs of rows to be coded
 * @param rightRows the same of the right operand, whose rows are the columns of the outputs
 */
record ScoreLayout(int scales, int groups, boolean byHead, int side, int parts, int tiles, int slots, int inner,
        List<RowBlock> blocks, List<Rows> leftRows, List<Rows> rightRows) {

    /**
     * Rows of one product of the batch.
     *
     * @param left where the rows begin among those that take part
     * @param right where the columns of the product do
     * @param slot which partial sum of its group it makes
     */
    record RowBlock(int batch, int from, int rows, int head, int left, int right, int slot) {
        static final int BYTES = 8 * Integer.BYTES;

        void write(ByteBuffer words) {
            words.putInt(batch).putInt(from).putInt(rows).putInt(head).putInt(left).putInt(right).putInt(slot).putInt(0);
        }
    }

    /**
     * A run of rows of one product's operand, all coded by the same grid.
     *
     * @param grid the head or the part of the columns
     * @param target where its codes begin, in rows
     */
    record Rows(int batch, int from, int count, int grid, long target) {
        static final int BYTES = 6 * Integer.BYTES;

        void write(ByteBuffer words) {
            words.putInt(batch).putInt(from).putInt(count).putInt(grid).putLong(target);
        }
    }

    /**
     * Cuts units {@code [from, to)} of a problem.
     *
     * @param candidates of the operand that they search only the rows that take part are coded; of the other one all are
     * @param across whether tiles may lie across scales of the columns; they then leave a sum for each column
     */
    static ScoreLayout of(MatmulProblem problem, ScoreCandidates candidates, boolean across, int side, int from, int to) {
        boolean byHead = problem.heads() > 1;
        Operand searched = candidates.searched();
        int scales = candidates.scales();
        int groups = candidates.grids().groups();
        int parts = across || byHead ? 1 : scales;
        List<Rows> leftRows = new ArrayList<>();
        Map<Integer, Integer> products = new LinkedHashMap<>();
        if (problem.batch() == 1) {
            leftRows.add(new Rows(0, from, to - from, 0, 0));
            products.put(0, 0);
        } else {
            int left = 0;
            for (int unit = from; unit < to; unit++) {
                MatmulProblem.Unit own = problem.unit(unit);
                for (int head = 0; head < problem.heads(); head++) {
                    int batch = own.image() * problem.heads() + head;
                    leftRows.add(new Rows(batch, own.from(), own.to() - own.from(), head, left));
                    left += own.to() - own.from();
                    products.putIfAbsent(batch, products.size());
                }
            }
        }
        List<Rows> rightRows = new ArrayList<>();
        products.forEach((batch, place) -> addColumns(problem, scales, batch, place, rightRows));
        List<RowBlock> blocks = new ArrayList<>();
        int[] slots = new int[byHead && groups > 1 ? groups : 1];
        for (Rows rows : leftRows) {
            for (int start = 0; start < rows.count; start += side) {
                int row = rows.from + start;
                long left = searched == Operand.LEFT ? rows.target + start : (long) rows.batch * problem.n() + row;
                long right = (long) (searched == Operand.RIGHT ? products.get(rows.batch) : rows.batch) * problem.m();
                blocks.add(new RowBlock(rows.batch, row, Math.min(side, rows.count - start), rows.grid, Math.toIntExact(left),
                        Math.toIntExact(right), slots[slots.length == 1 ? 0 : rows.grid]++));
            }
        }
        int tiles = (problem.m() / parts + side - 1) / side;
        int inner = (across ? problem.m() : parts * tiles) / (byHead ? 1 : groups);
        return new ScoreLayout(scales, groups, byHead, side, parts, tiles, slots[0], inner, blocks, leftRows, rightRows);
    }

    /** All rows of an operand; the right one's are the columns of the outputs. */
    static List<Rows> everyRow(MatmulProblem problem, Operand operand, int scales) {
        List<Rows> rows = new ArrayList<>();
        for (int batch = 0; batch < problem.batch(); batch++) {
            if (operand == Operand.RIGHT) {
                addColumns(problem, scales, batch, batch, rows);
            } else {
                rows.add(new Rows(batch, 0, problem.n(), batch % problem.heads(), (long) batch * problem.n()));
            }
        }
        return rows;
    }

    private static void addColumns(MatmulProblem problem, int scales, int batch, int place, List<Rows> rows) {
        boolean byHead = problem.heads() > 1;
        int parts = byHead ? 1 : scales;
        int width = problem.m() / parts;
        for (int part = 0; part < parts; part++) {
            rows.add(new Rows(batch, part * width, width, byHead ? batch % problem.heads() : part,
                    (long) place * problem.m() + (long) part * width));
        }
    }

    /** Tiles altogether. */
    long allTiles() {
        return (long) blocks.size() * parts * tiles;
    }

    /** How many rows such runs have. */
    static long count(List<Rows> rows) {
        return rows.stream().mapToLong(Rows::count).sum();
    }
}
