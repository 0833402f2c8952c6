package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CandidateGrids;
import io.github.ptq4vit.backend.Checks;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import java.util.ArrayList;
import java.util.List;

/**
 * A problem whose candidates are scored tile by tile: a tile of outputs, what it is compared with and its weights stay in a
 * core's cache while the candidates pass by, so that no candidate's output is ever written to memory in full. The comparison
 * runs in the product's own post-operations.
 *
 * <p>A tile's loss does not depend on which thread computes it or in what company, and tiles are added in order: equal
 * inputs give equal scores.
 */
final class CpuScoring implements Backend.Scoring {
    /** Bytes of a tile that should fit a core's second-level cache beside packed weights. */
    private static final long TILE_BYTES = 1_200_000;
    /** Tile heights are multiples of this, so that few shapes are compiled. */
    private static final int TILE_STEP = 64;
    private static final int MIN_ITEMS_PER_WORKER = 4;

    private final NativeHeap heap;
    private final Workers workers;
    private final IntegerPath path;
    private final WorkClock clock;
    private final MatmulProblem problem;
    private final TransposedOutputs outputs;
    private final KeptCodes codes;

    /**
     * @param clock counts what the threads are busy with
     * @param owner of what is kept between calls
     */
    CpuScoring(NativeHeap heap, Workers workers, IntegerPath path, WorkClock clock, CpuScope owner, MatmulProblem problem) {
        this.heap = heap;
        this.workers = workers;
        this.path = path;
        this.clock = clock;
        this.problem = problem;
        Slabs slabs = new Slabs(owner);
        this.outputs = new TransposedOutputs(slabs, problem);
        this.codes = new KeptCodes(owner, slabs);
    }

    /** Rows {@code [from, to)} of one product of the batch. */
    record Tile(int batch, int from, int to) {
        int rows() {
            return to - from;
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof Tile that && batch == that.batch && from == that.from && to == that.to;
        }

        @Override
        public int hashCode() {
            return 31 * (31 * batch + from) + to;
        }
    }

    @Override
    public double[][] score(Operand searched, List<CodeGrid> fixed, CandidateGrids candidates, int from, int to) {
        Checks.score(problem, searched, fixed, candidates, from, to);
        if (candidates.count() == 0) {
            return new double[0][];
        }
        CandidateGrids different = candidates.different();
        List<Tile> tiles = tiles(from, to);
        double[][] found = new double[different.count()][];
        int block = candidatesAtATime(searched, found.length);
        for (int start = 0; start < found.length; start += block) {
            int end = Math.min(found.length, start + block);
            double[][] blockLosses = scoreBlock(searched, fixed, different.part(start, end), tiles);
            System.arraycopy(blockLosses, 0, found, start, end - start);
        }
        double[][] losses = new double[candidates.count()][];
        int place = -1;
        for (int candidate = 0; candidate < losses.length; candidate++) {
            place += candidates.repeats(candidate) ? 0 : 1;
            losses[candidate] = found[place].clone();
        }
        return losses;
    }

    private double[][] scoreBlock(Operand searched, List<CodeGrid> fixed, CandidateGrids candidates, List<Tile> tiles) {
        int groups = candidates.groups();
        // tiles are the natural items; when they are few, split the candidates too
        int parts = Math.min(candidates.count(), Math.max(1, (MIN_ITEMS_PER_WORKER * workers.count() + tiles.size() - 1) / tiles.size()));
        double[][][] tileLosses = new double[tiles.size()][candidates.count()][];
        try (CpuScope scope = new CpuScope(heap)) {
            int tileRows = tiles.stream().mapToInt(Tile::rows).max().orElseThrow();
            ScoreInputs inputs = new ScoreInputs(problem, codes, searched, fixed, candidates, path, scope, clock);
            RightCodes rights = RightCodes.of(inputs, tileRows, scope, workers);
            workers.run(tiles.size() * parts, item -> {
                int tile = item / parts;
                int part = item % parts;
                int first = part * candidates.count() / parts;
                int last = (part + 1) * candidates.count() / parts;
                workers.use(worker -> {
                    if (inputs.transposed) {
                        new TransposedTileScorer(inputs, rights, outputs, worker, tiles.get(tile)).score(first, last, tileLosses[tile]);
                    } else {
                        new TileScorer(inputs, rights, worker, tiles.get(tile)).score(first, last, tileLosses[tile]);
                    }
                });
            });
        }
        double[][] losses = new double[candidates.count()][groups];
        for (double[][] tile : tileLosses) {
            for (int c = 0; c < losses.length; c++) {
                for (int g = 0; g < groups; g++) {
                    losses[c][g] += tile[c][g];
                }
            }
        }
        return losses;
    }

    private List<Tile> tiles(int from, int to) {
        List<Tile> tiles = new ArrayList<>();
        int height = tileRows();
        if (problem.batch() == 1) {
            addRows(tiles, 0, from, to, height);
        } else {
            for (int index = from; index < to; index++) {
                MatmulProblem.Unit unit = problem.unit(index);
                for (int head = 0; head < problem.heads(); head++) {
                    addRows(tiles, unit.image() * problem.heads() + head, unit.from(), unit.to(), height);
                }
            }
        }
        return tiles;
    }

    private static void addRows(List<Tile> tiles, int batch, int from, int to, int height) {
        for (int row = from; row < to; row += height) {
            tiles.add(new Tile(batch, row, Math.min(to, row + height)));
        }
    }

    private int tileRows() {
        long bytesPerRow = 3L * Float.BYTES * problem.m() + 5L * problem.k();
        long rows = TILE_BYTES / bytesPerRow;
        // of an attention product all rows at once if they nearly fit: its right side is prepared per tile
        if (problem.batch() > 1 && problem.n() <= rows * 3 / 2) {
            return problem.n();
        }
        return (int) Math.max(TILE_STEP, Math.min(4 * TILE_STEP, rows / TILE_STEP * TILE_STEP));
    }

    private int candidatesAtATime(Operand searched, int count) {
        if (searched == Operand.LEFT || problem.batch() > 1) {
            return count;
        }
        long bytes = (long) problem.k() * problem.m() * path.first().bytes();
        return (int) Math.max(1, Math.min(count, KeptCodes.MOST_BYTES / bytes));
    }
}
