package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.Distance;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import java.util.Arrays;
import org.bytedeco.dnnl.global.dnnl;

/** One tile against a row of candidates. */
final class TileScorer {
    private final ScoreInputs inputs;
    private final MatmulProblem problem;
    private final Worker worker;
    private final CpuScorer.Tile tile;
    private final int head;
    private final long left;
    private final long output;
    private final long weight;
    private final long result;
    private final long[] leftCodes;

    TileScorer(ScoreInputs inputs, Worker worker, CpuScorer.Tile tile) {
        this.inputs = inputs;
        this.problem = inputs.problem;
        this.worker = worker;
        this.tile = tile;
        this.head = tile.batch() % problem.heads();
        long row = (long) tile.batch() * problem.n() + tile.from();
        this.left = CpuBuffer.address(problem.left()) + row * problem.k() * Float.BYTES;
        this.output = CpuBuffer.address(problem.output()) + row * problem.m() * Float.BYTES;
        this.weight = problem.weight().map(w -> CpuBuffer.address(w) + row * problem.m() * Float.BYTES).orElse(0L);
        this.result = worker.scratch("tile result", (long) tile.rows() * problem.m() * Float.BYTES);
        this.leftCodes = new long[inputs.ranges];
        for (int range = 0; range < inputs.ranges && !inputs.floatLeft; range++) {
            leftCodes[range] = worker.scratch("tile left" + range,
                    (long) tile.rows() * problem.k() * inputs.coder.bytesPerCode());
        }
    }

    /** Puts the losses of candidates {@code [first, last)} into their rows of {@code losses}. */
    void score(int first, int last, double[][] losses) {
        // the part of the left operand that is the same for all candidates is multiplied once
        int firstRange = sharesFirstRange(first, last) ? 1 : 0;
        CodeProduct product = inputs.product(worker, tile.rows(), firstRange);
        if (inputs.floatLeft) {
            leftCodes[0] = left;
        } else if (inputs.searched == Operand.RIGHT) {
            encodeLeft(first, 0);
        }
        long right = 0;
        if (inputs.searched == Operand.LEFT) {
            right = problem.batch() == 1 ? inputs.right(0) : encodeRight(product, 0);
        }
        long target = output;
        if (firstRange == 1) {
            inputs.coder.encode(worker, left, elements(), inputs.leftGrid(first, head), 0, leftCodes[0]);
            target = residual(first, right);
        }
        TileDistance distance = new TileDistance(worker, problem, tile.rows(), problem.m(), result, output);
        int groups = inputs.candidates.get(0).size();
        for (int candidate = first; candidate < last; candidate++) {
            if (inputs.searched == Operand.LEFT) {
                encodeLeft(candidate, firstRange);
            } else {
                right = problem.batch() == 1 ? inputs.right(candidate) : encodeRight(product, candidate);
            }
            long[] codes = Arrays.copyOfRange(leftCodes, firstRange, inputs.ranges);
            long[] scales = new long[codes.length];
            for (int range = 0; range < scales.length; range++) {
                scales[range] = inputs.scales(candidate, head, firstRange + range);
            }
            long[] rights = new long[scales.length];
            Arrays.fill(rights, right);
            long bias = problem.bias().map(CpuBuffer::address).orElse(0L);
            if (problem.distance() == Distance.SQUARED && weight != 0) {
                product.run(codes, rights, scales, bias, result, target, weight);
            } else if (problem.distance() == Distance.SQUARED || problem.distance() == Distance.ABSOLUTE) {
                product.run(codes, rights, scales, bias, result, target);
            } else {
                product.run(codes, rights, scales, bias, result);
            }
            losses[candidate] = distance.perGroup(groups, problem.heads() > 1 ? head : -1);
        }
    }

    private boolean sharesFirstRange(int first, int last) {
        if (inputs.searched != Operand.LEFT || inputs.ranges != 2 || last - first < 2
                || problem.distance() != Distance.SQUARED && problem.distance() != Distance.ABSOLUTE) {
            return false;
        }
        CodeGrid one = inputs.leftGrid(first, head);
        for (int candidate = first; candidate < last; candidate++) {
            CodeGrid grid = inputs.leftGrid(candidate, head);
            if (grid.nearest() || !grid.ranges().get(0).equals(one.ranges().get(0))) {
                return false;
            }
        }
        return true;
    }

    /** The output less the bias and the product of the first range: what the second range should give. */
    private long residual(int candidate, long right) {
        Layout layout = Layout.dense(dnnl.dnnl_f32, tile.rows(), problem.m());
        CodeProduct product = new CodeProduct(worker, inputs.coder.codeType(), 1, tile.rows(), problem.k(),
                inputs.rightLayout(), problem.bias().isPresent(), layout);
        product.run(leftCodes, new long[] {right}, new long[] {inputs.scales(candidate, head, 0)},
                problem.bias().map(CpuBuffer::address).orElse(0L), result);
        long residual = worker.scratch("tile residual", (long) tile.rows() * problem.m() * Float.BYTES);
        worker.binary(dnnl.dnnl_binary_sub, layout, layout, layout, Epilogue.NONE).run(output, result, residual);
        return residual;
    }

    private void encodeLeft(int candidate, int firstRange) {
        for (int range = firstRange; range < inputs.ranges; range++) {
            inputs.coder.encode(worker, left, elements(), inputs.leftGrid(candidate, head), range, leftCodes[range]);
        }
    }

    /** Codes of this tile's own right operand. */
    private long encodeRight(CodeProduct product, int candidate) {
        long count = (long) problem.k() * problem.m();
        long numbers = CpuBuffer.address(problem.right()) + tile.batch() * count * Float.BYTES;
        long plain = worker.scratch("tile right", count * inputs.coder.bytesPerCode());
        inputs.coder.encode(worker, numbers, count, inputs.rightGrid(candidate, head), 0, plain);
        if (product.packedFor().isEmpty()) {
            return plain;
        }
        long packed = worker.scratch("tile right packed", worker.product(product.packedFor().get()).weightBytes());
        inputs.pack(worker, product, plain, packed);
        return packed;
    }

    private long elements() {
        return (long) tile.rows() * problem.k();
    }
}
