package io.github.ptq4vit.backend;

/**
 * The range of a row's numbers, 0 included, and the codes that serve them under {@link RowScale#RANGE}. Without a table these
 * are the n + 1 codes from {@code -zeroPoint} to {@code n - zeroPoint}, where n is the difference of the largest and the smallest
 * code of the grid and the zero point lies in the row as 0 lies in its range. Signed bytes hold that for up to 7 bits; with
 * 8 the range is symmetric.
 *
 * @param size largest number minus smallest; 1 if all are 0
 * @param zeroPoint how many codes stand for negative numbers
 */
public record RowRange(float size, int zeroPoint) {

    /**
     * Of a row whose smallest and largest numbers are these.
     *
     * @param low not positive
     * @param high not negative
     */
    public static RowRange of(float low, float high, CodeGrid grid) {
        int steps = steps(grid);
        if (steps == 255) {
            float largest = Math.max(-low, high);
            return new RowRange(largest == 0 ? 1 : 2 * largest, 128);
        }
        float size = high - low;
        return size == 0 ? new RowRange(1, 0) : new RowRange(size, (int) Math.rint(steps * (-low / size)));
    }

    /** Of the numbers {@code [from, to)}. */
    public static RowRange of(float[] numbers, int from, int to, CodeGrid grid) {
        float low = 0;
        float high = 0;
        for (int i = from; i < to; i++) {
            low = Math.min(low, numbers[i]);
            high = Math.max(high, numbers[i]);
        }
        return of(low, high, grid);
    }

    /** The code of a number of the row in one of the grid's ranges, as the grid's for rows without a scale. */
    public int code(CodeGrid grid, int range, float x) {
        float part = x / size;
        if (grid.table().isPresent()) {
            return grid.code(range, part);
        }
        double code = Math.rint(part / grid.ranges().get(0).step());
        return (int) Math.max(-zeroPoint, Math.min(steps(grid) - zeroPoint, code));
    }

    private static int steps(CodeGrid grid) {
        return grid.ranges().get(0).max() - grid.ranges().get(0).min();
    }
}
