package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.CandidateGrids;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.View;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/** A problem on one device, with the fixed operand's codes, which the next search part usually needs again. */
final class DeviceProblem {
    private final CudaDevice device;
    private final CudaScope owner;
    private final MatmulProblem problem;
    private final Map<Operand, Fixed> fixedCodes = new EnumMap<>(Operand.class);

    /** Codes of a whole operand. */
    private record Fixed(List<CodeGrid> grids, ScoreCodes codes) {
    }

    /**
     * @param owner what is kept between calls lives there
     * @param problem whose memory is on the device
     */
    DeviceProblem(CudaDevice device, CudaScope owner, MatmulProblem problem) {
        this.device = device;
        this.owner = owner;
        this.problem = problem;
    }

    /** A copy on another device, which is freed with the scope. */
    DeviceProblem on(CudaDevice other, CudaScope original) {
        CudaScope scope = original.beside(other.memory());
        View right = problem.right();
        View copied = right.isDense() ? copy(right, other, scope) : copy(right.transpose(), other, scope).transpose();
        return new DeviceProblem(other, scope, new MatmulProblem(copy(problem.left(), other, scope), copied,
                copy(problem.output(), other, scope), problem.weight().map(w -> copy(w, other, scope)),
                problem.bias().map(b -> copy(b, other, scope)), problem.heads(), problem.columnGroups(), problem.distance(),
                problem.order()));
    }

    /** Copies a dense view by way of both devices' pinned memory, piece by piece. */
    private View copy(View from, CudaDevice other, CudaScope scope) {
        View to = scope.floats(CudaBuffer.dense(from, DataType.FLOAT32).sizes());
        long target = other.address(to);
        device.transfers().download(device.address(from), (start, piece) -> {
            other.transfers().upload((at, part) -> part.put(piece.slice((int) at, part.remaining())), target + start,
                    piece.remaining());
            device.enter();
        }, from.elements() * Float.BYTES);
        return to;
    }

    CudaDevice device() {
        return device;
    }

    MatmulProblem problem() {
        return problem;
    }

    /** Codes of all of an operand, from the last call if they are the same. */
    ScoreCodes fixedCodes(Operand operand, List<CodeGrid> grids, int scales) {
        Fixed known = fixedCodes.get(operand);
        if (known != null && known.grids.equals(grids)) {
            return known.codes;
        }
        ScoreCandidates only = new ScoreCandidates(operand, grids.size() == 1 ? 1 : scales, List.of(),
                CandidateGrids.of(List.of(grids)));
        List<ScoreLayout.Rows> runs = ScoreLayout.everyRow(problem, operand, only.scales());
        long bytes = ScoreCodes.bytes(only.grids().ranges(), ScoreLayout.count(runs), problem.k());
        CudaBuffer memory = known != null && known.codes.memory().elements() >= bytes ? known.codes.memory()
                : owner.buffer(DataType.INT8, bytes);
        try (CudaScope scope = new CudaScope(device.memory())) {
            ScoreCodes codes = ScoreCodes.of(device, memory, problem, operand, runs, only,
                    CandidateTables.upload(device, scope, only));
            fixedCodes.put(operand, new Fixed(grids, codes));
            return codes;
        }
    }
}
