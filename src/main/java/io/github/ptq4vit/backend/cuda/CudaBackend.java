package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.Checks;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.DeviceInfo;
import io.github.ptq4vit.backend.HostOperations;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.backend.RowTransform;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import jcuda.driver.JCudaDriver;

/**
 * All operations on one NVIDIA GPU, in the order in which they are asked for. They return before the device is done; what
 * brings numbers to the host waits. Where there are several GPUs, they share the candidates of a search.
 */
public sealed class CudaBackend implements Backend permits ReproducibleCuda {
    /** What part of the memory arrays may take that only wait. */
    private static final int MOST_WAITING = 8;
    /** Numbers that a block of threads exchanges, see {@code cuda-kernels/hadamard.cu}. */
    private static final int LARGEST_HADAMARD_BLOCK = 1024;

    private final CudaDevices devices;
    private final CudaDevice device;
    private final Optional<Blas> blas;
    private final Optional<Cudnn> cudnn;
    private final FloatProducts floatProducts;
    private final IntegerProducts integerProducts;
    private final StridedCopy copies;
    private final Reductions reductions;

    /**
     * Opens a device.
     *
     * @throws BackendException if that cannot be; the message has all reasons
     */
    public CudaBackend(CudaSettings settings) {
        this(settings, installation().hasCublas());
    }

    /** The backend as it is where there is no cuBLAS, whatever this machine has. */
    public static CudaBackend withoutBlas(CudaSettings settings) {
        installation();
        return new CudaBackend(settings, false);
    }

    private CudaBackend(CudaSettings settings, boolean withBlas) {
        this.devices = new CudaDevices(settings);
        this.device = devices.first();
        Optional<Cudnn> opened = Optional.empty();
        try {
            if (settings.tf32() && (!withBlas || device.capability() < CudaDevice.TENSOR_CORE_KERNELS)) {
                throw new BackendException("There is no TF32 on " + device.words() + ": it takes cuBLAS and compute capability 8.0 or"
                        + " later; leave --tf32 out");
            }
            opened = settings.cudnn() ? Optional.of(new Cudnn(device)) : opened;
            this.blas = withBlas ? Optional.of(new Blas(device)) : Optional.empty();
        } catch (RuntimeException | Error e) {
            opened.ifPresent(Cudnn::close);
            devices.close();
            throw e;
        }
        this.cudnn = opened;
        this.floatProducts = new FloatProducts(device, blas);
        this.integerProducts = new IntegerProducts(device);
        this.copies = new StridedCopy(device);
        this.reductions = new Reductions(device);
    }

    /** The same device without cuBLAS and cuDNN. */
    CudaBackend(CudaBackend shared) {
        this.devices = shared.devices;
        this.device = shared.device;
        this.blas = Optional.empty();
        this.cudnn = Optional.empty();
        this.floatProducts = new FloatProducts(device, blas);
        this.integerProducts = shared.integerProducts;
        this.copies = shared.copies;
        this.reductions = shared.reductions;
    }

    @Override
    public Backend reproducible() {
        return new ReproducibleCuda(this);
    }

    private static CudaInstallation installation() {
        CudaInstallation installation = CudaLibraries.load();
        if (!installation.hasDriver()) {
            throw new BackendException("The CUDA backend cannot run here: " + String.join("; ", installation.reasons()));
        }
        return installation;
    }

    /** Whether there is a driver, with a device that works or not. */
    public static boolean hasDriver() {
        return CudaLibraries.load().hasDriver();
    }

    /** What a user may want to know of this backend beside its device: how long its kernels took to load, and the libraries. */
    public List<String> details() {
        List<String> lines = new ArrayList<>(List.of(String.format(Locale.ROOT, "kernels compiled by the driver, or found in its"
                + " cache, in %.1f s", device.compileSeconds())));
        lines.addAll(libraries());
        return lines;
    }

    /** The libraries' files for a user, and what is missing of them. */
    public static List<String> libraries() {
        CudaInstallation installation = CudaLibraries.load();
        List<String> lines = new ArrayList<>();
        installation.driver().ifPresent(file -> lines.add("driver " + file));
        installation.cublas().ifPresent(file -> lines.add("cuBLAS " + file));
        lines.addAll(installation.reasons());
        CudnnLibrary.Found found = CudnnLibrary.load();
        lines.add(found.file().map(file -> "cuDNN " + file)
                .orElseGet(() -> "no cuDNN (" + String.join("; ", found.reasons()) + ")"));
        return lines;
    }

    /** Whether the device is NVIDIA's, and not the emulated one of the tests. */
    public boolean isReal() {
        return !device.name().contains("emulated");
    }

    @Override
    public DeviceInfo device() {
        return new DeviceInfo("cuda", (devices.all().size() > 1 ? devices.all().size() + " x " : "") + device.name() + ", driver for CUDA " + device.driverVersion() + ", "
                + blas.map(b -> "cuBLAS " + b.version() + (device.settings().tf32() ? " in TF32" : ""))
                        .orElse("float32 products by our own kernel, which is slower, for want of cuBLAS")
                + (cudnn.isPresent() ? ", softmax by cuDNN " + Cudnn.version() : ""), 1,
                device.capability() >= CudaDevice.TENSOR_CORE_KERNELS ? "int8 on tensor cores" : "int8 by dp4a",
                device.settings().tf32() ? "tf32" : "float32", cudnn.isPresent() ? "cudnn" : DeviceInfo.OWN);
    }

    /** The device, for what is built on this backend in this package. */
    CudaDevice cudaDevice() {
        return device;
    }

    @Override
    public Scope scope() {
        return new CudaScope(device.memory());
    }

    @Override
    public Optional<Scope> hostInstead(long bytes) {
        return bytes > device.memory().plannedBytes() / MOST_WAITING ? Optional.of(new HostScope(device)) : Optional.empty();
    }

    /**
     * Runs the part on this thread, on ranges as large as the memory allows: launches are what costs, not images. How much a
     * part takes is known to nobody but itself, and a part that accumulates must not be done twice; so the first item goes
     * alone, its peak is measured, and the rest is cut to fit, into powers of two unless all the rest fits. Where it is cut
     * depends on the shapes and on how much memory the device has, never on how much of it is free: shapes of products decide
     * how cuBLAS rounds, and the same device gives the same bytes whatever else runs on it.
     */
    @Override
    public void parallel(int items, Part part) {
        long bytesAnItem = 0;
        for (int from = 0; from < items;) {
            int count = from == 0 ? 1 : fitting(items - from, bytesAnItem);
            long before = device.memory().liveBytes();
            device.memory().restartPeak();
            try (Scope scope = scope()) {
                part.run(from, from + count, scope);
            }
            bytesAnItem = Math.max(bytesAnItem, (device.memory().peakBytes() - before + count - 1) / count);
            from += count;
        }
    }

    private int fitting(int items, long bytesAnItem) {
        if (bytesAnItem == 0) {
            return items;
        }
        long fit = device.memory().plannedBytes() / bytesAnItem;
        return fit >= items ? items : (int) Long.highestOneBit(Math.max(1, fit));
    }

    @Override
    public void upload(Tensor from, View to) {
        Checks.upload(from, to);
        device.transfers().upload((start, piece) -> piece.asFloatBuffer().put(0, from.data(), (int) (start / Float.BYTES),
                piece.remaining() / Float.BYTES), device.address(to), to.elements() * Float.BYTES);
    }

    @Override
    public Tensor download(View from) {
        Checks.download(from);
        float[] copy = new float[Math.toIntExact(from.elements())];
        device.transfers().download(device.address(from), (start, piece) -> piece.asFloatBuffer().get(copy,
                (int) (start / Float.BYTES), piece.remaining() / Float.BYTES), from.elements() * Float.BYTES);
        return Tensor.of(Shape.of(from.sizes()), copy);
    }

    @Override
    public Linear linear(Scope owner, Tensor weight, Optional<Tensor> bias) {
        Checks.weights(weight, bias);
        View weights = uploaded(owner, weight);
        return new CudaLinear((CudaScope) owner, weight.shape().size(1), weight.shape().size(0), weights, Optional.empty(),
                bias.map(b -> uploaded(owner, b)));
    }

    @Override
    public Linear linear(Scope owner, byte[] codes, float[] steps, int inputs, Optional<Tensor> bias) {
        Checks.weights(codes, steps, inputs, bias);
        return integerProducts.weights((CudaScope) owner, codes, steps, inputs, bias.map(b -> uploaded(owner, b)));
    }

    private View uploaded(Scope owner, Tensor tensor) {
        View view = owner.floats(tensor.shape().toArray());
        upload(tensor, view);
        return view;
    }

    @Override
    public void linear(View x, Linear weights, View y) {
        Checks.linear(x, weights, y);
        CudaLinear w = CudaLinear.of(weights, false);
        floatProducts.multiply(x.rows(), w.weights().transpose(), y.rows());
        w.bias().ifPresent(bias -> add(y, bias, y));
    }

    @Override
    public void linearBackward(View dy, Linear weights, View dx) {
        Checks.linear(dx, weights, dy);
        CudaLinear w = CudaLinear.of(weights, false);
        floatProducts.multiply(dy.rows(), w.weights(), dx.rows());
    }

    @Override
    public void linear(View x, CodeGrid grid, Linear weights, View y) {
        Checks.linear(x, grid, weights, y);
        integerProducts.linear(x, grid, weights, y);
    }

    @Override
    public void linear(View x, RowTransform transform, CodeGrid grid, Linear weights, View y) {
        if (transform.isNone() || transform.hadamard() > IntegerProducts.LARGEST_HADAMARD_BLOCK) {
            Backend.super.linear(x, transform, grid, weights, y);
            return;
        }
        Checks.linear(x, transform, grid, weights, y);
        integerProducts.linear(x, transform, grid, weights, y);
    }

    @Override
    public void matmul(View a, View b, View c) {
        Checks.matmul(a, b, c);
        floatProducts.multiply(a, b, c);
    }

    @Override
    public void matmul(View a, List<CodeGrid> gridsA, View b, List<CodeGrid> gridsB, View c) {
        Checks.matmul(a, gridsA, b, gridsB, c);
        integerProducts.matmul(a, gridsA, b, gridsB, c);
    }

    @Override
    public void layerNorm(View x, View gamma, View beta, float epsilon, View y) {
        Checks.layerNorm(x, gamma, beta, y);
        device.launch(Kernel.LAYERNORM_FORWARD_F32).view(x).view(gamma).view(beta).view(y)
                .count(rows(x)).integer(x.size(-1)).number(epsilon).overRows(rows(x));
    }

    @Override
    public void layerNormBackward(View x, View gamma, float epsilon, View dy, View dx) {
        Checks.layerNorm(x, gamma, gamma, dy, dx);
        device.launch(Kernel.LAYERNORM_BACKWARD_F32).view(x).view(gamma).view(dy).view(dx)
                .count(rows(x)).integer(x.size(-1)).number(epsilon).overRows(rows(x));
    }

    @Override
    public void softmax(View x, float scale, View y) {
        Checks.rows(x, y);
        if (cudnn.isPresent()) {
            cudnn.get().softmax(x, scale, y);
            return;
        }
        device.launch(Kernel.SOFTMAX_FORWARD_F32).view(x).view(y).count(rows(x)).integer(x.size(-1))
                .number(scale).overRows(rows(x));
    }

    @Override
    public void softmaxBackward(View y, View dy, float scale, View dx) {
        Checks.rows(y, dy, dx);
        if (cudnn.isPresent()) {
            cudnn.get().softmaxBackward(y, dy, scale, dx);
            return;
        }
        device.launch(Kernel.SOFTMAX_BACKWARD_F32).view(y).view(dy).view(dx).count(rows(y))
                .integer(y.size(-1)).number(scale).overRows(rows(y));
    }

    @Override
    public void gelu(View x, View y) {
        Checks.alike(x, y);
        device.launch(Kernel.GELU_FORWARD_F32).view(x).view(y).count(x.elements()).over(vectors(x));
    }

    @Override
    public void geluBackward(View x, View dy, View dx) {
        Checks.alike(x, dy, dx);
        device.launch(Kernel.GELU_BACKWARD_F32).view(x).view(dy).view(dx).count(x.elements())
                .over(vectors(x));
    }

    @Override
    public void add(View a, View b, View c) {
        Checks.add(a, b, c);
        device.launch(Kernel.ADD_REPEATED_F32).view(a).view(b).view(c).count(a.elements())
                .count(b.elements()).over(vectors(a));
    }

    @Override
    public void multiply(View x, View factors, View y) {
        Checks.multiply(x, factors, y);
        device.launch(Kernel.MULTIPLY_REPEATED_F32).view(x).view(factors).view(y).count(x.elements())
                .count(factors.elements()).over(vectors(x));
    }

    @Override
    public void addSquare(View x, float factor, View sum) {
        Checks.alike(x, sum);
        device.launch(Kernel.ADD_SQUARE_F32).view(x).view(sum).count(x.elements()).number(factor)
                .over(vectors(x));
    }

    @Override
    public void magnitudes(View x, View y) {
        Checks.alike(x, y);
        device.launch(Kernel.MAGNITUDE_F32).view(x).view(y).count(x.elements()).over(vectors(x));
    }

    @Override
    public void zero(View x) {
        Checks.alike(x);
        device.enter();
        device.checkWork(device.timed("zero", () -> JCudaDriver.cuMemsetD8Async(new DevicePointer(device.address(x)), (byte) 0,
                x.elements() * Float.BYTES, device.stream())), "Setting memory to zero on");
    }

    @Override
    public void copy(View from, View to) {
        Checks.copy(from, to);
        if (from.buffer() instanceof HostBuffer || to.buffer() instanceof HostBuffer) {
            HostBuffer.copy(device, from, to);
        } else {
            copies.copy(from, to);
        }
    }

    @Override
    public void gather(View from, int[] rows, View to) {
        Checks.gather(from, rows, to);
        reductions.gather(from, rows, to);
    }

    @Override
    public void quantize(View x, CodeGrid grid, int range, View codes) {
        Checks.quantize(x, grid, range, codes);
        try (CudaScope scope = new CudaScope(device.memory())) {
            device.launch(Kernel.QUANTIZE_DENSE_S8).view(x).view(codes)
                    .count(x.elements()).address(GridTable.upload(device, scope, List.of(grid))).integer(range).over(vectors(x));
        }
    }

    @Override
    public void decoded(View x, CodeGrid grid, View y) {
        Checks.rows(x, y);
        try (CudaScope scope = new CudaScope(device.memory())) {
            long grids = GridTable.upload(device, scope, List.of(grid.requireRows(RowScale.SUM, RowScale.RANGE)));
            if (grid.rows() == RowScale.NONE) {
                device.launch(Kernel.DECODE_DENSE_F32).view(x).view(y).count(x.elements()).address(grids)
                        .over(vectors(x));
            } else {
                device.launch(grid.rows() == RowScale.SUM ? Kernel.DECODE_ROWS_F32 : Kernel.DECODE_RANGES_F32).view(x)
                        .view(y).count(rows(x)).integer(x.size(-1)).address(grids).overRows(rows(x));
            }
        }
    }

    @Override
    public void hadamard(View x, int block, View y) {
        Checks.hadamard(x, block, y);
        float factor = HostOperations.hadamardFactor(block);
        int first = Math.min(block, LARGEST_HADAMARD_BLOCK);
        device.launch(Kernel.HADAMARD_BLOCKS_F32).view(x).view(y).count(x.elements()).integer(first)
                .number(first == block ? factor : 1).over(vectors(x));
        for (int half = first; half < block; half *= 2) {
            device.launch(Kernel.HADAMARD_STAGE_F32).view(y).count(y.elements()).integer(half)
                    .number(2 * half == block ? factor : 1).over(y.elements() / 2);
        }
    }

    @Override
    public double[] squaredErrors(View a, View b, Optional<View> w) {
        Checks.groups(a, b, w.orElse(b));
        return reductions.squaredErrors(a, b, w);
    }

    @Override
    public float[] maxima(View x, boolean absolute) {
        Checks.groups(x);
        return reductions.maxima(x, absolute);
    }

    @Override
    public double[] rowSums(View x) {
        Checks.rows(x);
        return reductions.rowSums(x);
    }

    @Override
    public Scoring scoring(Scope owner, MatmulProblem problem) {
        return new CudaScoring(devices, (CudaScope) owner, problem);
    }

    /**
     * Seconds of the device by kernel, of cuBLAS, and of copies within its memory, measured by events; empty unless the system
     * property {@code ptq4vit.cuda.timing} is {@code true}. Waits for the device.
     */
    @Override
    public Map<String, Double> scoringSeconds() {
        return device.seconds();
    }

    /** Bytes that scopes hold at the moment. */
    long liveBytes() {
        return devices.all().stream().mapToLong(each -> each.memory().liveBytes()).sum();
    }

    @Override
    public void close() {
        cudnn.ifPresent(Cudnn::close);
        blas.ifPresent(Blas::close);
        devices.close();
    }

    private static long rows(View x) {
        return x.elements() / x.size(-1);
    }

    /** Elementwise kernels take four at a time. */
    private static long vectors(View x) {
        return (x.elements() + 3) / 4;
    }
}
