package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.bytedeco.dnnl.global.dnnl;

/** One tile against a row of candidates. */
final class TileScorer {
    private final ScoreInputs inputs;
    private final RightCodes rights;
    private final MatmulProblem problem;
    private final Worker worker;
    private final CpuScoring.Tile tile;
    private final int head;
    private final long left;
    private final long output;
    private final long weight;
    private final long bias;
    private final long result;
    private final long[] leftCodes;

    TileScorer(ScoreInputs inputs, RightCodes rights, Worker worker, CpuScoring.Tile tile) {
        this.inputs = inputs;
        this.rights = rights;
        this.problem = inputs.problem;
        this.worker = worker;
        this.tile = tile;
        this.head = tile.batch() % problem.heads();
        long row = (long) tile.batch() * problem.n() + tile.from();
        this.left = CpuBuffer.address(problem.left()) + row * problem.k() * Float.BYTES;
        this.output = CpuBuffer.address(problem.output()) + row * problem.m() * Float.BYTES;
        this.weight = problem.weight().map(w -> CpuBuffer.address(w) + row * problem.m() * Float.BYTES).orElse(0L);
        this.bias = problem.bias().map(CpuBuffer::address).orElse(0L);
        this.result = worker.scratch("tile result", (long) tile.rows() * problem.m() * Float.BYTES);
        this.leftCodes = new long[inputs.ranges];
        for (int range = 0; range < inputs.ranges && !inputs.floatLeft; range++) {
            leftCodes[range] = worker.scratch("tile left" + range,
                    (long) tile.rows() * problem.k() * inputs.first.form().bytes());
        }
    }

    /** Puts the losses of candidates {@code [first, last)} into their rows of {@code losses}. */
    void score(int first, int last, double[][] losses) {
        int firstRange = multipliesFirstRangeApart() ? 1 : 0;
        long start = System.nanoTime();
        CodeProduct product = inputs.product(worker, tile.rows(), firstRange);
        start = inputs.clock.add(WorkClock.Kind.COMPILE, start);
        if (inputs.floatLeft) {
            leftCodes[0] = left;
        } else if (inputs.searched == Operand.RIGHT) {
            encodeLeft(first, 0);
        }
        long right = 0;
        if (inputs.searched == Operand.LEFT) {
            right = problem.batch() == 1 ? rights.address(worker, product, 0, 0) : fixedRight(product);
        }
        inputs.clock.add(WorkClock.Kind.PACK, start);
        TileDistance distance = new TileDistance(worker, problem, tile.rows(), problem.m(), false, result, output);
        Optional<CodeRange> multiplied = Optional.empty();
        long target = output;
        for (int candidate = first; candidate < last; candidate++) {
            if (candidate > first && inputs.sameAsBefore(candidate, head)) {
                losses[candidate] = losses[candidate - 1];
                continue;
            }
            long time = System.nanoTime();
            if (inputs.searched == Operand.LEFT) {
                encodeLeft(candidate, firstRange);
            } else {
                right = problem.batch() == 1 ? rights.address(worker, product, candidate, 0)
                        : candidateRight(product, candidate);
            }
            if (firstRange == 1) {
                Optional<CodeRange> own = Optional.of(inputs.leftGrid(candidate, head).ranges().get(0));
                if (!own.equals(multiplied)) {
                    target = residual(candidate, right);
                    multiplied = own;
                }
            }
            time = inputs.clock.add(WorkClock.Kind.ENCODE, time);
            multiply(product, candidate, firstRange, right, target);
            time = inputs.clock.add(WorkClock.Kind.PRODUCT, time);
            inputs.clock.count(tile.rows(), problem.k(), problem.m(), inputs.ranges - firstRange);
            losses[candidate] = distance.perGroup(inputs.groups, problem.heads() > 1 ? head : -1);
            inputs.clock.add(WorkClock.Kind.SUM, time);
        }
    }

    private void multiply(CodeProduct product, int candidate, int firstRange, long right, long target) {
        long[] codes = Arrays.copyOfRange(leftCodes, firstRange, inputs.ranges);
        long[] rights = new long[codes.length];
        Arrays.fill(rights, right);
        long[] scales = new long[codes.length];
        for (int range = 0; range < scales.length; range++) {
            scales[range] = inputs.scales(candidate, head, firstRange + range);
        }
        if (!inputs.isElementwise()) {
            product.run(codes, rights, scales, bias, result);
        } else if (weight != 0) {
            product.run(codes, rights, scales, bias, result, target, weight);
        } else {
            product.run(codes, rights, scales, bias, result, target);
        }
    }

    /**
     * Whether the left operand's first range is subtracted from the target instead of being added to every candidate's
     * product. Candidates in a row often share it: of GELU's twin the negative scale is fixed.
     */
    private boolean multipliesFirstRangeApart() {
        return inputs.searched == Operand.LEFT && inputs.ranges == 2 && inputs.isElementwise()
                && inputs.leftGrid(0, head).isFirstRangeApart();
    }

    /** The output less the bias and the product of the first range: what the second range should give. */
    private long residual(int candidate, long right) {
        inputs.first.encode(worker, left, elements(), inputs.leftGrid(candidate, head), 0, leftCodes[0]);
        Layout layout = Layout.dense(dnnl.dnnl_f32, tile.rows(), problem.m());
        CodeProduct product = inputs.firstRange(worker, tile.rows());
        long own = problem.batch() == 1 ? rights.address(worker, product, candidate, 0) : right;
        product.run(leftCodes, new long[] {own}, new long[] {inputs.scales(candidate, head, 0)}, bias, result);
        long residual = worker.scratch("tile residual", (long) tile.rows() * problem.m() * Float.BYTES);
        worker.binary(dnnl.dnnl_binary_sub, layout, layout, layout, Epilogue.NONE).run(output, result, residual);
        return residual;
    }

    private void encodeLeft(int candidate, int firstRange) {
        for (int range = firstRange; range < inputs.ranges; range++) {
            inputs.first.encode(worker, left, elements(), inputs.leftGrid(candidate, head), range, leftCodes[range]);
        }
    }

    /** The fixed right operand of this tile's own product, as the product wants it. */
    private long fixedRight(CodeProduct product) {
        CodeGrid grid = inputs.rightGrid(0, head);
        // what is packed may hang on the tile's height
        return inputs.codes.fixed(new KeptCodes.Place(Operand.RIGHT, tile.batch(), 0, tile.rows()), List.of(grid),
                rightBytes(product), kept -> encodeRight(product, grid, kept[0]))[0];
    }

    /** A candidate for the right operand of this tile's own product. */
    private long candidateRight(CodeProduct product, int candidate) {
        long codes = worker.scratch("tile right", rightBytes(product));
        encodeRight(product, inputs.rightGrid(candidate, head), codes);
        return codes;
    }

    private long rightBytes(CodeProduct product) {
        return product.packedFor().map(key -> worker.product(key).weightBytes())
                .orElse((long) problem.k() * problem.m() * inputs.second.form().bytes());
    }

    private void encodeRight(CodeProduct product, CodeGrid grid, long codes) {
        long count = (long) problem.k() * problem.m();
        long numbers = CpuBuffer.address(problem.right()) + tile.batch() * count * Float.BYTES;
        if (product.packedFor().isEmpty()) {
            inputs.second.encode(worker, numbers, count, grid, 0, codes);
        } else {
            long plain = worker.scratch("tile right plain", count * inputs.second.form().bytes());
            inputs.second.encode(worker, numbers, count, grid, 0, plain);
            inputs.pack(worker, product, plain, codes);
        }
    }

    private long elements() {
        return (long) tile.rows() * problem.k();
    }
}
