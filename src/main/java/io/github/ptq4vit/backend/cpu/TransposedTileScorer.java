package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.View;
import java.util.List;
import java.util.Optional;
import org.bytedeco.dnnl.global.dnnl;

/**
 * One tile against a row of candidates for the right operand, as {@code O^T = R^T L^T}: the tile's left operand is packed
 * once, and each candidate's codes are used as they come.
 */
final class TransposedTileScorer {
    private static final int F32 = dnnl.dnnl_f32;

    private final ScoreInputs inputs;
    private final RightCodes rights;
    private final TransposedOutputs outputs;
    private final MatmulProblem problem;
    private final Worker worker;
    private final CpuScoring.Tile tile;
    private final int head;
    private final long row;
    /** Products a candidate takes, each of {@code height} rows. */
    private final int parts;
    private final int height;

    TransposedTileScorer(ScoreInputs inputs, RightCodes rights, TransposedOutputs outputs, Worker worker, CpuScoring.Tile tile) {
        this.inputs = inputs;
        this.rights = rights;
        this.outputs = outputs;
        this.problem = inputs.problem;
        this.worker = worker;
        this.tile = tile;
        this.head = tile.batch() % problem.heads();
        this.row = (long) tile.batch() * problem.n() + tile.from();
        this.parts = inputs.parts;
        this.height = problem.m() / parts;
    }

    /** Puts the losses of candidates {@code [first, last)} into their rows of {@code losses}. */
    void score(int first, int last, double[][] losses) {
        long start = System.nanoTime();
        CodeProduct product = inputs.transposedProduct(worker, height, tile.rows());
        start = inputs.clock.add(WorkClock.Kind.COMPILE, start);
        long[] packed = packedLeft(product, first);
        TransposedOutputs.Copy copy = outputs.of(worker, tile);
        long target = copy.output();
        long weight = copy.weight();
        long result = worker.scratch("tile result", (long) height * tile.rows() * Float.BYTES);
        boolean together = problem.heads() == 1 && parts < inputs.groups;
        TileDistance distance = new TileDistance(worker, problem, height, tile.rows(), together, result, target);
        long numbers = problem.batch() > 1 ? rightRows() : 0;
        inputs.clock.add(WorkClock.Kind.PACK, start);
        for (int candidate = first; candidate < last && !together; candidate++) {
            losses[candidate] = new double[inputs.groups];
        }
        long[] sources = new long[inputs.ranges];
        long[] scales = new long[inputs.ranges];
        for (int part = 0; part < parts; part++) {
            int group = problem.heads() > 1 ? head : part;
            long partOffset = (long) part * height * tile.rows() * Float.BYTES;
            for (int candidate = first; candidate < last; candidate++) {
                int at = inputs.groups == 1 ? 0 : group;
                if (candidate > first && inputs.sameAsBefore(candidate, group)) {
                    losses[candidate][at] = losses[candidate - 1][at];
                    continue;
                }
                long time = System.nanoTime();
                long codes = problem.batch() > 1 ? encodeRight(numbers, candidate)
                        : rights.address(worker, product, candidate, part);
                for (int range = 0; range < inputs.ranges; range++) {
                    sources[range] = codes;
                    scales[range] = inputs.scales(candidate, group, range);
                }
                time = inputs.clock.add(WorkClock.Kind.ENCODE, time);
                if (weight != 0) {
                    product.run(sources, packed, scales, 0, result, target + partOffset, weight + partOffset);
                } else {
                    product.run(sources, packed, scales, 0, result, target + partOffset);
                }
                time = inputs.clock.add(WorkClock.Kind.PRODUCT, time);
                inputs.clock.count(height, problem.k(), tile.rows(), inputs.ranges);
                if (together) {
                    losses[candidate] = distance.perGroup(inputs.groups, -1);
                } else {
                    losses[candidate][at] = distance.total();
                }
                inputs.clock.add(WorkClock.Kind.SUM, time);
            }
        }
    }

    /** The tile's left operand in codes, a packed {@code [k, rows]} for each range. */
    private long[] packedLeft(CodeProduct product, int candidate) {
        long elements = (long) tile.rows() * problem.k();
        long left = CpuBuffer.address(problem.left()) + row * problem.k() * Float.BYTES;
        CodeGrid grid = inputs.leftGrid(candidate, head);
        Optional<Worker.Product> key = product.packedFor();
        long codeBytes = elements * inputs.second.form().bytes();
        long bytes = key.isPresent() ? worker.product(key.get()).weightBytes() : codeBytes;
        return inputs.codes.fixed(new KeptCodes.Place(Operand.LEFT, tile.batch(), tile.from(), tile.rows()), List.of(grid), bytes, kept -> {
            for (int range = 0; range < kept.length; range++) {
                if (key.isEmpty()) {
                    inputs.second.encode(worker, left, elements, grid, range, kept[range]);
                } else {
                    long plain = worker.scratch("tile left", codeBytes);
                    inputs.second.encode(worker, left, elements, grid, range, plain);
                    worker.pack(Layout.dense(inputs.second.form().type(), tile.rows(), problem.k()).transposed(), key.get(), plain,
                            kept[range]);
                }
            }
        });
    }

    /** This product's own right operand as {@code [m, k]} numbers. */
    private long rightRows() {
        View right = problem.right().at(tile.batch()).transpose();
        if (right.isDense()) {
            return CpuBuffer.address(right);
        }
        long copy = worker.scratch("tile right rows", right.elements() * Float.BYTES);
        worker.copy(Layout.of(right), Layout.dense(F32, problem.m(), problem.k())).run(CpuBuffer.address(right), copy);
        return copy;
    }

    private long encodeRight(long numbers, int candidate) {
        long count = (long) problem.k() * problem.m();
        long codes = worker.scratch("tile right", count * inputs.first.form().bytes());
        inputs.first.encode(worker, numbers, count, inputs.rightGrid(candidate, head), 0, codes);
        return codes;
    }
}
