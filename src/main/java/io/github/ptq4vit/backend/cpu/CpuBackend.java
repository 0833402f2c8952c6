package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Checks;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.DeviceInfo;
import io.github.ptq4vit.backend.HostOperations;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.RowTransform;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.bytedeco.dnnl.global.dnnl;
import org.bytedeco.javacpp.Pointer;

/** All operations through oneDNN, each on the calling thread; {@link #parallel} spreads items over the processor's cores. */
public sealed class CpuBackend implements Backend permits ReproducibleCpu {
    /** Numbers that pass through Java's arrays at a time: with the room that functions take they stay in the first cache. */
    static final int PIECE = 4096;
    private static final int F32 = dnnl.dnnl_f32;

    static {
        // the bindings would count all memory of the process against a multiple of Java's heap, which holds none of ours
        for (String limit : List.of("org.bytedeco.javacpp.maxBytes", "org.bytedeco.javacpp.maxPhysicalBytes")) {
            if (System.getProperty(limit) == null) {
                System.setProperty(limit, "0");
            }
        }
    }

    private final NativeHeap heap;
    private final Workers workers;
    private final IntegerPath path;
    private final CpuProducts products;
    private final WorkClock clock;

    /** Takes all processors. */
    public CpuBackend() {
        this(Runtime.getRuntime().availableProcessors());
    }

    /** Takes so many threads. */
    public CpuBackend(int threads) {
        this(threads, IntegerPath::probe);
    }

    private CpuBackend(int threads, Function<Worker, IntegerPath> probe) {
        this.heap = new NativeHeap();
        this.workers = new Workers(threads, heap::close);
        try {
            this.path = workers.with(probe);
        } catch (RuntimeException | Error e) {
            workers.close();
            throw e;
        }
        this.products = new CpuProducts(path);
        this.clock = new WorkClock();
    }

    Workers workers() {
        return workers;
    }

    /** What the threads were busy with in scoring. */
    WorkClock scoringClock() {
        return clock;
    }

    NativeHeap memory() {
        return heap;
    }

    /** The same device for a subclass. */
    CpuBackend(CpuBackend shared) {
        this.heap = shared.heap;
        this.workers = shared.workers;
        this.path = shared.path;
        this.products = shared.products;
        this.clock = shared.clock;
    }

    /** The backend as it is on processors whose int8 products are not exact, whatever this one can do. */
    public static CpuBackend withFloatProducts(int threads) {
        return new CpuBackend(threads, worker -> IntegerPath.FLOAT32);
    }

    @Override
    public DeviceInfo device() {
        return new DeviceInfo("cpu", CpuName.read() + ", oneDNN " + OneDnn.version(), workers.count(), path.words(),
                "float32");
    }

    @Override
    public Backend reproducible() {
        return new ReproducibleCpu(this);
    }

    @Override
    public Map<String, Double> scoringSeconds() {
        return clock.seconds();
    }

    @Override
    public Scope scope() {
        return new CpuScope(heap);
    }

    @Override
    public void parallel(int items, Part part) {
        workers.run(items, item -> {
            try (Scope scope = scope()) {
                part.run(item, item + 1, scope);
            }
        });
    }

    @Override
    public void upload(Tensor from, View to) {
        Checks.upload(from, to);
        CpuBuffer.floats(to).put(from.data().duplicate());
    }

    @Override
    public Tensor download(View from) {
        Checks.download(from);
        float[] copy = new float[Math.toIntExact(from.elements())];
        CpuBuffer.floats(from).get(copy);
        return Tensor.of(Shape.of(from.sizes()), copy);
    }

    @Override
    public Linear linear(Scope owner, Tensor weight, Optional<Tensor> bias) {
        Checks.weights(weight, bias);
        View plain = owner.floats(weight.shape().toArray());
        upload(weight, plain);
        return new CpuLinear((CpuScope) owner, weight.shape().size(1), weight.shape().size(0), CpuBuffer.address(plain), false,
                bias.map(b -> vector(owner, b.toArray())), Optional.empty());
    }

    @Override
    public Linear linear(Scope owner, byte[] codes, float[] steps, int inputs, Optional<Tensor> bias) {
        Checks.weights(codes, steps, inputs, bias);
        CpuBuffer plain = ((CpuScope) owner).bytes((long) codes.length * path.second().bytes());
        ByteBuffer memory = CpuBuffer.at(plain.address(), Math.toIntExact(plain.elements()));
        if (path == IntegerPath.INT8) {
            memory.put(codes);
        } else {
            for (byte code : codes) {
                memory.putFloat(code);
            }
        }
        return new CpuLinear((CpuScope) owner, inputs, steps.length, plain.address(), path == IntegerPath.INT8,
                bias.map(b -> vector(owner, b.toArray())), Optional.of(vector(owner, steps)));
    }

    private long vector(Scope owner, float[] numbers) {
        View view = owner.floats(numbers.length);
        CpuBuffer.floats(view).put(numbers);
        return CpuBuffer.address(view);
    }

    @Override
    public void linear(View x, Linear weights, View y) {
        Checks.linear(x, weights, y);
        workers.use(worker -> products.linear(worker, x, (CpuLinear) weights, y));
    }

    @Override
    public void linearBackward(View dy, Linear weights, View dx) {
        Checks.linear(dx, weights, dy);
        workers.use(worker -> products.linearBackward(worker, dy, (CpuLinear) weights, dx));
    }

    @Override
    public void linear(View x, CodeGrid grid, Linear weights, View y) {
        Checks.linear(x, grid, weights, y);
        workers.use(worker -> products.quantizedLinear(worker, x, RowTransform.NONE, grid, (CpuLinear) weights, y));
    }

    @Override
    public void linear(View x, RowTransform transform, CodeGrid grid, Linear weights, View y) {
        Checks.linear(x, transform, grid, weights, y);
        workers.use(worker -> products.quantizedLinear(worker, x, transform, grid, (CpuLinear) weights, y));
    }

    @Override
    public void matmul(View a, View b, View c) {
        Checks.matmul(a, b, c);
        workers.use(worker -> {
            Layout right = Layout.of(b);
            long rightAddress = CpuBuffer.address(b);
            if (a.size(-1) == 1 && !b.isDense()) {
                // oneDNN 3.11 multiplies a batch of single rows as if they were columns unless they are dense
                right = Layout.dense(F32, IntStream.of(b.sizes()).asLongStream().toArray());
                long copy = worker.scratch("dense b", b.elements() * Float.BYTES);
                worker.copy(Layout.of(b), right).run(rightAddress, copy);
                rightAddress = copy;
            }
            worker.product(new Worker.Product(Layout.of(a), right, false, Layout.of(c), Epilogue.NONE))
                    .primitive().run(CpuBuffer.address(a), rightAddress, CpuBuffer.address(c));
        });
    }

    @Override
    public void matmul(View a, List<CodeGrid> gridsA, View b, List<CodeGrid> gridsB, View c) {
        Checks.matmul(a, gridsA, b, gridsB, c);
        workers.use(worker -> products.quantizedMatmul(worker, a, gridsA, b, gridsB, c));
    }

    @Override
    public void layerNorm(View x, View gamma, View beta, float epsilon, View y) {
        Checks.layerNorm(x, gamma, beta, y);
        workers.use(worker -> {
            long rows = x.elements() / x.size(-1);
            long moments = worker.scratch("moments", 2 * rows * Float.BYTES);
            worker.layerNorm(rows, x.size(-1), epsilon).run(CpuBuffer.address(x), moments, moments + rows * Float.BYTES, CpuBuffer.address(gamma),
                    CpuBuffer.address(beta), CpuBuffer.address(y));
        });
    }

    @Override
    public void layerNormBackward(View x, View gamma, float epsilon, View dy, View dx) {
        Checks.layerNorm(x, gamma, gamma, dy, dx);
        workers.use(worker -> {
            long rows = x.elements() / x.size(-1);
            long columns = x.size(-1);
            long moments = worker.scratch("moments", 2 * rows * Float.BYTES);
            long scratch = worker.scratch("norm gradient", rows * columns * Float.BYTES);
            // the moments once more: cheaper than keeping them for every layer
            worker.layerNorm(rows, columns, epsilon).run(CpuBuffer.address(x), moments, moments + rows * Float.BYTES, CpuBuffer.address(gamma),
                    CpuBuffer.address(gamma), scratch);
            Layout matrix = Layout.dense(F32, rows, columns);
            worker.binary(dnnl.dnnl_binary_mul, matrix, Layout.dense(F32, 1, columns), matrix, Epilogue.NONE)
                    .run(CpuBuffer.address(dy), CpuBuffer.address(gamma), scratch);
            worker.layerNormBackward(rows, columns, epsilon).run(CpuBuffer.address(x), moments, moments + rows * Float.BYTES, scratch,
                    CpuBuffer.address(dx));
        });
    }

    @Override
    public void softmax(View x, float scale, View y) {
        Checks.rows(x, y);
        workers.use(worker -> {
            worker.eltwise(dnnl.dnnl_eltwise_linear, false, x.elements(), scale, 0).run(CpuBuffer.address(x), CpuBuffer.address(y));
            worker.softmax(false, x.elements() / x.size(-1), x.size(-1)).run(CpuBuffer.address(y), CpuBuffer.address(y));
        });
    }

    @Override
    public void softmaxBackward(View y, View dy, float scale, View dx) {
        Checks.rows(y, dy, dx);
        workers.use(worker -> {
            worker.softmax(true, y.elements() / y.size(-1), y.size(-1)).run(CpuBuffer.address(y), CpuBuffer.address(dy), CpuBuffer.address(dx));
            worker.eltwise(dnnl.dnnl_eltwise_linear, false, y.elements(), scale, 0).run(CpuBuffer.address(dx), CpuBuffer.address(dx));
        });
    }

    @Override
    public void gelu(View x, View y) {
        Checks.alike(x, y);
        workers.use(worker -> worker.eltwise(dnnl.dnnl_eltwise_gelu_erf, false, x.elements(), 0, 0).run(CpuBuffer.address(x), CpuBuffer.address(y)));
    }

    @Override
    public void geluBackward(View x, View dy, View dx) {
        Checks.alike(x, dy, dx);
        workers.use(worker -> worker.eltwise(dnnl.dnnl_eltwise_gelu_erf, true, x.elements(), 0, 0)
                .run(CpuBuffer.address(x), CpuBuffer.address(dy), CpuBuffer.address(dx)));
    }

    @Override
    public void add(View a, View b, View c) {
        Checks.add(a, b, c);
        long inner = b.elements();
        long outer = a.elements() / inner;
        workers.use(worker -> worker.binary(dnnl.dnnl_binary_add, Layout.dense(F32, outer, inner), Layout.dense(F32, 1, inner),
                Layout.dense(F32, outer, inner), Epilogue.NONE).run(CpuBuffer.address(a), CpuBuffer.address(b), CpuBuffer.address(c)));
    }

    @Override
    public void multiply(View x, View factors, View y) {
        Checks.multiply(x, factors, y);
        long columns = factors.elements();
        Layout matrix = Layout.dense(F32, x.elements() / columns, columns);
        workers.use(worker -> worker.binary(dnnl.dnnl_binary_mul, matrix, Layout.dense(F32, 1, columns), matrix, Epilogue.NONE)
                .run(CpuBuffer.address(x), CpuBuffer.address(factors), CpuBuffer.address(y)));
    }

    @Override
    public void addSquare(View x, float factor, View sum) {
        Checks.alike(x, sum);
        Layout line = Layout.dense(F32, x.elements());
        Epilogue scaleAndAdd = new Epilogue(false, Epilogue.Scales.NONE, List.of(new Epilogue.Step(Epilogue.Kind.LINEAR, factor, 0),
                Epilogue.Step.of(Epilogue.Kind.ACCUMULATE)));
        workers.use(worker -> worker.binary(dnnl.dnnl_binary_mul, line, line, line, scaleAndAdd).run(CpuBuffer.address(x), CpuBuffer.address(x), CpuBuffer.address(sum)));
    }

    @Override
    public void magnitudes(View x, View y) {
        Checks.alike(x, y);
        workers.use(worker -> worker.eltwise(dnnl.dnnl_eltwise_abs, false, x.elements(), 0, 0).run(CpuBuffer.address(x), CpuBuffer.address(y)));
    }

    @Override
    public void zero(View x) {
        Checks.alike(x);
        Pointer.memset(new Address(CpuBuffer.address(x)), 0, x.elements() * x.buffer().type().bytes());
    }

    @Override
    public void copy(View from, View to) {
        Checks.copy(from, to);
        workers.use(worker -> worker.copy(Layout.of(from), Layout.of(to)).run(CpuBuffer.address(from), CpuBuffer.address(to)));
    }

    @Override
    public void gather(View from, int[] rows, View to) {
        Checks.gather(from, rows, to);
        int length = Math.toIntExact(from.elements() / from.size(0));
        Rows source = new Rows(CpuBuffer.address(from), from.elements(), length);
        Rows target = new Rows(CpuBuffer.address(to), to.elements(), length);
        for (int i = 0; i < rows.length; i++) {
            target.put(i, source, rows[i]);
        }
    }

    @Override
    public void quantize(View x, CodeGrid grid, int range, View codes) {
        Checks.quantize(x, grid, range, codes);
        workers.use(worker -> new Coder(CodeForm.SIGNED).encode(worker, CpuBuffer.address(x), x.elements(), grid, range, CpuBuffer.address(codes)));
    }

    @Override
    public void decoded(View x, CodeGrid grid, View y) {
        Checks.rows(x, y);
        Decoder.decode(CpuBuffer.floats(x), x.size(-1), grid, CpuBuffer.floats(y));
    }

    @Override
    public void hadamard(View x, int block, View y) {
        Checks.hadamard(x, block, y);
        pieces(x, y, Math.max(1, PIECE / x.size(-1)) * x.size(-1), (piece, count) -> HostOperations.hadamard(piece, count, block));
    }

    /** Changes the first {@code count} numbers of an array. */
    interface Change {
        void apply(float[] x, int count);
    }

    /** Takes x to y through Java's arrays, in pieces of so many numbers. */
    static void pieces(View x, View y, int length, Change change) {
        FloatBuffer from = CpuBuffer.floats(x);
        FloatBuffer to = CpuBuffer.floats(y);
        float[] piece = new float[Math.min(length, from.limit())];
        for (int start = 0; start < from.limit(); start += length) {
            int count = Math.min(length, from.limit() - start);
            from.get(start, piece, 0, count);
            change.apply(piece, count);
            to.put(start, piece, 0, count);
        }
    }

    @Override
    public double[] squaredErrors(View a, View b, Optional<View> w) {
        Checks.groups(a, b, w.orElse(b));
        return Decoder.squaredErrors(CpuBuffer.floats(a), CpuBuffer.floats(b), w.map(CpuBuffer::floats), a.size(1),
                a.size(2));
    }

    @Override
    public float[] maxima(View x, boolean absolute) {
        Checks.groups(x);
        return Reductions.maxima(CpuBuffer.floats(x), x.size(0), x.size(1), x.size(2), absolute);
    }

    @Override
    public double[] rowSums(View x) {
        Checks.rows(x);
        return Reductions.rowSums(CpuBuffer.floats(x), x.size(-1));
    }

    @Override
    public Scoring scoring(Scope owner, MatmulProblem problem) {
        return new CpuScoring(heap, workers, path, clock, (CpuScope) owner, problem);
    }

    /**
     * Frees what belongs to the backend. A computation in progress fails at its next operation, and what it computes with is
     * freed then; memory of scopes stays valid until they are closed.
     */
    @Override
    public void close() {
        workers.close();
    }
}
