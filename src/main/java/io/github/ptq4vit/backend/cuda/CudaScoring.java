package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CandidateGrids;
import io.github.ptq4vit.backend.Checks;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import java.util.ArrayList;
import java.util.List;

/**
 * A problem ready for scoring. Each call is one {@link ScoreRun} a device, which share the candidates. What a candidate's loss
 * is depends neither on the others beside it nor on the device, and all sums have a fixed order: equal calls give equal losses,
 * whatever the number of devices.
 */
final class CudaScoring implements Backend.Scoring {
    private final CudaDevices devices;
    private final CudaScope owner;
    private final MatmulProblem problem;
    /** The problem on each device that has been needed so far, the first first. */
    private final List<DeviceProblem> copies = new ArrayList<>();

    /** @param owner what is kept between calls lives there, or goes with it where it is on another device */
    CudaScoring(CudaDevices devices, CudaScope owner, MatmulProblem problem) {
        this.devices = devices;
        this.owner = owner;
        this.problem = problem;
        IntegerProducts.checkLength(problem.k());
        copies.add(new DeviceProblem(devices.first(), owner, problem));
    }

    @Override
    public double[][] score(Operand searched, List<CodeGrid> fixed, CandidateGrids candidates, int from, int to) {
        owner.requireOpen();
        Checks.score(problem, searched, fixed, candidates, from, to);
        if (candidates.count() == 0) {
            return new double[0][];
        }
        boolean several = fixed.size() > 1 || candidates.groups() > 1;
        int scales = several ? problem.groups(Operand.RIGHT) : 1;
        ScoreCandidates all = new ScoreCandidates(searched, scales, fixed, candidates);
        double[][] losses = new double[all.count()][];
        // kernels take candidates two by two
        int share = (all.count() + devices.all().size() - 1) / devices.all().size();
        int own = share + share % 2;
        int used = (all.count() + own - 1) / own;
        while (copies.size() < used) {
            copies.add(copies.get(0).on(devices.all().get(copies.size()), owner));
        }
        devices.each(used, i -> {
            DeviceProblem copy = copies.get(i);
            try (CudaScope scope = new CudaScope(copy.device().memory())) {
                new ScoreRun(copy, scope, all, from, to).losses(i * own, Math.min(all.count(), (i + 1) * own), losses);
            }
        });
        all.spread(losses);
        return losses;
    }
}
