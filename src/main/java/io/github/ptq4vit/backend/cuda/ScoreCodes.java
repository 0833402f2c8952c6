package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.View;
import java.util.List;

/**
 * Codes of an operand for the scoring kernels: rows along k, padded with zeros, {@code [candidates, ranges, rows, padded]}.
 *
 * @param ranges of a candidate
 * @param rows of a candidate in one range
 * @param padded bytes of a row
 */
record ScoreCodes(CudaBuffer memory, int ranges, long rows, int padded) {

    /** Bytes from one candidate's codes to the next one's. */
    long stride() {
        return ranges * rangeStride();
    }

    /** Bytes from one range to the next. */
    long rangeStride() {
        return rows * padded;
    }

    /** Address of the first. */
    long address() {
        return memory.address();
    }

    /** Bytes that codes of a candidate take. */
    static long bytes(int ranges, long rows, int k) {
        return ranges * rows * IntegerProducts.padded(k);
    }

    /**
     * Codes of some rows of an operand.
     *
     * @param memory where they go
     * @param candidates whose grids those of the operand are
     * @param tables the candidates on the device
     */
    static ScoreCodes of(CudaDevice device, CudaBuffer memory, MatmulProblem problem, Operand operand,
            List<ScoreLayout.Rows> runs, ScoreCandidates candidates, CandidateTables tables) {
        View x = operand == Operand.LEFT ? problem.left() : problem.right().transpose();
        int k = problem.k();
        int padded = IntegerProducts.padded(k);
        int ranges = candidates.grids().ranges();
        long rows = ScoreLayout.count(runs);
        try (CudaScope temporary = new CudaScope(device.memory())) {
            long table = Tables.upload(device, temporary, (long) runs.size() * ScoreLayout.Rows.BYTES,
                    words -> runs.forEach(run -> run.write(words)));
            int most = runs.stream().mapToInt(ScoreLayout.Rows::count).max().orElseThrow();
            device.launch(Kernel.SCORE_QUANTIZE_S8)
                    .words(k, padded, ranges, rows, candidates.grids().groups(), candidates.scales(), tables.most(), runs.size(),
                            x.stride(0), x.stride(1), x.stride(2))
                    .view(x).address(memory.address()).address(table)
                    .address(GridTable.upload(device, temporary, candidates.grids()))
                    .address(tables.lists()).address(tables.counts())
                    .blocks(padded / IntegerProducts.PADDING, (most + IntegerProducts.PADDING - 1) / IntegerProducts.PADDING,
                            Math.min(65535, runs.size()));
        }
        return new ScoreCodes(memory, ranges, rows, padded);
    }
}
