package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.Distance;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.global.dnnl;

/**
 * What the tiles of one search share: the grids, the column scales of every candidate, and for a linear layer the codes of
 * the right operand (of each candidate if it is the one searched), packed once.
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
    final List<List<CodeGrid>> candidates;
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
    /** Codes of the right operand, for a single product that is not transposed: one, or one a candidate. */
    private final long[] rights;
    /** The same packed for tiles of the usual height, unless products are transposed or of float32 codes. */
    private final long[] packed;
    private final Optional<dnnl_memory_desc> packedLayout;
    /** Codes of the candidates' parts of a transposed single product, {@code [candidate][part]}. */
    private final long[][] candidateCodes;
    private final CodeProduct.Scales productScales;
    private final int scaleGroups;
    private final long scales;
    /** Whether candidate and the one before it are equal, {@code [candidate][group]}. */
    private final boolean[][] repeated;

    /** @param tileRows rows of the largest tile */
    ScoreInputs(MatmulProblem problem, KeptCodes codes, Operand searched, List<CodeGrid> fixed,
            List<List<CodeGrid>> candidates, int tileRows, IntegerPath path, CpuScope scope, Workers workers, WorkClock clock) {
        this.problem = problem;
        this.codes = codes;
        this.clock = clock;
        this.searched = searched;
        this.fixed = fixed;
        this.candidates = candidates;
        this.floatLeft = searched == Operand.RIGHT && fixed.isEmpty();
        this.groups = candidates.get(0).size();
        this.transposed = searched == Operand.RIGHT && !floatLeft && (groups <= MOST_PARTS || problem.heads() == 1)
                && (problem.batch() > 1 || problem.right().transpose().isDense()) && isElementwise();
        this.parts = problem.heads() > 1 || groups > MOST_PARTS ? 1 : groups;
        IntegerPath own = floatLeft ? IntegerPath.FLOAT32 : path;
        this.first = new Coder(own.first());
        this.second = new Coder(own.second());
        this.ranges = floatLeft ? 1 : leftGrids(0).get(0).ranges().size();
        this.productScales = transposed && problem.heads() == 1 && parts < groups ? CodeProduct.Scales.ROWS
                : !transposed && problem.columnGroups() > 1 ? CodeProduct.Scales.COLUMNS : CodeProduct.Scales.ONE;
        this.scaleGroups = transposed && parts > 1 ? parts : problem.heads();
        this.scales = allScales(scope);
        this.repeated = repeated();
        boolean single = problem.batch() == 1;
        this.rights = single && !transposed ? encodeRights(scope, workers) : new long[0];
        this.candidateCodes = single && transposed ? prepareCandidates(workers) : new long[0][];
        Optional<Worker.Product> usual = single && !transposed
                ? workers.with(worker -> product(worker, Math.min(problem.n(), tileRows), 0).packedFor()) : Optional.empty();
        this.packedLayout = usual.map(key -> workers.with(worker -> worker.product(key).weights()));
        this.packed = usual.isPresent() ? packRights(scope, workers, usual.get(), tileRows) : new long[0];
    }

    /** Whether the product's post-operations leave each element's loss. */
    boolean isElementwise() {
        return problem.distance() == Distance.SQUARED || problem.distance() == Distance.ABSOLUTE;
    }

    List<CodeGrid> leftGrids(int candidate) {
        return searched == Operand.LEFT ? candidates.get(candidate) : fixed;
    }

    List<CodeGrid> rightGrids(int candidate) {
        return searched == Operand.RIGHT ? candidates.get(candidate) : fixed;
    }

    CodeGrid leftGrid(int candidate, int head) {
        List<CodeGrid> grids = leftGrids(candidate);
        return grids.get(grids.size() == 1 ? 0 : head);
    }

    CodeGrid rightGrid(int candidate, int group) {
        List<CodeGrid> grids = rightGrids(candidate);
        return grids.get(grids.size() == 1 ? 0 : group);
    }

    /** Whether a candidate is for a group that is multiplied apart the same as the one before it, so that their losses are equal. */
    boolean sameAsBefore(int candidate, int group) {
        return repeated[candidate][groups == 1 ? 0 : group];
    }

    private boolean[][] repeated() {
        boolean apart = groups > 1 && (problem.heads() > 1 || transposed && parts > 1);
        boolean[][] same = new boolean[candidates.size()][groups];
        for (int c = 1; c < same.length; c++) {
            for (int g = 0; apart && g < groups; g++) {
                same[c][g] = candidates.get(c).get(g).equals(candidates.get(c - 1).get(g));
            }
        }
        return same;
    }

    /** Address of a part of the right operand of a single transposed product. */
    long right(int candidate, int part) {
        return candidateCodes[candidate][part];
    }

    private long right(int candidate) {
        return rights[rights.length == 1 ? 0 : candidate];
    }

    /** Address of the right operand of a single product in the layout that a product of the tile wants. */
    long right(Worker worker, CodeProduct product, int candidate) {
        if (product.packedFor().isEmpty()) {
            return right(candidate);
        }
        Worker.Compiled compiled = worker.product(product.packedFor().get());
        if (dnnl.dnnl_memory_desc_equal(compiled.weights(), packedLayout.orElseThrow()) != 0) {
            return packed[packed.length == 1 ? 0 : candidate];
        }
        // oneDNN may choose another layout for another tile height
        long repacked = worker.scratch("right repacked", compiled.weightBytes());
        pack(worker, product, right(candidate), repacked);
        return repacked;
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
        float[] numbers = new float[Math.toIntExact((long) candidates.size() * scaleGroups * ranges * width)];
        int at = 0;
        for (int candidate = 0; candidate < candidates.size(); candidate++) {
            for (int group = 0; group < scaleGroups; group++) {
                for (int range = 0; range < ranges; range++) {
                    float left = floatLeft ? 1 : leftGrid(candidate, group).ranges().get(range).step();
                    for (int part = 0; part < rightGroups; part++) {
                        float right = rightGrid(candidate, many ? part : group).ranges().get(0).step();
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

    private long[] encodeRights(CpuScope scope, Workers workers) {
        long bytes = (long) problem.k() * problem.m() * second.form().bytes();
        if (searched == Operand.LEFT) {
            return codes.fixed(new KeptCodes.Place(Operand.RIGHT, 0, 0, 0), fixed, bytes,
                    kept -> workers.use(worker -> encodeRight(worker, 0, kept[0])));
        }
        long[] addresses = allocate(scope, candidates.size(), bytes);
        workers.run(addresses.length, candidate -> workers.use(worker -> encodeRight(worker, candidate, addresses[candidate])));
        return addresses;
    }

    private void encodeRight(Worker worker, int candidate, long address) {
        long start = System.nanoTime();
        if (problem.right().transpose().isDense()) {
            second.encode(worker, CpuBuffer.address(problem.right()), problem.m(), problem.k(), rightGrids(candidate), address);
        } else {
            second.encode(worker, CpuBuffer.address(problem.right()), (long) problem.k() * problem.m(), rightGrid(candidate, 0), 0, address);
        }
        clock.add(WorkClock.Kind.ENCODE, start);
    }

    private long[][] prepareCandidates(Workers workers) {
        List<KeptCodes.Candidate> wanted = new ArrayList<>();
        for (List<CodeGrid> grids : candidates) {
            for (int part = 0; part < parts; part++) {
                wanted.add(new KeptCodes.Candidate(part, parts == 1 ? List.copyOf(grids) : List.of(grids.get(part))));
            }
        }
        int rows = problem.m() / parts;
        long size = (long) problem.k() * rows;
        long numbers = CpuBuffer.address(problem.right());
        long[] addresses = codes.candidates(wanted, size * first.form().bytes(), workers, (candidate, address) -> {
            long start = System.nanoTime();
            workers.use(worker -> first.encode(worker, numbers + candidate.part() * size * Float.BYTES, rows, problem.k(),
                    candidate.grids(), address));
            clock.add(WorkClock.Kind.ENCODE, start);
        });
        long[][] byCandidate = new long[candidates.size()][];
        Arrays.setAll(byCandidate, c -> Arrays.copyOfRange(addresses, c * parts, (c + 1) * parts));
        return byCandidate;
    }

    private long[] packRights(CpuScope scope, Workers workers, Worker.Product usual, int tileRows) {
        long bytes = workers.with(worker -> worker.product(usual).weightBytes());
        if (searched == Operand.LEFT) {
            return codes.fixed(new KeptCodes.Place(Operand.RIGHT, 0, 0, tileRows), fixed, bytes,
                    kept -> workers.use(worker -> packRight(worker, usual, rights[0], kept[0])));
        }
        long[] addresses = allocate(scope, rights.length, bytes);
        workers.run(addresses.length, candidate -> workers.use(worker ->
                packRight(worker, usual, rights[candidate], addresses[candidate])));
        return addresses;
    }

    private void packRight(Worker worker, Worker.Product usual, long plain, long address) {
        long start = System.nanoTime();
        worker.pack(plainRight(), usual, plain, address);
        clock.add(WorkClock.Kind.PACK, start);
    }

    private static long[] allocate(CpuScope scope, int count, long bytes) {
        long[] addresses = new long[count];
        Arrays.setAll(addresses, i -> scope.bytes(bytes).address());
        return addresses;
    }
}
