package io.github.ptq4vit.backend.cuda;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.IntSupplier;
import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.JCudaDriver;

/**
 * Seconds that the device spent on each kind of work, by a pair of events around each launch. Of a launch that the device had to
 * wait for, the few microseconds until it arrives count as well.
 */
final class KernelTimes implements AutoCloseable {
    /** Property that turns the measuring on: {@code true}. */
    static final String PROPERTY = "ptq4vit.cuda.timing";
    private static final int MOST_WAITING = 2048;

    private final CudaDevice device;
    private final Map<String, Double> seconds = new TreeMap<>();
    private final List<Span> waiting = new ArrayList<>();
    private final Deque<CUevent> free = new ArrayDeque<>();

    /** Work that may not be done yet. */
    private record Span(String kind, CUevent start, CUevent end) {
    }

    KernelTimes(CudaDevice device) {
        this.device = device;
    }

    /** Makes a call that puts work on the device's stream; gives what it returns. */
    synchronized int time(String kind, IntSupplier call) {
        Span span = new Span(kind, event(), event());
        record(span.start);
        int result = call.getAsInt();
        if (result != 0) {
            free.add(span.start);
            free.add(span.end);
            return result;
        }
        record(span.end);
        waiting.add(span);
        if (waiting.size() >= MOST_WAITING) {
            collect();
        }
        return result;
    }

    /** So far, by kernel; waits for the device. */
    synchronized Map<String, Double> seconds() {
        device.enter();
        collect();
        return new TreeMap<>(seconds);
    }

    private void collect() {
        for (Span span : waiting) {
            device.checkWork(JCudaDriver.cuEventSynchronize(span.end), "Timing " + span.kind + " on");
            float[] milliseconds = {0};
            device.checkWork(JCudaDriver.cuEventElapsedTime(milliseconds, span.start, span.end), "Timing " + span.kind + " on");
            seconds.merge(span.kind, milliseconds[0] / 1e3, Double::sum);
            free.add(span.start);
            free.add(span.end);
        }
        waiting.clear();
    }

    private CUevent event() {
        if (!free.isEmpty()) {
            return free.remove();
        }
        CUevent event = new CUevent();
        CudaErrors.check(JCudaDriver.cuEventCreate(event, CUevent_flags.CU_EVENT_DEFAULT), "Creating an event on "
                + device.words());
        return event;
    }

    private void record(CUevent event) {
        device.checkWork(JCudaDriver.cuEventRecord(event, device.stream()), "Recording an event on");
    }

    @Override
    public synchronized void close() {
        waiting.forEach(span -> {
            free.add(span.start);
            free.add(span.end);
        });
        waiting.clear();
        free.forEach(JCudaDriver::cuEventDestroy);
        free.clear();
    }
}
