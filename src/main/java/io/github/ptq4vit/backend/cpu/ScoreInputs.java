package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CandidateGrids;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.Distance;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.dnnl.global.dnnl;

/**
 * What the tiles of one search share: the grids, the scales of every candidate's products, and which products there are. See
 * {@link RightCodes} for what single products share beside.
 */
final class ScoreInputs {
    /** Groups of columns that are multiplied each by itself at most; more make too small products. */
    private static final int MOST_PARTS = 16;
    private static final List<Epilogue.Kind> SQUARE = List.of(Epilogue.Kind.SUBTRACT, Epilogue.Kind.SQUARE);
    private static final List<Epilogue.Kind> WEIGHTED_SQUARE = List.of(Epilogue.Kind.SUBTRACT, Epilogue.Kind.SQUARE,
            Epilogue.Kind.MULTIPLY);
    private static final List<Epilogue.Kind> ABSOLUTE = List.of(Epilogue.Kind.SUBTRACT, Epilogue.Kind.ABSOLUTE);

    final MatmulProblem problem;
    final KeptCodes codes;
    final Operand searched;
    final List<CodeGrid> fixed;
    final CandidateGrids candidates;
    /** Makes codes of the product's first factor, and of its second. */
    final Coder first;
    final Coder second;
    final WorkClock clock;
    /** Ranges of codes of the left operand. */
    final int ranges;
    /** Whether the left operand stays float32. */
    final boolean floatLeft;
    /**
     * Whether products are computed transposed, the searched right operand first: it then need not be packed for every
     * candidate. Only for distances that do not care about rows.
     */
    final boolean transposed;
    /** Products that a candidate of a transposed tile takes: one a column group, but one for all of many, with a scale for each row. */
    final int parts;
    /** Losses a candidate has. */
    final int groups;
    private final CodeProduct.Scales productScales;
    private final int scaleGroups;
    private final long scales;
    /** Whether groups are multiplied each by itself. */
    private final boolean groupsApart;

    /** @param scope owns the scales */
    ScoreInputs(MatmulProblem problem, KeptCodes codes, Operand searched, List<CodeGrid> fixed,
            CandidateGrids candidates, IntegerPath path, CpuScope scope, WorkClock clock) {
        this.problem = problem;
        this.codes = codes;
        this.clock = clock;
        this.searched = searched;
        this.fixed = fixed;
        this.candidates = candidates;
        this.floatLeft = searched == Operand.RIGHT && fixed.isEmpty();
        this.groups = candidates.groups();
        this.transposed = searched == Operand.RIGHT && !floatLeft && (groups <= MOST_PARTS || problem.heads() == 1)
                && (problem.batch() > 1 || problem.right().transpose().isDense()) && isElementwise();
        this.parts = problem.heads() > 1 || groups > MOST_PARTS ? 1 : groups;
        IntegerPath own = floatLeft ? IntegerPath.FLOAT32 : path;
        this.first = new Coder(own.first());
        this.second = new Coder(own.second());
        this.ranges = floatLeft ? 1 : leftGrid(0, 0).ranges().size();
        this.productScales = transposed && problem.heads() == 1 && parts < groups ? CodeProduct.Scales.ROWS
                : !transposed && problem.columnGroups() > 1 ? CodeProduct.Scales.COLUMNS : CodeProduct.Scales.ONE;
        this.scaleGroups = transposed && parts > 1 ? parts : problem.heads();
        this.scales = allScales(scope);
        this.groupsApart = groups > 1 && (problem.heads() > 1 || transposed && parts > 1);
    }

    /** Whether the product's post-operations leave each element's loss. */
    boolean isElementwise() {
        return problem.distance() == Distance.SQUARED || problem.distance() == Distance.ABSOLUTE;
    }

    /** The grid of the left operand, which is not float32. */
    CodeGrid leftGrid(int candidate, int head) {
        return searched == Operand.LEFT ? candidates.grid(candidate, head) : fixed.get(fixed.size() == 1 ? 0 : head);
    }

    CodeGrid rightGrid(int candidate, int group) {
        return searched == Operand.RIGHT ? candidates.grid(candidate, group) : fixed.get(fixed.size() == 1 ? 0 : group);
    }

    /** Whether a candidate is for a group that is multiplied apart the same as the one before it, so that their losses are equal. */
    boolean sameAsBefore(int candidate, int group) {
        return groupsApart && candidates.repeats(candidate, group);
    }

    /** Layout of the right operand's codes: packed where products are integer. */
    Layout rightLayout() {
        Layout plain = plainRight();
        return isInteger() ? Layout.packed(plain.type(), problem.k(), problem.m()) : plain;
    }

    /** Layout of the codes as they are encoded: like the numbers in memory. */
    Layout plainRight() {
        return problem.right().at(0).transpose().isDense()
                ? Layout.dense(second.form().type(), problem.m(), problem.k()).transposed()
                : Layout.dense(second.form().type(), problem.k(), problem.m());
    }

    /**
     * Address of the scale or scales of a candidate's products in a range.
     *
     * @param group the head; in transposed products of a linear layer the column group
     */
    long scales(int candidate, int group, int range) {
        return scales + (((long) candidate * scaleGroups + group) * ranges + range) * scalesOfAProduct() * Float.BYTES;
    }

    /** Packs a right operand for the products of a tile of the usual height. */
    void pack(Worker worker, CodeProduct product, long plain, long packed) {
        worker.pack(plainRight(), product.packedFor().orElseThrow(), plain, packed);
    }

    /** The finishing product of a tile: all ranges, or only those from {@code firstRange} on. */
    CodeProduct product(Worker worker, int rows, int firstRange) {
        boolean bias = firstRange == 0 && problem.bias().isPresent();
        return product(worker, ranges - firstRange, rows, problem.m(), bias, rightLayout(), comparison());
    }

    /** What the first range gives, with the bias and without a comparison. */
    CodeProduct firstRange(Worker worker, int rows) {
        return product(worker, 1, rows, problem.m(), problem.bias().isPresent(), rightLayout(), List.of());
    }

    /** The finishing product of a transposed tile: rows of the right operand, columns are the tile's rows. */
    CodeProduct transposedProduct(Worker worker, int rows, int tileRows) {
        int type = second.form().type();
        Layout layout = isInteger() ? Layout.packed(type, problem.k(), tileRows)
                : Layout.dense(type, tileRows, problem.k()).transposed();
        return product(worker, ranges, rows, tileRows, false, layout, comparison());
    }

    private record ProductKey(int ranges, int rows, int columns, boolean bias, CodeProduct.Scales scales, Layout right,
            List<Epilogue.Kind> comparison) {
        @Override
        public boolean equals(Object other) {
            return other instanceof ProductKey that && ranges == that.ranges && rows == that.rows && columns == that.columns
                    && bias == that.bias && scales == that.scales && right.equals(that.right)
                    && comparison.equals(that.comparison);
        }

        @Override
        public int hashCode() {
            return 31 * (31 * (31 * right.hashCode() + rows) + columns) + ranges;
        }
    }

    private CodeProduct product(Worker worker, int termRanges, int rows, int productColumns, boolean bias, Layout right,
            List<Epilogue.Kind> comparison) {
        return worker.cached(new ProductKey(termRanges, rows, productColumns, bias, productScales, right, comparison),
                () -> new CodeProduct(worker, first.form(), termRanges, rows, problem.k(), right, productScales, bias,
                        Layout.dense(dnnl.dnnl_f32, rows, productColumns), comparison.toArray(new Epilogue.Kind[0])));
    }

    private List<Epilogue.Kind> comparison() {
        return switch (problem.distance()) {
            case SQUARED -> problem.weight().isPresent() ? WEIGHTED_SQUARE : SQUARE;
            case ABSOLUTE -> ABSOLUTE;
            case COSINE, PEARSON -> List.of();
        };
    }

    private boolean isInteger() {
        return first.form() == CodeForm.SHIFTED;
    }

    private int scalesOfAProduct() {
        return productScales == CodeProduct.Scales.ONE ? 1 : problem.m();
    }

    private long allScales(CpuScope scope) {
        int width = scalesOfAProduct();
        boolean many = productScales != CodeProduct.Scales.ONE;
        int rightGroups = many ? problem.columnGroups() : 1;
        float[] numbers = new float[Math.toIntExact((long) candidates.count() * scaleGroups * ranges * width)];
        int at = 0;
        for (int candidate = 0; candidate < candidates.count(); candidate++) {
            for (int group = 0; group < scaleGroups; group++) {
                for (int range = 0; range < ranges; range++) {
                    float left = floatLeft ? 1 : step(Operand.LEFT, candidate, group, range);
                    for (int part = 0; part < rightGroups; part++) {
                        float right = step(Operand.RIGHT, candidate, many ? part : group, 0);
                        Arrays.fill(numbers, at, at + width / rightGroups, left * right);
                        at += width / rightGroups;
                    }
                }
            }
        }
        CpuBuffer memory = scope.bytes((long) numbers.length * Float.BYTES);
        CpuBuffer.at(memory.address(), Math.toIntExact(memory.bytes())).asFloatBuffer().put(numbers);
        return memory.address();
    }

    private float step(Operand operand, int candidate, int group, int range) {
        return operand == searched ? candidates.step(candidate, group, range)
                : fixed.get(fixed.size() == 1 ? 0 : group).ranges().get(range).step();
    }
}
