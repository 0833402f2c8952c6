package io.github.ptq4vit.backend;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * How numbers become codes on a device: one {@link CodeRange}, or two whose codes are never both different from zero. The
 * represented value is the sum of code times step over the ranges, up to the {@link RowScale}.
 *
 * @param ranges one or two
 * @param nearest with two ranges: ignore their limits and take, per element, the range whose point is nearest to the
 *     value; the first one on a tie
 * @param table where the codes are looked up; without it they are computed from the ranges, of which otherwise only the steps
 *     count
 * @param rows what the numbers of a row have in common
 */
public record CodeGrid(List<CodeRange> ranges, boolean nearest, Optional<CodeTable> table, RowScale rows) {

    public CodeGrid {
        ranges = List.copyOf(ranges);
        if (ranges.isEmpty() || ranges.size() > 2 || nearest && ranges.size() != 2) {
            throw new IllegalArgumentException("A grid has one or two ranges, two for the nearest rule: " + ranges);
        }
        if (table.isPresent() && (nearest || table.get().ranges() != ranges.size())) {
            throw new IllegalArgumentException("A table has codes for each range and needs no rule: " + table + ", " + ranges);
        }
    }

    /** A grid whose codes are computed. */
    public CodeGrid(List<CodeRange> ranges, boolean nearest) {
        this(ranges, nearest, Optional.empty(), RowScale.NONE);
    }

    /** A grid of these ranges, told apart by their limits. */
    public static CodeGrid of(CodeRange... ranges) {
        return new CodeGrid(List.of(ranges), false);
    }

    /**
     * A grid whose codes are looked up.
     *
     * @param steps the scale of each range
     */
    public static CodeGrid of(CodeTable table, float... steps) {
        List<CodeRange> ranges = new ArrayList<>();
        for (int range = 0; range < steps.length; range++) {
            int min = 0;
            int max = 0;
            for (int level = 0; level < table.levels(); level++) {
                min = Math.min(min, table.code(range, level));
                max = Math.max(max, table.code(range, level));
            }
            ranges.add(CodeRange.unlimited(steps[range], min, max));
        }
        return new CodeGrid(ranges, false, Optional.of(table), RowScale.NONE);
    }

    /** The same with another row scale. */
    public CodeGrid with(RowScale other) {
        return new CodeGrid(ranges, nearest, table, other);
    }

    /** The same with other steps; the second one is for a second range. */
    CodeGrid withSteps(float first, float second) {
        CodeRange one = ranges.get(0).withStep(first);
        return new CodeGrid(ranges.size() == 1 ? List.of(one) : List.of(one, ranges.get(1).withStep(second)), nearest, table, rows);
    }

    /** This; throws if it has a row scale, or one beside those that are allowed. */
    public CodeGrid requireRows(RowScale... allowed) {
        if (rows != RowScale.NONE && !List.of(allowed).contains(rows)) {
            throw new IllegalArgumentException("Here an operand may not have the row scale " + rows + ": " + this);
        }
        if (rows == RowScale.RANGE && table.isEmpty() && (nearest || ranges.size() != 1)) {
            throw new IllegalArgumentException("Rows with ranges of their own have one range of codes or a table: " + this);
        }
        return this;
    }

    /** Whether the first of two ranges has neither limits nor a rule or table in common with the second: searches for that one share it. */
    public boolean isFirstRangeApart() {
        return !nearest && table.isEmpty() && ranges.get(0).isUnlimited();
    }

    /** The code of a value in one of the ranges: the plain definition that every backend agrees with to the last bit. */
    public int code(int range, float x) {
        if (table.isPresent()) {
            return table.get().code(range, table.get().level(x));
        }
        if (!nearest) {
            return ranges.get(range).code(x);
        }
        int first = unlimitedCode(0, x);
        int second = unlimitedCode(1, x);
        boolean takeFirst = Math.abs(x - first * ranges.get(0).step()) <= Math.abs(x - second * ranges.get(1).step());
        return takeFirst == (range == 0) ? (range == 0 ? first : second) : 0;
    }

    /** What a value's codes stand for, before the row scale. */
    public float value(float x) {
        float sum = 0;
        for (int range = 0; range < ranges.size(); range++) {
            sum += code(range, x) * ranges.get(range).step();
        }
        return sum;
    }

    private int unlimitedCode(int range, float x) {
        CodeRange r = ranges.get(range);
        return CodeRange.unlimited(r.step(), r.min(), r.max()).code(x);
    }
}
