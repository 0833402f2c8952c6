package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.BackendException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.IntConsumer;

/**
 * The devices of a backend, all with the same compute capability and number of multiprocessors: what a kernel's sums are split
 * into depends on them, and with it the last bits of losses. A thread each drives those beyond the first.
 */
final class CudaDevices implements AutoCloseable {
    private final List<CudaDevice> devices = new ArrayList<>();
    private final ExecutorService threads = Executors.newCachedThreadPool(work -> {
        Thread thread = new Thread(work, "cuda-device");
        thread.setDaemon(true);
        return thread;
    });

    /**
     * Opens the devices of the settings.
     *
     * @throws BackendException if one does not open, or is of another kind than the first
     */
    CudaDevices(CudaSettings settings) {
        try {
            for (int number : settings.devices()) {
                devices.add(new CudaDevice(settings, number));
                CudaDevice last = devices.get(devices.size() - 1);
                if (last.capability() != first().capability() || last.multiprocessors() != first().multiprocessors()) {
                    throw new BackendException("Devices that share a search must be of one kind, or the model would depend on which"
                            + " of them does what, but " + first().words() + " and " + last.words() + " differ in compute capability"
                            + " or multiprocessors; choose equal ones with --devices");
                }
            }
        } catch (RuntimeException | Error e) {
            close();
            throw e;
        }
    }

    /** The one that does what is not spread. */
    CudaDevice first() {
        return devices.get(0);
    }

    /** All of them. */
    List<CudaDevice> all() {
        return devices;
    }

    /** Does the work of devices {@code [0, count)} side by side; returns when all are done. The first failure is thrown on. */
    void each(int count, IntConsumer work) {
        List<Future<?>> others = new ArrayList<>();
        for (int i = 1; i < count; i++) {
            int device = i;
            others.add(threads.submit(() -> work.accept(device)));
        }
        Throwable failure = null;
        try {
            work.accept(0);
        } catch (RuntimeException | Error e) {
            failure = e;
        }
        for (Future<?> other : others) {
            Throwable own = failureOf(other);
            failure = failure == null ? own : failure;
        }
        if (failure instanceof RuntimeException e) {
            throw e;
        }
        if (failure instanceof Error e) {
            throw e;
        }
    }

    /** What it failed with, or null. Waits even if this thread is interrupted: the work's memory must not go before. */
    private static Throwable failureOf(Future<?> work) {
        boolean interrupted = false;
        while (true) {
            try {
                work.get();
                return null;
            } catch (ExecutionException e) {
                return e.getCause();
            } catch (InterruptedException e) {
                interrupted = true;
            } finally {
                if (interrupted && work.isDone()) {
                    Thread.currentThread().interrupt();
                }
            }
        }
    }

    @Override
    public void close() {
        threads.shutdown();
        devices.forEach(CudaDevice::close);
    }
}
