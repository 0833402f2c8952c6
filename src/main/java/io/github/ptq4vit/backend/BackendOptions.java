package io.github.ptq4vit.backend;

import java.util.List;
import java.util.OptionalInt;

/**
 * Which backend to open, and how.
 *
 * @param name {@code cpu}, {@code cuda}, or {@code auto} for the best that this machine has
 * @param threads of the processor, at least 1; if absent, one a processor
 * @param devices numbers of the GPUs to use, the first for all but searches; empty for device 0
 * @param tf32 whether a GPU may round operands of float32 products to TF32: faster, about three decimal digits
 * @param cudnn whether cuDNN computes softmaxes on a GPU, instead of our own kernels; takes a build with it
 */
public record BackendOptions(String name, OptionalInt threads, List<Integer> devices, boolean tf32, boolean cudnn) {

    public BackendOptions {
        devices = List.copyOf(devices);
        if (!Backends.names().contains(name)) {
            throw new BackendException("There is no backend '" + name + "'; this version has: "
                    + String.join(", ", Backends.names()));
        }
        if (!name.equals("cuda") && (tf32 || cudnn || !devices.isEmpty())) {
            throw new BackendException((tf32 ? "--tf32" : cudnn ? "--cudnn" : "--devices") + " is for GPUs; ask for one with"
                    + " --backend cuda, not " + name);
        }
        if (devices.stream().anyMatch(device -> device < 0) || devices.stream().distinct().count() != devices.size()) {
            throw new BackendException("Devices are counted from 0 and named once each, for example 0,1, not "
                    + String.join(",", devices.stream().map(String::valueOf).toList()));
        }
    }

    /** A backend with one thread a processor, or on device 0 in full float32 without cuDNN. */
    public static BackendOptions of(String name) {
        return new BackendOptions(name, OptionalInt.empty(), List.of(), false, false);
    }
}
