package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CandidateGrids;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.global.dnnl;

/** Codes of the right operand of a single product: of each candidate if it is the one searched. The tiles share them. */
interface RightCodes {

    /**
     * Address of a candidate's codes as a product of a tile wants them.
     *
     * @param part of a transposed product's candidate, else 0
     */
    long address(Worker worker, CodeProduct product, int candidate, int part);

    /**
     * Makes them.
     *
     * @param tileRows rows of the largest tile
     * @param scope owns what does not outlive the call
     */
    static RightCodes of(ScoreInputs inputs, int tileRows, CpuScope scope, Workers workers) {
        if (inputs.problem.batch() > 1) {
            return (worker, product, candidate, part) -> {
                throw new IllegalStateException("Each product of a batch has a right operand of its own");
            };
        }
        return inputs.transposed ? transposed(inputs, workers) : new Packed(inputs, tileRows, scope, workers);
    }

    /** First factors, kept from call to call. */
    private static RightCodes transposed(ScoreInputs inputs, Workers workers) {
        MatmulProblem problem = inputs.problem;
        int parts = inputs.parts;
        int width = inputs.groups / parts;
        List<KeptCodes.Candidate> wanted = new ArrayList<>();
        for (int candidate = 0; candidate < inputs.candidates.count(); candidate++) {
            for (int part = 0; part < parts; part++) {
                wanted.add(new KeptCodes.Candidate(part, inputs.candidates.of(candidate, part * width, (part + 1) * width)));
            }
        }
        int rows = problem.m() / parts;
        long size = (long) problem.k() * rows;
        long numbers = CpuBuffer.address(problem.right());
        long[] addresses = inputs.codes.candidates(wanted, size * inputs.first.form().bytes(), workers, (candidate, address) -> {
            long start = System.nanoTime();
            workers.use(worker -> inputs.first.encode(worker, numbers + candidate.part() * size * Float.BYTES, rows, problem.k(),
                    candidate.grids(), address));
            inputs.clock.add(WorkClock.Kind.ENCODE, start);
        });
        return (worker, product, candidate, part) -> addresses[candidate * parts + part];
    }

    /** Second factors, packed once for tiles of the usual height, unless products are of float32 codes. */
    final class Packed implements RightCodes {
        private final ScoreInputs inputs;
        private final MatmulProblem problem;
        private final CpuScope scope;
        private final Workers workers;
        /** As they are encoded: of all candidates, or of the fixed operand alone. */
        private final long[] plain;
        private final Optional<Worker.Product> usual;
        private final Optional<dnnl_memory_desc> layout;
        private final long[] packed;

        private Packed(ScoreInputs inputs, int tileRows, CpuScope scope, Workers workers) {
            this.inputs = inputs;
            this.problem = inputs.problem;
            this.scope = scope;
            this.workers = workers;
            long bytes = (long) problem.k() * problem.m() * inputs.second.form().bytes();
            this.plain = made(0, bytes, this::encode);
            this.usual = workers.with(worker -> inputs.product(worker, Math.min(problem.n(), tileRows), 0).packedFor());
            this.layout = usual.map(key -> workers.with(worker -> worker.product(key).weights()));
            this.packed = usual.map(key -> made(tileRows, workers.with(worker -> worker.product(key).weightBytes()),
                    this::pack)).orElse(plain);
        }

        /** Writes a candidate's codes. */
        private interface Writer {
            void write(Worker worker, int candidate, long address);
        }

        private long[] made(int tileRows, long bytes, Writer writer) {
            if (inputs.searched == Operand.LEFT) {
                return inputs.codes.fixed(new KeptCodes.Place(Operand.RIGHT, 0, 0, tileRows), inputs.fixed, bytes,
                        kept -> workers.use(worker -> writer.write(worker, 0, kept[0])));
            }
            long[] addresses = new long[inputs.candidates.count()];
            Arrays.setAll(addresses, i -> scope.bytes(bytes).address());
            workers.run(addresses.length, candidate -> workers.use(worker -> writer.write(worker, candidate, addresses[candidate])));
            return addresses;
        }

        private void encode(Worker worker, int candidate, long address) {
            long start = System.nanoTime();
            long numbers = CpuBuffer.address(problem.right());
            if (problem.right().transpose().isDense()) {
                CandidateGrids own = inputs.searched == Operand.RIGHT ? inputs.candidates.of(candidate, 0, inputs.groups)
                        : CandidateGrids.of(List.of(inputs.fixed));
                inputs.second.encode(worker, numbers, problem.m(), problem.k(), own, address);
            } else {
                inputs.second.encode(worker, numbers, (long) problem.k() * problem.m(), inputs.rightGrid(candidate, 0), 0, address);
            }
            inputs.clock.add(WorkClock.Kind.ENCODE, start);
        }

        private void pack(Worker worker, int candidate, long address) {
            long start = System.nanoTime();
            worker.pack(inputs.plainRight(), usual.orElseThrow(), plain[candidate], address);
            inputs.clock.add(WorkClock.Kind.PACK, start);
        }

        @Override
        public long address(Worker worker, CodeProduct product, int candidate, int part) {
            int own = plain.length == 1 ? 0 : candidate;
            if (product.packedFor().isEmpty()) {
                return plain[own];
            }
            Worker.Compiled compiled = worker.product(product.packedFor().get());
            if (dnnl.dnnl_memory_desc_equal(compiled.weights(), layout.orElseThrow()) != 0) {
                return packed[own];
            }
            // oneDNN may choose another layout for another tile height
            long repacked = worker.scratch("right repacked", compiled.weightBytes());
            inputs.pack(worker, product, plain[own], repacked);
            return repacked;
        }
    }
}
