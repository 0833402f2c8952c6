package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.Distance;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.global.dnnl;

/**
 * What the tiles of one search share: the grids, the column scales of every candidate, and for a linear layer the codes of
 * the right operand (of each candidate if it is the one searched), packed once.
 */
final class ScoreInputs {
    private static final int MOST_TRANSPOSED_GROUPS = 16;

    final MatmulProblem problem;
    final KeptCodes codes;
    final Operand searched;
    final List<CodeGrid> fixed;
    final List<List<CodeGrid>> candidates;
    final Coder coder;
    final WorkClock clock;
    /** Ranges of codes of the left operand. */
    final int ranges;
    /** Whether the left operand stays float32. */
    final boolean floatLeft;
    /**
     * Whether products are computed transposed, the searched right operand first: it then need not be packed for every
     * candidate. Only for distances that do not care about rows, and few groups, each of which is a product of its own.
     */
    final boolean transposed;
    /** Losses a candidate has. */
    final int groups;
    /** Codes of the right operand, for a single product that is not transposed: one, or one a candidate. */
    private final long[] rights;
    /** The same packed for tiles of the usual height, unless products are transposed or of float32 codes. */
    private final long[] packed;
    private final Optional<dnnl_memory_desc> packedLayout;
    /** Columns of a product, and how many rows of scales a candidate has. */
    private final int columns;
    private final int scaleGroups;
    private final long scales;

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
        this.transposed = searched == Operand.RIGHT && !floatLeft && groups <= MOST_TRANSPOSED_GROUPS
                && (problem.batch() > 1 || problem.right().transpose().isDense())
                && isElementwise();
        this.coder = new Coder(floatLeft ? dnnl.dnnl_f32 : path.codeType());
        this.ranges = floatLeft ? 1 : leftGrids(0).get(0).ranges().size();
        this.columns = transposed ? tileRows : problem.m();
        this.scaleGroups = transposed ? Math.max(groups, problem.heads()) : problem.heads();
        this.scales = allScales(scope);
        boolean single = problem.batch() == 1;
        this.rights = single && !transposed ? encodeRights(scope, workers) : new long[0];
        if (single && transposed) {
            prepareCandidates(workers);
        }
        Optional<Worker.Product> usual = single && !transposed
                ? product(Worker.current(), Math.min(problem.n(), tileRows), 0).packedFor() : Optional.empty();
        this.packedLayout = usual.map(key -> Worker.current().product(key).weights());
        this.packed = usual.isPresent() ? packRights(scope, workers, usual.get()) : new long[0];
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

    /**
     * Whether a candidate is for one group the same as the one before it, so that their losses are equal. With several
     * groups that share a tile only if it is so for all.
     */
    boolean sameAsBefore(int candidate, int group) {
        if (groups > 1 && problem.heads() == 1 && !transposed) {
            return candidates.get(candidate).equals(candidates.get(candidate - 1));
        }
        int at = groups == 1 ? 0 : group;
        return candidates.get(candidate).get(at).equals(candidates.get(candidate - 1).get(at));
    }

    /** Address of a column group of the right operand of a single transposed product. */
    long right(int candidate, int group) {
        return codes.candidate(new KeptCodes.Candidate(group, rightGrid(candidate, group)));
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
        return coder.codeType() == dnnl.dnnl_s8 ? Layout.packed(plain.type(), problem.k(), problem.m()) : plain;
    }

    /** Layout of the codes as they are encoded: like the numbers in memory. */
    Layout plainRight() {
        return problem.right().at(0).transpose().isDense()
                ? Layout.dense(coder.codeType(), problem.m(), problem.k()).transposed()
                : Layout.dense(coder.codeType(), problem.k(), problem.m());
    }

    /**
     * Address of the column scales of a candidate's products in a range.
     *
     * @param group the head; in transposed products of a linear layer the column group
     */
    long scales(int candidate, int group, int range) {
        return scales + ((((long) candidate * scaleGroups + group) * ranges + range) * columns) * Float.BYTES;
    }

    /** Packs a right operand for the products of a tile of the usual height. */
    void pack(Worker worker, CodeProduct product, long plain, long packed) {
        worker.pack(plainRight(), product.packedFor().orElseThrow(), plain, packed);
    }

    /** The finishing product of a tile: all ranges, or only those from {@code firstRange} on. */
    CodeProduct product(Worker worker, int rows, int firstRange) {
        boolean bias = firstRange == 0 && problem.bias().isPresent();
        Layout destination = Layout.dense(dnnl.dnnl_f32, rows, problem.m());
        return new CodeProduct(worker, coder.codeType(), ranges - firstRange, rows, problem.k(), rightLayout(), bias,
                destination, comparison());
    }

    /** The finishing product of a transposed tile: rows of the right operand, columns are the tile's rows. */
    CodeProduct transposedProduct(Worker worker, int rows, int tileRows) {
        Layout layout = coder.codeType() == dnnl.dnnl_s8 ? Layout.packed(coder.codeType(), problem.k(), tileRows)
                : Layout.dense(coder.codeType(), tileRows, problem.k()).transposed();
        return new CodeProduct(worker, coder.codeType(), ranges, rows, problem.k(), layout, false,
                Layout.dense(dnnl.dnnl_f32, rows, tileRows), comparison());
    }

    private Epilogue.Kind[] comparison() {
        if (problem.distance() == Distance.SQUARED) {
            return problem.weight().isPresent()
                    ? new Epilogue.Kind[] {Epilogue.Kind.SUBTRACT, Epilogue.Kind.SQUARE, Epilogue.Kind.MULTIPLY}
                    : new Epilogue.Kind[] {Epilogue.Kind.SUBTRACT, Epilogue.Kind.SQUARE};
        }
        return problem.distance() == Distance.ABSOLUTE
                ? new Epilogue.Kind[] {Epilogue.Kind.SUBTRACT, Epilogue.Kind.ABSOLUTE} : new Epilogue.Kind[0];
    }

    private long allScales(CpuScope scope) {
        CpuBuffer memory = scope.bytes((long) candidates.size() * scaleGroups * ranges * columns * Float.BYTES);
        float[] row = new float[columns];
        long at = memory.address();
        for (int candidate = 0; candidate < candidates.size(); candidate++) {
            for (int group = 0; group < scaleGroups; group++) {
                for (int range = 0; range < ranges; range++) {
                    float left = floatLeft ? 1 : leftGrid(candidate, group).ranges().get(range).step();
                    for (int column = 0; column < columns; column++) {
                        int rightGroup = transposed || problem.heads() > 1 ? group
                                : column / (columns / problem.columnGroups());
                        row[column] = left * rightGrid(candidate, rightGroup).ranges().get(0).step();
                    }
                    CpuBuffer.at(at, columns * Float.BYTES).asFloatBuffer().put(row);
                    at += (long) columns * Float.BYTES;
                }
            }
        }
        return memory.address();
    }

    private long[] encodeRights(CpuScope scope, Workers workers) {
        long bytes = (long) problem.k() * problem.m() * coder.bytesPerCode();
        long[] addresses = allocate(scope, searched == Operand.RIGHT ? candidates.size() : 1, bytes);
        long numbers = CpuBuffer.address(problem.right());
        int parts = rightGrids(0).size();
        long size = (long) problem.k() * problem.m() / parts;
        workers.run(addresses.length, candidate -> {
            long start = System.nanoTime();
            for (int part = 0; part < parts; part++) {
                coder.encode(Worker.current(), numbers + part * size * Float.BYTES, size, rightGrid(candidate, part), 0,
                        addresses[candidate] + part * size * coder.bytesPerCode());
            }
            clock.add(WorkClock.Kind.ENCODE, start);
        });
        return addresses;
    }

    private void prepareCandidates(Workers workers) {
        Set<KeptCodes.Candidate> wanted = new LinkedHashSet<>();
        for (int candidate = 0; candidate < candidates.size(); candidate++) {
            for (int group = 0; group < groups; group++) {
                wanted.add(new KeptCodes.Candidate(group, rightGrid(candidate, group)));
            }
        }
        long size = (long) problem.k() * problem.m() / groups;
        long numbers = CpuBuffer.address(problem.right());
        codes.prepare(wanted, size * coder.bytesPerCode(), workers, (candidate, address) -> {
            long start = System.nanoTime();
            coder.encode(Worker.current(), numbers + candidate.group() * size * Float.BYTES, size, candidate.grid(), 0, address);
            clock.add(WorkClock.Kind.ENCODE, start);
        });
    }

    private long[] packRights(CpuScope scope, Workers workers, Worker.Product usual) {
        long[] addresses = allocate(scope, rights.length, Worker.current().product(usual).weightBytes());
        workers.run(addresses.length, candidate -> {
            long start = System.nanoTime();
            Worker.current().pack(plainRight(), usual, rights[candidate], addresses[candidate]);
            clock.add(WorkClock.Kind.PACK, start);
        });
        return addresses;
    }

    private static long[] allocate(CpuScope scope, int count, long bytes) {
        long[] addresses = new long[count];
        Arrays.setAll(addresses, i -> scope.bytes(bytes).address());
        return addresses;
    }
}
