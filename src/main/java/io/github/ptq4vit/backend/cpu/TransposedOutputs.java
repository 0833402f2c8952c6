package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.MatmulProblem;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.bytedeco.dnnl.global.dnnl;

/**
 * The outputs less the bias and the weights of a problem, each tile transposed: made when a tile is first asked for, used
 * by every later search.
 */
final class TransposedOutputs {
    private static final int F32 = dnnl.dnnl_f32;

    private final Slabs slabs;
    private final MatmulProblem problem;
    private final Map<CpuScoring.Tile, Copy> copies = new ConcurrentHashMap<>();

    /** @param slabs where the copies lie */
    TransposedOutputs(Slabs slabs, MatmulProblem problem) {
        this.slabs = slabs;
        this.problem = problem;
    }

    /** Addresses of {@code [m, rows]} outputs and weights; 0 for no weights. */
    record Copy(long output, long weight) {
    }

    Copy of(Worker worker, CpuScoring.Tile tile) {
        return copies.computeIfAbsent(tile, t -> copy(worker, t));
    }

    private Copy copy(Worker worker, CpuScoring.Tile tile) {
        long offset = ((long) tile.batch() * problem.n() + tile.from()) * problem.m() * Float.BYTES;
        long output = CpuBuffer.address(problem.output()) + offset;
        if (problem.bias().isPresent()) {
            Layout matrix = Layout.dense(F32, tile.rows(), problem.m());
            long unbiased = worker.scratch("tile unbiased", (long) tile.rows() * problem.m() * Float.BYTES);
            worker.binary(dnnl.dnnl_binary_sub, matrix, Layout.dense(F32, 1, problem.m()), matrix, Epilogue.NONE)
                    .run(output, CpuBuffer.address(problem.bias().get()), unbiased);
            output = unbiased;
        }
        return new Copy(transposed(worker, tile, output), problem.weight()
                .map(w -> transposed(worker, tile, CpuBuffer.address(w) + offset)).orElse(0L));
    }

    private long transposed(Worker worker, CpuScoring.Tile tile, long matrix) {
        long copy = slabs.allocate((long) tile.rows() * problem.m() * Float.BYTES);
        worker.copy(Layout.dense(F32, tile.rows(), problem.m()).transposed(), Layout.dense(F32, problem.m(), tile.rows()))
                .run(matrix, copy);
        return copy;
    }
}
