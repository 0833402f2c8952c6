package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.View;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.IntSupplier;
import java.util.function.ToIntFunction;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdevice_attribute;
import jcuda.driver.CUfunction;
import jcuda.driver.CUfunction_attribute;
import jcuda.driver.CUjit_option;
import jcuda.driver.CUmodule;
import jcuda.driver.CUresult;
import jcuda.driver.CUstream;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;
import jcuda.driver.JITOptions;

/** One GPU: its primary context, one stream that everything runs on in order, the kernels and the memory. */
final class CudaDevice implements AutoCloseable {
    /** CUDA 12.0, whose drivers are R525 and later. */
    private static final int OLDEST_DRIVER = 12000;
    /** Compute capability 7.5, times 10. */
    private static final int OLDEST_DEVICE = 75;
    /** From which compute capability on kernels multiply codes on tensor cores. */
    static final int TENSOR_CORE_KERNELS = 80;
    private static final int JIT_LOG_BYTES = 4096;
    /** Shared memory for the little that kernels with dynamic one declare. */
    private static final int SHARED_BYTES_LEFT = 1024;

    private final CudaSettings settings;
    private final int number;
    private final CUdevice device = new CUdevice();
    private final CUcontext context = new CUcontext();
    private final CUstream stream = new CUstream();
    private final CUmodule module = new CUmodule();
    private final Map<Kernel, CUfunction> functions = new EnumMap<>(Kernel.class);
    /**
     * Outside of Java's heap. A launch waits while the driver's queue is full, and JCuda pins arrays of the heap for as long, which
     * no garbage collection of any thread could then start.
     */
    private final ByteBuffer parameters = ByteBuffer.allocateDirect(Launch.MOST_PARAMETER_BYTES);
    private final int driver;
    private final String name;
    private final int capability;
    private final int multiprocessors;
    private final int sharedBytes;
    private final DeviceMemory memory;
    private final Transfers transfers;
    private final Optional<KernelTimes> times;
    private double compileSeconds;
    private String lastLaunch = "none yet";
    private boolean closed;

    /** Opens a device; JCuda's natives must have been loaded. */
    CudaDevice(CudaSettings settings, int number) {
        this.settings = settings;
        this.number = number;
        int result = JCudaDriver.cuInit(0);
        if (result == CUresult.CUDA_ERROR_NO_DEVICE) {
            throw new BackendException("The NVIDIA driver sees no GPU here (CUDA_ERROR_NO_DEVICE); look at nvidia-smi and"
                    + " CUDA_VISIBLE_DEVICES");
        }
        CudaErrors.check(result, "Starting the NVIDIA driver");
        int[] value = {0};
        CudaErrors.check(JCudaDriver.cuDriverGetVersion(value), "Asking for the driver's version");
        this.driver = value[0];
        if (driver < OLDEST_DRIVER) {
            throw new BackendException("The NVIDIA driver knows CUDA " + version(driver) + ", " + version(OLDEST_DRIVER)
                    + " is needed; install driver R525 or later");
        }
        CudaErrors.check(JCudaDriver.cuDeviceGetCount(value), "Counting the devices");
        if (number >= value[0]) {
            throw new BackendException("There is no device " + number + "; the NVIDIA driver sees "
                    + (value[0] == 1 ? "one, device 0" : value[0] + ", counted from 0"));
        }
        CudaErrors.check(JCudaDriver.cuDeviceGet(device, number), "Opening device " + number);
        this.name = readName();
        this.capability = 10 * attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
                + attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
        if (capability < OLDEST_DEVICE) {
            throw new BackendException(words() + " has compute capability " + capability / 10 + "." + capability % 10
                    + "; 7.5 (Turing) or later is needed");
        }
        this.multiprocessors = attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
        this.sharedBytes = attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
        CudaErrors.check(JCudaDriver.cuDevicePrimaryCtxRetain(context, device), "Opening a context on " + words());
        this.memory = new DeviceMemory(this, settings.caching());
        this.transfers = new Transfers(this);
        this.times = Boolean.getBoolean(KernelTimes.PROPERTY) ? Optional.of(new KernelTimes(this)) : Optional.empty();
        try {
            enter();
            CudaErrors.check(JCudaDriver.cuStreamCreate(stream, CUstream_flags.CU_STREAM_NON_BLOCKING), "Creating a stream on "
                    + words());
            loadKernels();
        } catch (BackendException e) {
            close();
            throw e;
        }
    }

    private String readName() {
        byte[] bytes = new byte[256];
        CudaErrors.check(JCudaDriver.cuDeviceGetName(bytes, bytes.length, device), "Asking for the device's name");
        return new String(bytes, StandardCharsets.UTF_8).split("\0")[0].trim();
    }

    private int attribute(int attribute) {
        int[] value = {0};
        CudaErrors.check(JCudaDriver.cuDeviceGetAttribute(value, attribute, device), "Asking " + words() + " for an attribute");
        return value[0];
    }

    private void loadKernels() {
        String resource = "/kernels/ptq4vit-sm" + (capability >= TENSOR_CORE_KERNELS ? 80 : 75) + ".ptx";
        byte[] ptx;
        try (InputStream in = CudaDevice.class.getResourceAsStream(resource)) {
            if (in == null) {
                throw new BackendException("The kernels " + resource + " are missing in this build; run make -C cuda-kernels");
            }
            ptx = in.readAllBytes();
        } catch (IOException e) {
            throw new BackendException("The kernels " + resource + " cannot be read", e);
        }
        JITOptions options = new JITOptions();
        options.putInt(CUjit_option.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, JIT_LOG_BYTES);
        options.putBytes(CUjit_option.CU_JIT_ERROR_LOG_BUFFER, new byte[JIT_LOG_BYTES]);
        long started = System.nanoTime();
        // the driver reads up to a zero byte; it compiles for the device, or takes what its cache has of an earlier start
        int result = JCudaDriver.cuModuleLoadDataJIT(module, Pointer.to(Arrays.copyOf(ptx, ptx.length + 1)), options);
        compileSeconds = (System.nanoTime() - started) / 1e9;
        if (result == CUresult.CUDA_ERROR_UNSUPPORTED_PTX_VERSION) {
            throw new BackendException("The NVIDIA driver (CUDA " + version(driver) + ") is too old for the kernels "
                    + resource + "; install driver R525 or later");
        }
        if (result != CUresult.CUDA_SUCCESS) {
            String log = options.getString(CUjit_option.CU_JIT_ERROR_LOG_BUFFER).strip().replaceAll("\\s+", " ");
            throw new BackendException("Loading the kernels " + resource + " on " + words() + " failed: " + CudaErrors.words(result)
                    + (log.isEmpty() ? "" : "; the driver's compiler says: " + log));
        }
        for (Kernel kernel : Kernel.values()) {
            CUfunction function = new CUfunction();
            CudaErrors.check(JCudaDriver.cuModuleGetFunction(function, module, kernel.entry()), "Looking for kernel "
                    + kernel.entry() + " in " + resource);
            if (kernel.dynamicBytes() > 0 && runs(kernel)) {
                CudaErrors.check(JCudaDriver.cuFuncSetAttribute(function,
                        CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, kernel.dynamicBytes()),
                        "Asking for " + kernel.dynamicBytes() + " bytes of shared memory for kernel " + kernel.entry());
            }
            functions.put(kernel, function);
        }
    }

    /** Whether a block of this kernel gets the shared memory that it needs. */
    boolean runs(Kernel kernel) {
        return kernel.dynamicBytes() + SHARED_BYTES_LEFT <= sharedBytes;
    }

    /** Makes this device the calling thread's; every call of the driver needs it. */
    void enter() {
        if (closed) {
            throw new BackendException("The CUDA backend is closed");
        }
        CudaErrors.check(JCudaDriver.cuCtxSetCurrent(context), "Switching to " + words());
    }

    /** The same for what frees: a device that failed lets nothing be freed one by one, its context takes it all. */
    boolean tryEnter() {
        return !closed && JCudaDriver.cuCtxSetCurrent(context) == CUresult.CUDA_SUCCESS;
    }

    /** A launch of a kernel on this device, still without parameters. */
    Launch launch(Kernel kernel) {
        return new Launch(this, kernel);
    }

    /** Waits until everything on the stream is done. Failures of kernels show here. */
    void synchronize() {
        enter();
        checkWork(JCudaDriver.cuStreamSynchronize(stream), "Waiting for");
    }

    /** Throws unless a call that may tell of earlier kernels went well. */
    void checkWork(int result, String what) {
        if (result != CUresult.CUDA_SUCCESS) {
            throw new BackendException(what + " " + words() + " failed: " + CudaErrors.words(result) + "; last launched: "
                    + lastLaunch + (settings.synchronous() ? ""
                    : "; an earlier kernel may have failed, -Dptq4vit.cuda.synchronous=true shows which"));
        }
    }

    /** Makes a call that reads the values of parameters, which the driver copies, from memory outside of Java's heap. */
    int withParameters(ByteBuffer values, ToIntFunction<Pointer> call) {
        synchronized (parameters) {
            parameters.clear().put(values);
            return call.applyAsInt(Pointer.to(parameters));
        }
    }

    /** Makes a call that puts work on the stream, and times that work if times are asked for; gives what the call returns. */
    int timed(String kind, IntSupplier call) {
        return times.isPresent() ? times.get().time(kind, call) : call.getAsInt();
    }

    /** Seconds by kind of work; empty unless {@link KernelTimes#PROPERTY} asks for them. */
    Map<String, Double> seconds() {
        return times.map(KernelTimes::seconds).orElse(Map.of());
    }

    /** Notes a kernel for the messages of what fails later. */
    void launched(String what) {
        lastLaunch = what;
    }

    /** Address of a view's first element, which must lie on this device. */
    long address(View view) {
        return CudaBuffer.address(view, memory);
    }

    CUstream stream() {
        return stream;
    }

    CUfunction function(Kernel kernel) {
        return functions.get(kernel);
    }

    CudaSettings settings() {
        return settings;
    }

    DeviceMemory memory() {
        return memory;
    }

    Transfers transfers() {
        return transfers;
    }

    /** Compute capability times 10. */
    int capability() {
        return capability;
    }

    int multiprocessors() {
        return multiprocessors;
    }

    /** How long the driver took to compile the kernels, or to find them in its cache. */
    double compileSeconds() {
        return compileSeconds;
    }

    /** Version of CUDA that the driver knows, as {@code 12.4}. */
    String driverVersion() {
        return version(driver);
    }

    /** The device for messages. */
    String words() {
        return "device " + number + " (" + name + ")";
    }

    /** The device's name as the driver gives it. */
    String name() {
        return name;
    }

    /** Memory that no program uses. */
    long freeBytes() {
        return memoryInfo()[0];
    }

    /** All of the device's memory. */
    long totalBytes() {
        return memoryInfo()[1];
    }

    private long[] memoryInfo() {
        enter();
        long[] free = {0};
        long[] total = {0};
        checkWork(JCudaDriver.cuMemGetInfo(free, total), "Asking for the memory of");
        return new long[] {free[0], total[0]};
    }

    private static String version(int number) {
        return number / 1000 + "." + number % 1000 / 10;
    }

    /** Frees what is on the device; failures of kernels no longer matter. */
    @Override
    public void close() {
        if (closed) {
            return;
        }
        tryEnter();
        JCudaDriver.cuStreamSynchronize(stream);
        transfers.close();
        times.ifPresent(KernelTimes::close);
        memory.close();
        if (!functions.isEmpty()) {
            JCudaDriver.cuModuleUnload(module);
        }
        JCudaDriver.cuStreamDestroy(stream);
        closed = true;
        JCudaDriver.cuDevicePrimaryCtxRelease(device);
    }
}
