package io.github.ptq4vit.backend;

import java.util.List;

/**
 * How numbers become codes on a device: one {@link CodeRange}, or two whose codes are never both different from zero. The
 * represented value is the sum of code times step over the ranges.
 *
 * @param ranges one or two
 * @param nearest with two ranges: ignore their limits and take, per element, the range whose point is nearest to the
 *     value; the first one on a tie
 */
public record CodeGrid(List<CodeRange> ranges, boolean nearest) {

    public CodeGrid {
        ranges = List.copyOf(ranges);
        if (ranges.isEmpty() || ranges.size() > 2 || nearest && ranges.size() != 2) {
            throw new IllegalArgumentException("A grid has one or two ranges, two for the nearest rule: " + ranges);
        }
    }

    // by hand: searches compare many, and compilers make slow code of a record's own
    @Override
    public boolean equals(Object other) {
        return other instanceof CodeGrid that && nearest == that.nearest && ranges.equals(that.ranges);
    }

    @Override
    public int hashCode() {
        return ranges.hashCode();
    }

    /** A grid of these ranges, told apart by their limits. */
    public static CodeGrid of(CodeRange... ranges) {
        return new CodeGrid(List.of(ranges), false);
    }

    /** The code of a value in one of the ranges: the plain definition that every backend agrees with to the last bit. */
    public int code(int range, float x) {
        if (!nearest) {
            return ranges.get(range).code(x);
        }
        int first = unlimitedCode(0, x);
        int second = unlimitedCode(1, x);
        boolean takeFirst = Math.abs(x - first * ranges.get(0).step()) <= Math.abs(x - second * ranges.get(1).step());
        return takeFirst == (range == 0) ? (range == 0 ? first : second) : 0;
    }

    private int unlimitedCode(int range, float x) {
        CodeRange r = ranges.get(range);
        return CodeRange.unlimited(r.step(), r.min(), r.max()).code(x);
    }
}
