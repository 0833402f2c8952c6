package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.Distance;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.View;
import java.util.List;
import java.util.Optional;

/**
 * What one device does of a call of {@link CudaScoring}: of as many candidates at a time as memory allows one kernel makes the
 * codes, another one compares their outputs, which stay on the chip, with the true ones tile by tile, and a third adds up what
 * the tiles leave.
 * See {@code cuda-kernels/score.cuh}. A candidate's loss does not depend on the others of a call, so candidates may be scored in
 * any parts, also on several devices.
 */
final class ScoreRun {
    /** Most memory that candidates' codes and sums take at a time, and what part of the device's at most. */
    private static final long MOST_BYTES = 512L << 20;
    private static final int SHARE = 4;
    /** As many as can be counted along a launch's axes. */
    private static final int MOST_CANDIDATES = 1 << 15;
    private static final int SMALL_TILE = 64;
    private static final int LARGE_TILE = 128;
    /** Shorter products are over before what larger tiles save shows. */
    private static final int DEEP = 256;
    /** Large tiles are enough if with so many turns each they keep all multiprocessors busy. */
    private static final int TURNS_SHARED_OUT = 16;
    /** Blocks a multiprocessor that there should be: candidates are shared out until there are. */
    private static final int BLOCKS_A_MULTIPROCESSOR = 4;
    /** Numbers that a warp leaves of a row, and warps that share a row of a tile, in comparisons of rows. */
    private static final int MOMENTS = 8;
    private static final int PIECES = 2;

    private final CudaDevice device;
    private final MatmulProblem problem;
    private final ScoreCandidates all;
    private final boolean left;
    private final boolean comparesRows;
    private final boolean floatLeft;
    private final boolean firstRangeApart;
    private final ScoreLayout layout;
    private final List<ScoreLayout.Rows> runs;
    private final long blocks;
    private final Optional<ScoreCodes> fixed;

    /**
     * @param on the device and the problem there
     * @param scope owns the run's memory
     * @param all the candidates of all devices: how the work is laid out, and with it the order of sums, goes by them
     * @param from first unit
     * @param to first unit beyond
     */
    ScoreRun(DeviceProblem on, CudaScope scope, ScoreCandidates all, int from, int to) {
        this.device = on.device();
        this.problem = on.problem();
        this.all = all;
        this.left = all.searched() == Operand.LEFT;
        this.comparesRows = problem.distance() == Distance.COSINE || problem.distance() == Distance.PEARSON;
        this.floatLeft = !left && all.fixed().isEmpty();
        this.firstRangeApart = !comparesRows && all.hasFirstRangeApart();
        this.layout = layout(from, to);
        this.runs = left ? layout.leftRows() : layout.rightRows();
        this.blocks = Tables.upload(device, scope, (long) layout.blocks().size() * ScoreLayout.RowBlock.BYTES,
                words -> layout.blocks().forEach(block -> block.write(words)));
        this.fixed = floatLeft ? Optional.empty()
                : Optional.of(on.fixedCodes(left ? Operand.RIGHT : Operand.LEFT, all.fixed(), all.scales()));
    }

    private ScoreLayout layout(int from, int to) {
        ScoreLayout small = ScoreLayout.of(problem, all, floatLeft && !comparesRows, SMALL_TILE, from, to);
        if (floatLeft || comparesRows || problem.k() < DEEP || !device.runs(Kernel.SCORE_TILE128_S8)) {
            return small;
        }
        ScoreLayout large = ScoreLayout.of(problem, all, false, LARGE_TILE, from, to);
        // unless they would cover a quarter more, or be too few; never by the candidates, whose losses must not depend on it
        boolean full = large.allTiles() * LARGE_TILE * LARGE_TILE * 4 <= small.allTiles() * SMALL_TILE * SMALL_TILE * 5;
        return full && large.allTiles() * TURNS_SHARED_OUT >= device.multiprocessors() ? large : small;
    }

    /** Fills in the losses of candidates {@code [first, end)} of {@code [candidates][groups]}. */
    void losses(int first, int end, double[][] losses) {
        int most = atATime();
        for (int start = first; start < end;) {
            int last = Math.min(end, start + most);
            ScoreCandidates some = all.part(start, firstRangeApart ? Math.min(last, all.firstRangesEnd(start)) : last);
            double[][] own = losses(some);
            System.arraycopy(own, 0, losses, start, own.length);
            start += own.length;
        }
    }

    private double[][] losses(ScoreCandidates some) {
        try (CudaScope scope = new CudaScope(device.memory())) {
            ScoreCandidates scored = firstRangeApart ? some.secondRanges() : some;
            CandidateTables tables = CandidateTables.upload(device, scope, scored);
            ScoreCodes codes = codes(scope, scored, tables);
            long steps = steps(scope, scored);
            long partial = bytes(scope, scored.count() * partialBytes());
            if (comparesRows) {
                long moments = bytes(scope, scored.count() * momentBytes());
                compareRows(scored, tables, codes, steps, moments);
                similarities(scored, moments, partial);
            } else if (floatLeft) {
                compareFloats(scored, codes, steps, partial);
            } else {
                long firstCodes = 0;
                long firstSteps = 0;
                if (firstRangeApart) {
                    ScoreCandidates first = some.firstRange();
                    firstCodes = codes(scope, first, CandidateTables.upload(device, scope, first)).address();
                    firstSteps = steps(scope, first);
                }
                compareCodes(scored, tables, codes, steps, firstCodes, firstSteps, partial);
            }
            return sums(scope, partial, scored.count());
        }
    }

    /** Elements, of operands in codes. */
    private void compareCodes(ScoreCandidates some, CandidateTables tables, ScoreCodes codes, long steps, long firstCodes,
            long firstSteps, long partial) {
        // a turn takes two candidates of the operand along the tile's columns, or the two ranges of L, which then lies there
        boolean transposed = left || some.ranges() == 2;
        ScoreCodes a = transposed == left ? fixed.orElseThrow() : codes;
        ScoreCodes b = transposed == left ? codes : fixed.orElseThrow();
        int together = some.ranges() == 2 ? 1 : 2;
        int share = share(tables.most(), together);
        Launch launch = device.launch(layout.side() == LARGE_TILE ? Kernel.SCORE_TILE128_S8 : Kernel.SCORE_TILE64_S8)
                .words(shape(tables.most(), share, some.ranges(), transposed, codes, a, b))
                .address(a.address()).address(b.address()).address(firstCodes).address(firstSteps)
                .address(blocks).address(tables.lists()).address(tables.counts()).address(steps).view(problem.output());
        optional(launch, weight());
        optional(launch, problem.bias());
        launch.address(partial).blocks(layout.allTiles(), (tables.most() + share - 1) / share, 1);
    }

    /** Elements, of a left operand in float32. */
    private void compareFloats(ScoreCandidates some, ScoreCodes codes, long steps, long partial) {
        int share = share(some.count(), 1);
        Launch launch = device.launch(Kernel.SCORE_TILE64_F32)
                .words(shape(some.count(), share, 1, true, codes, codes, codes))
                .address(codes.address()).view(problem.left()).address(blocks).address(steps).view(problem.output());
        optional(launch, weight());
        optional(launch, problem.bias());
        launch.address(partial).blocks(layout.allTiles(), (some.count() + share - 1) / share, 1);
    }

    /** What tiles leave of their rows for {@link #similarities}. */
    private void compareRows(ScoreCandidates some, CandidateTables tables, ScoreCodes codes, long steps, long moments) {
        int share = share(tables.most(), 1);
        ScoreCodes a = left ? fixed.orElseThrow() : codes;
        ScoreCodes b = left ? codes : fixed.orElse(codes);
        Launch launch = device.launch(floatLeft ? Kernel.SCORE_ROWS64_F32 : Kernel.SCORE_ROWS64_S8)
                .words(shape(tables.most(), share, some.ranges(), true, codes, a, b))
                .address(a.address());
        if (floatLeft) {
            launch.view(problem.left());
        } else {
            launch.address(b.address());
        }
        launch.address(blocks).address(tables.lists()).address(tables.counts()).address(steps).view(problem.output());
        optional(launch, problem.bias());
        launch.address(moments).blocks(layout.allTiles(), (tables.most() + share - 1) / share, 1);
    }

    private void similarities(ScoreCandidates some, long moments, long partial) {
        device.launch(Kernel.SCORE_SIMILARITY_F64)
                .words(shape(0, 0, 1, true, null, null, null)).address(moments).address(blocks)
                .count(problem.m() / columnGroups()).integer(problem.distance() == Distance.PEARSON ? 1 : 0).address(partial)
                .blocks(layout.blocks().size(), columnGroups(), some.count());
    }

    /** Sums of each candidate and group. */
    private double[][] sums(CudaScope temporary, long partial, int candidates) {
        int groups = layout.groups();
        long bytes = (long) candidates * groups * Double.BYTES;
        long sums = bytes(temporary, bytes);
        device.launch(Kernel.SCORE_SUM_F64).address(partial).address(sums).count(layout.slots()).count(groups)
                .count(comparesRows ? 1 : layout.inner()).blocks(groups, candidates, 1);
        double[] flat = new double[candidates * groups];
        device.transfers().download(sums, (start, piece) -> piece.asDoubleBuffer().get(flat, (int) (start / Double.BYTES),
                piece.remaining() / Double.BYTES), bytes);
        double[][] losses = new double[candidates][groups];
        for (int i = 0; i < flat.length; i++) {
            losses[i / groups][i % groups] = flat[i];
        }
        return losses;
    }

    /** {@code Shape} of {@code cuda-kernels/score.cuh}. */
    private long[] shape(int most, int share, int ranges, boolean transposed, ScoreCodes candidates, ScoreCodes a,
            ScoreCodes b) {
        return new long[] {problem.n(), problem.k(), problem.m(), IntegerProducts.padded(problem.k()), layout.parts(),
                layout.tiles(), layout.scales(), layout.groups(), layout.byHead() ? 1 : 0, layout.slots(), layout.inner(), most,
                share, ranges, transposed ? 1 : 0, problem.distance() == Distance.ABSOLUTE ? 1 : 0,
                a == null || a != candidates ? 0 : a.stride(), b == null || b != candidates ? 0 : b.stride(),
                b == null ? 0 : b.rangeStride()};
    }

    private Optional<View> weight() {
        return problem.distance() == Distance.SQUARED ? problem.weight() : Optional.empty();
    }

    private static void optional(Launch launch, Optional<View> view) {
        view.ifPresentOrElse(launch::view, () -> launch.address(0));
    }

    /** Groups of columns that are compared apart from each other. */
    private int columnGroups() {
        return layout.byHead() ? 1 : layout.groups();
    }

    /** How many candidates a block takes, of {@code most}, {@code together} at a time. */
    private int share(int most, int together) {
        int turns = (most + together - 1) / together;
        long chunks = Math.max(1, Math.min(turns,
                (long) BLOCKS_A_MULTIPROCESSOR * device.multiprocessors() / layout.allTiles()));
        return (int) ((turns + chunks - 1) / chunks) * together;
    }

    private long partialBytes() {
        return (long) layout.slots() * layout.groups() * layout.inner() * Double.BYTES;
    }

    private long momentBytes() {
        return (long) layout.blocks().size() * columnGroups() * SMALL_TILE * layout.inner() * PIECES * MOMENTS * Float.BYTES;
    }

    /** How many candidates are scored at a time. */
    private int atATime() {
        long each = ScoreCodes.bytes(all.grids().ranges(), ScoreLayout.count(runs), problem.k()) + partialBytes()
                + (comparesRows ? momentBytes() : 0);
        long budget = Math.min(MOST_BYTES, device.memory().plannedBytes() / SHARE);
        return (int) Math.max(2, Math.min(MOST_CANDIDATES, budget / each / 2 * 2));
    }

    private long steps(CudaScope owner, ScoreCandidates candidates) {
        float[] steps = candidates.steps();
        return Tables.upload(device, owner, (long) steps.length * Float.BYTES, words -> words.asFloatBuffer().put(steps));
    }

    /** Codes of the searched operand's rows that take part. */
    private ScoreCodes codes(CudaScope owner, ScoreCandidates candidates, CandidateTables tables) {
        CudaBuffer memory = owner.buffer(DataType.INT8, candidates.count()
                * ScoreCodes.bytes(candidates.grids().ranges(), ScoreLayout.count(runs), problem.k()));
        return ScoreCodes.of(device, memory, problem, candidates.searched(), runs, candidates, tables);
    }

    private static long bytes(CudaScope owner, long count) {
        return owner.buffer(DataType.INT8, count).address();
    }
}
