package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.DeviceInfo;
import io.github.ptq4vit.backend.HostOperations;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
import org.bytedeco.dnnl.global.dnnl;
import org.bytedeco.javacpp.Pointer;

/** All operations through oneDNN, each on the calling thread; {@link #parallel} spreads items over the processor's cores. */
public sealed class CpuBackend implements Backend permits ReproducibleCpu {
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
    private final CpuScorer scorer;
    /** Owns what every user of the backend needs again. */
    private final CpuScope constants;
    private final Map<Integer, View> hadamards;

    /** Takes all processors. */
    public CpuBackend() {
        this(Runtime.getRuntime().availableProcessors());
    }

    /** Takes so many threads. */
    public CpuBackend(int threads) {
        this(threads, IntegerPath.probe(Worker.current()));
    }

    private CpuBackend(int threads, IntegerPath path) {
        this.heap = new NativeHeap();
        this.workers = new Workers(threads);
        this.path = path;
        this.products = new CpuProducts(path);
        this.scorer = new CpuScorer(heap, workers, path);
        this.constants = new CpuScope(heap);
        this.hadamards = new ConcurrentHashMap<>();
    }

    /** The same device for a subclass. */
    CpuBackend(CpuBackend shared) {
        this.heap = shared.heap;
        this.workers = shared.workers;
        this.path = shared.path;
        this.products = shared.products;
        this.scorer = shared.scorer;
        this.constants = shared.constants;
        this.hadamards = shared.hadamards;
    }

    /** The backend as it is on processors whose int8 products are not exact, whatever this one can do. */
    public static CpuBackend withFloatProducts(int threads) {
        return new CpuBackend(threads, IntegerPath.FLOAT32);
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
        return scorer.clock().seconds();
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
        if (from.shape().elements() != to.elements()) {
            throw new IllegalArgumentException("Cannot upload " + from.shape() + " to " + to);
        }
        CpuBuffer.floats(to).put(from.data().duplicate());
    }

    @Override
    public Tensor download(View from) {
        float[] copy = new float[Math.toIntExact(from.elements())];
        CpuBuffer.floats(from).get(copy);
        return Tensor.of(Shape.of(from.sizes()), copy);
    }

    @Override
    public Linear linear(Scope owner, Tensor weight, Optional<Tensor> bias) {
        View plain = owner.floats(weight.shape().toArray());
        upload(weight, plain);
        return new CpuLinear((CpuScope) owner, weight.shape().size(1), weight.shape().size(0), CpuBuffer.address(plain), false,
                bias.map(b -> vector(owner, b.toArray())), Optional.empty());
    }

    @Override
    public Linear linear(Scope owner, byte[] codes, float[] steps, int inputs, Optional<Tensor> bias) {
        CpuBuffer plain = ((CpuScope) owner).bytes((long) codes.length * path.second().bytes());
        ByteBuffer memory = CpuBuffer.at(plain.address(), Math.toIntExact(plain.elements()));
        if (path == IntegerPath.INT8) {
            memory.put(codes);
        } else {
            for (byte code : codes) {
                memory.putFloat(code);
            }
        }
        return new CpuLinear((CpuScope) owner, inputs, codes.length / inputs, plain.address(), path == IntegerPath.INT8,
                bias.map(b -> vector(owner, b.toArray())), Optional.of(vector(owner, steps)));
    }

    private long vector(Scope owner, float[] numbers) {
        View view = owner.floats(numbers.length);
        CpuBuffer.floats(view).put(numbers);
        return CpuBuffer.address(view);
    }

    @Override
    public void linear(View x, Linear weights, View y) {
        products.linear(Worker.current(), x, (CpuLinear) weights, y);
    }

    @Override
    public void linearBackward(View dy, Linear weights, View dx) {
        products.linearBackward(Worker.current(), dy, (CpuLinear) weights, dx);
    }

    @Override
    public void linear(View x, CodeGrid grid, Linear weights, View y) {
        products.quantizedLinear(Worker.current(), x, grid, (CpuLinear) weights, y);
    }

    @Override
    public void matmul(View a, View b, View c) {
        Worker worker = Worker.current();
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
    }

    @Override
    public void matmul(View a, List<CodeGrid> gridsA, View b, List<CodeGrid> gridsB, View c) {
        products.quantizedMatmul(Worker.current(), a, gridsA, b, gridsB, c);
    }

    @Override
    public void layerNorm(View x, View gamma, View beta, float epsilon, View y) {
        Worker worker = Worker.current();
        long rows = x.elements() / x.size(-1);
        long moments = worker.scratch("moments", 2 * rows * Float.BYTES);
        worker.layerNorm(rows, x.size(-1), epsilon).run(dense(x), moments, moments + rows * Float.BYTES, dense(gamma),
                dense(beta), dense(y));
    }

    @Override
    public void layerNormBackward(View x, View gamma, float epsilon, View dy, View dx) {
        Worker worker = Worker.current();
        long rows = x.elements() / x.size(-1);
        long columns = x.size(-1);
        long moments = worker.scratch("moments", 2 * rows * Float.BYTES);
        long scratch = worker.scratch("norm gradient", rows * columns * Float.BYTES);
        // the moments once more: cheaper than keeping them for every layer
        worker.layerNorm(rows, columns, epsilon).run(dense(x), moments, moments + rows * Float.BYTES, dense(gamma),
                dense(gamma), scratch);
        Layout matrix = Layout.dense(F32, rows, columns);
        worker.binary(dnnl.dnnl_binary_mul, matrix, Layout.dense(F32, 1, columns), matrix, Epilogue.NONE)
                .run(dense(dy), dense(gamma), scratch);
        worker.layerNormBackward(rows, columns, epsilon).run(dense(x), moments, moments + rows * Float.BYTES, scratch,
                dense(dx));
    }

    @Override
    public void softmax(View x, float scale, View y) {
        Worker worker = Worker.current();
        worker.eltwise(dnnl.dnnl_eltwise_linear, false, x.elements(), scale, 0).run(dense(x), dense(y));
        worker.softmax(false, x.elements() / x.size(-1), x.size(-1)).run(dense(y), dense(y));
    }

    @Override
    public void softmaxBackward(View y, View dy, float scale, View dx) {
        Worker worker = Worker.current();
        worker.softmax(true, y.elements() / y.size(-1), y.size(-1)).run(dense(y), dense(dy), dense(dx));
        worker.eltwise(dnnl.dnnl_eltwise_linear, false, y.elements(), scale, 0).run(dense(dx), dense(dx));
    }

    @Override
    public void gelu(View x, View y) {
        Worker.current().eltwise(dnnl.dnnl_eltwise_gelu_erf, false, x.elements(), 0, 0).run(dense(x), dense(y));
    }

    @Override
    public void geluBackward(View x, View dy, View dx) {
        Worker.current().eltwise(dnnl.dnnl_eltwise_gelu_erf, true, x.elements(), 0, 0).run(dense(x), dense(dy), dense(dx));
    }

    @Override
    public void add(View a, View b, View c) {
        long inner = b.elements();
        long outer = a.elements() / inner;
        Worker.current().binary(dnnl.dnnl_binary_add, Layout.dense(F32, outer, inner), Layout.dense(F32, 1, inner),
                Layout.dense(F32, outer, inner), Epilogue.NONE).run(dense(a), dense(b), dense(c));
    }

    @Override
    public void multiply(View x, View factors, View y) {
        long columns = factors.elements();
        Layout matrix = Layout.dense(F32, x.elements() / columns, columns);
        Worker.current().binary(dnnl.dnnl_binary_mul, matrix, Layout.dense(F32, 1, columns), matrix, Epilogue.NONE)
                .run(dense(x), dense(factors), dense(y));
    }

    @Override
    public void addSquare(View x, float factor, View sum) {
        Layout line = Layout.dense(F32, x.elements());
        Epilogue scaleAndAdd = new Epilogue(false, Epilogue.Scales.NONE, List.of(new Epilogue.Step(Epilogue.Kind.LINEAR, factor, 0),
                Epilogue.Step.of(Epilogue.Kind.ACCUMULATE)));
        Worker.current().binary(dnnl.dnnl_binary_mul, line, line, line, scaleAndAdd).run(dense(x), dense(x), dense(sum));
    }

    @Override
    public void magnitudes(View x, View y) {
        Worker.current().eltwise(dnnl.dnnl_eltwise_abs, false, x.elements(), 0, 0).run(dense(x), dense(y));
    }

    @Override
    public void zero(View x) {
        Pointer.memset(new Address(dense(x)), 0, x.elements() * x.buffer().type().bytes());
    }

    @Override
    public void copy(View from, View to) {
        if (!Arrays.equals(from.sizes(), to.sizes())) {
            throw new IllegalArgumentException("Cannot copy " + from + " to " + to);
        }
        Worker.current().copy(Layout.of(from), Layout.of(to)).run(CpuBuffer.address(from), CpuBuffer.address(to));
    }

    @Override
    public void gather(View from, int[] rows, View to) {
        int length = Math.toIntExact(from.elements() / from.size(0));
        Rows source = new Rows(dense(from), from.elements(), length);
        Rows target = new Rows(dense(to), to.elements(), length);
        for (int i = 0; i < rows.length; i++) {
            target.put(i, source, rows[i]);
        }
    }

    @Override
    public void quantize(View x, CodeGrid grid, int range, View codes) {
        if (codes.buffer().type() != DataType.INT8 || !codes.isDense()) {
            throw new IllegalArgumentException("Codes go to dense bytes, not " + codes);
        }
        new Coder(CodeForm.SIGNED).encode(Worker.current(), dense(x), x.elements(), grid, range, CpuBuffer.address(codes));
    }

    @Override
    public void decoded(View x, CodeGrid grid, View y) {
        Decoder.decode(CpuBuffer.floats(x), x.size(-1), grid, CpuBuffer.floats(y));
    }

    @Override
    public void hadamard(View x, int block, View y) {
        HostOperations.requireBlock(block, x.size(-1));
        int rows = Math.toIntExact(x.elements() / block);
        long copy = Worker.current().scratch("hadamard", x.elements() * Float.BYTES);
        View matrix = hadamards.computeIfAbsent(block, this::hadamardMatrix);
        Layout flat = Layout.dense(F32, rows, block);
        Worker.current().product(new Worker.Product(flat, Layout.of(matrix), false, flat, Epilogue.NONE)).primitive()
                .run(dense(x), CpuBuffer.address(matrix), copy);
        Pointer.memcpy(new Address(dense(y)), new Address(copy), x.elements() * Float.BYTES);
    }

    private View hadamardMatrix(int block) {
        View matrix = constants.floats(block, block);
        float[] numbers = new float[block * block];
        for (int i = 0; i < block; i++) {
            numbers[i * block + i] = 1;
        }
        HostOperations.hadamard(numbers, numbers.length, block);
        CpuBuffer.floats(matrix).put(numbers);
        return matrix;
    }

    @Override
    public double[] squaredErrors(View a, View b, Optional<View> w) {
        return Decoder.squaredErrors(CpuBuffer.floats(a), CpuBuffer.floats(b), w.map(CpuBuffer::floats), a.size(1),
                Math.toIntExact(a.elements() / a.size(0) / a.size(1)));
    }

    @Override
    public float[] maxima(View x, boolean absolute) {
        return Reductions.maxima(CpuBuffer.floats(x), x.size(0), x.size(1), Math.toIntExact(x.elements() / x.size(0) / x.size(1)),
                absolute);
    }

    @Override
    public double[] rowSums(View x) {
        return Reductions.rowSums(CpuBuffer.floats(x), x.size(-1));
    }

    @Override
    public Scoring scoring(Scope owner, MatmulProblem problem) {
        Slabs slabs = new Slabs((CpuScope) owner);
        TransposedOutputs outputs = new TransposedOutputs(slabs, problem);
        KeptCodes codes = new KeptCodes((CpuScope) owner, slabs);
        return (searched, fixed, candidates, from, to) ->
                scorer.score(problem, outputs, codes, searched, fixed, candidates, from, to);
    }

    @Override
    public void close() {
        workers.close();
        constants.close();
        heap.close();
    }

    private static long dense(View view) {
        if (!view.isDense()) {
            throw new IllegalArgumentException("This operation takes dense views, not " + view);
        }
        return CpuBuffer.address(view);
    }
}
