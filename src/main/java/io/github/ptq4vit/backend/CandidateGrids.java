package io.github.ptq4vit.backend;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntUnaryOperator;
import java.util.stream.IntStream;

/**
 * Grids of an operand, {@code [candidates, groups]}, as arrays: the kind of each and the steps of its ranges. Grids are of one kind if
 * nothing but their steps differs. Immutable, equal by value.
 */
public final class CandidateGrids {
    private final int groups;
    private final int ranges;
    /** Grids that differ from each other in more than their steps, which do not count here. */
    private final List<CodeGrid> kinds;
    /** Which kind, {@code [candidates, groups]}. */
    private final int[] kind;
    /** {@code [candidates, groups, ranges]}; of a grid with fewer ranges than others the last one's. */
    private final float[] steps;
    /** Those that were asked for. */
    private final CodeGrid[] made;

    private CandidateGrids(int groups, int ranges, List<CodeGrid> kinds, int[] kind, float[] steps) {
        this.groups = groups;
        this.ranges = ranges;
        this.kinds = kinds;
        this.kind = kind;
        this.steps = steps;
        this.made = new CodeGrid[kind.length];
    }

    /**
     * From a grid for each candidate and group.
     *
     * @param grids {@code [candidates][groups]}
     */
    public static CandidateGrids of(List<List<CodeGrid>> grids) {
        int groups = grids.isEmpty() ? 0 : grids.get(0).size();
        int ranges = grids.stream().flatMap(List::stream).mapToInt(grid -> grid.ranges().size()).max().orElse(1);
        int[] kind = new int[grids.size() * groups];
        float[] steps = new float[kind.length * ranges];
        Map<CodeGrid, Integer> kinds = new HashMap<>();
        int at = 0;
        for (List<CodeGrid> row : grids) {
            if (row.size() != groups) {
                throw new IllegalArgumentException("Candidates have as many groups as each other, not " + groups + " and " + row.size());
            }
            for (CodeGrid grid : row) {
                int own = grid.ranges().size();
                for (int range = 0; range < ranges; range++) {
                    steps[at * ranges + range] = grid.ranges().get(Math.min(range, own - 1)).step();
                }
                kind[at++] = kinds.computeIfAbsent(grid.withSteps(1, 1), key -> kinds.size());
            }
        }
        return new CandidateGrids(groups, ranges, ordered(kinds), kind, steps);
    }

    private static List<CodeGrid> ordered(Map<CodeGrid, Integer> kinds) {
        CodeGrid[] ordered = new CodeGrid[kinds.size()];
        kinds.forEach((grid, place) -> ordered[place] = grid);
        return List.of(ordered);
    }

    /** How many candidates. */
    public int count() {
        return groups == 0 ? 0 : kind.length / groups;
    }

    /** Grids of a candidate. */
    public int groups() {
        return groups;
    }

    /** Most ranges of a grid. */
    public int ranges() {
        return ranges;
    }

    /** All kinds that occur. */
    public List<CodeGrid> kinds() {
        return kinds.size() == 1 ? kinds : IntStream.of(kind).distinct().mapToObj(kinds::get).toList();
    }

    /** A grid but for its steps; one group is for all. */
    public CodeGrid kind(int candidate, int group) {
        return kinds.get(kind[at(candidate, group)]);
    }

    /** The step of a range, or of the last one before it that there is. */
    public float step(int candidate, int group, int range) {
        return steps[at(candidate, group) * ranges + range];
    }

    /** A grid. */
    public CodeGrid grid(int candidate, int group) {
        int at = at(candidate, group);
        // threads may make one twice
        CodeGrid known = made[at];
        if (known == null) {
            known = kinds.get(kind[at]).withSteps(steps[at * ranges], steps[(at + 1) * ranges - 1]);
            made[at] = known;
        }
        return known;
    }

    /** A candidate's grids. */
    public List<CodeGrid> grids(int candidate) {
        return IntStream.range(0, groups).mapToObj(group -> grid(candidate, group)).toList();
    }

    private int at(int candidate, int group) {
        return candidate * groups + (groups == 1 ? 0 : group);
    }

    /** Whether a candidate has the same grid as the one before it. */
    public boolean repeats(int candidate, int group) {
        int at = at(candidate, group);
        return candidate > 0 && same(at, at + 1);
    }

    /** Whether a candidate is the same as the one before it. */
    public boolean repeats(int candidate) {
        return candidate > 0 && same(candidate * groups, (candidate + 1) * groups);
    }

    /** Whether grids in these places equal those of the candidate before. */
    private boolean same(int from, int to) {
        return Arrays.equals(kind, from, to, kind, from - groups, to - groups)
                && Arrays.equals(steps, from * ranges, to * ranges, steps, (from - groups) * ranges, (to - groups) * ranges);
    }

    /** The candidates {@code [from, to)}. */
    public CandidateGrids part(int from, int to) {
        return new CandidateGrids(groups, ranges, kinds, Arrays.copyOfRange(kind, from * groups, to * groups),
                Arrays.copyOfRange(steps, from * groups * ranges, to * groups * ranges));
    }

    /** Those candidates that are not the same as the one before. */
    public CandidateGrids different() {
        int[] kept = IntStream.range(0, count()).filter(candidate -> !repeats(candidate)).toArray();
        return gathered(kept.length, groups, at -> kept[at / groups] * groups + at % groups);
    }

    /** One candidate's grids of the groups {@code [from, to)}. */
    public CandidateGrids of(int candidate, int from, int to) {
        return gathered(1, to - from, at -> candidate * groups + from + at);
    }

    /**
     * Candidates composed group by group. A group with fewer than others repeats its last one, or has the first one if it has none.
     *
     * @param chosen {@code [groups][..]}
     */
    public CandidateGrids composed(int[][] chosen) {
        int most = Arrays.stream(chosen).mapToInt(own -> own.length).max().orElse(0);
        return gathered(most, groups, at -> {
            int[] own = chosen[at % groups];
            int candidate = own.length == 0 ? 0 : own[Math.min(at / groups, own.length - 1)];
            return candidate * groups + at % groups;
        });
    }

    private CandidateGrids gathered(int candidates, int ownGroups, IntUnaryOperator from) {
        int[] ownKind = new int[candidates * ownGroups];
        float[] ownSteps = new float[ownKind.length * ranges];
        for (int at = 0; at < ownKind.length; at++) {
            int source = from.applyAsInt(at);
            ownKind[at] = kind[source];
            for (int range = 0; range < ranges; range++) {
                ownSteps[at * ranges + range] = steps[source * ranges + range];
            }
        }
        return new CandidateGrids(ownGroups, ranges, kinds, ownKind, ownSteps);
    }

    /** One range of the grids alone, or the last one before it that there is. */
    public CandidateGrids range(int range) {
        List<CodeGrid> alone = new ArrayList<>();
        int[] places = new int[kinds.size()];
        for (int i = 0; i < places.length; i++) {
            List<CodeRange> all = kinds.get(i).ranges();
            CodeGrid own = CodeGrid.of(all.get(Math.min(range, all.size() - 1)));
            if (!alone.contains(own)) {
                alone.add(own);
            }
            places[i] = alone.indexOf(own);
        }
        float[] ownSteps = new float[kind.length];
        for (int at = 0; at < ownSteps.length; at++) {
            ownSteps[at] = steps[at * ranges + range];
        }
        return new CandidateGrids(groups, 1, List.copyOf(alone), IntStream.of(kind).map(i -> places[i]).toArray(), ownSteps);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof CandidateGrids that && groups == that.groups && ranges == that.ranges && Arrays.equals(kind, that.kind)
                && Arrays.equals(steps, that.steps) && kinds.equals(that.kinds);
    }

    @Override
    public int hashCode() {
        return 31 * Arrays.hashCode(kind) + Arrays.hashCode(steps);
    }

    @Override
    public String toString() {
        return count() + " candidates of " + groups + " groups, steps " + Arrays.toString(steps) + " of " + kinds;
    }
}
