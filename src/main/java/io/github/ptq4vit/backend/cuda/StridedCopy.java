package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.View;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import jcuda.driver.JCudaDriver;

/** Copies between views: axes are ordered as the target lies in memory, what is contiguous in both becomes one axis. */
final class StridedCopy {
    /** What the kernels take. */
    private static final int AXES = 6;
    private static final int TILE = 32;
    private static final int VECTOR = 4;

    private final CudaDevice device;

    private record Axis(long size, long from, long to) {
    }

    StridedCopy(CudaDevice device) {
        this.device = device;
    }

    void copy(View from, View to) {
        DataType source = from.buffer().type();
        DataType target = to.buffer().type();
        List<Axis> axes = axes(from, to);
        Axis inner = axes.get(axes.size() - 1);
        long elements = to.elements();
        boolean contiguous = inner.from == 1 && inner.to == 1;
        if (elements == 0) {
            return;
        }
        if (contiguous && axes.size() == 1 && source == target) {
            device.enter();
            device.checkWork(device.timed("copy", () -> JCudaDriver.cuMemcpyDtoDAsync(new DevicePointer(device.address(to)),
                    new DevicePointer(device.address(from)), elements * source.bytes(), device.stream())), "Copying on");
        } else if (target == DataType.INT8 || source == DataType.INT8) {
            launch(target == DataType.INT8 ? Kernel.COPY_STRIDED_S8 : Kernel.COPY_WIDENED_S8, axes, from, to, elements);
        } else if (contiguous && vectors(axes, from, to)) {
            launch(Kernel.COPY_STRIDED_F32X4, axes.stream().map(a -> a == inner ? new Axis(a.size / VECTOR, 1, 1)
                    : new Axis(a.size, a.from / VECTOR, a.to / VECTOR)).toList(), from, to, elements / VECTOR);
        } else if (inner.to == 1 && inner.from != 1 && axes.stream().anyMatch(a -> a.from == 1)) {
            transpose(axes, from, to);
        } else {
            launch(Kernel.COPY_STRIDED_F32, axes, from, to, elements);
        }
    }

    private void launch(Kernel kernel, List<Axis> axes, View from, View to, long items) {
        device.launch(kernel).words(words(axes)).view(from).view(to).count(items).over(items);
    }

    /** By tiles: read along the axis that is contiguous in the source, written along the one that is so in the target. */
    private void transpose(List<Axis> axes, View from, View to) {
        List<Axis> ordered = new ArrayList<>(axes);
        Axis written = ordered.remove(axes.size() - 1);
        Axis read = ordered.stream().filter(a -> a.from == 1).findFirst().orElseThrow();
        ordered.remove(read);
        long others = ordered.stream().mapToLong(Axis::size).reduce(1, (a, b) -> a * b);
        ordered.add(read);
        ordered.add(written);
        device.launch(Kernel.COPY_TRANSPOSED_F32).words(words(ordered)).view(from).view(to)
                .blocks((written.size + TILE - 1) / TILE, Math.min(65535, (read.size + TILE - 1) / TILE), Math.min(65535, others));
    }

    private boolean vectors(List<Axis> axes, View from, View to) {
        boolean fits = axes.get(axes.size() - 1).size % VECTOR == 0
                && device.address(from) % (VECTOR * Float.BYTES) == 0 && device.address(to) % (VECTOR * Float.BYTES) == 0;
        return fits && axes.subList(0, axes.size() - 1).stream().allMatch(a -> a.from % VECTOR == 0 && a.to % VECTOR == 0);
    }

    private static List<Axis> axes(View from, View to) {
        List<Axis> axes = new ArrayList<>();
        for (int axis = 0; axis < from.rank(); axis++) {
            if (from.size(axis) != 1) {
                axes.add(new Axis(from.size(axis), from.stride(axis), to.stride(axis)));
            }
        }
        axes.sort(Comparator.comparingLong(Axis::to).reversed());
        List<Axis> merged = new ArrayList<>();
        for (Axis axis : axes) {
            Axis outer = merged.isEmpty() ? null : merged.get(merged.size() - 1);
            if (outer != null && outer.from == axis.size * axis.from && outer.to == axis.size * axis.to) {
                merged.set(merged.size() - 1, new Axis(outer.size * axis.size, axis.from, axis.to));
            } else {
                merged.add(axis);
            }
        }
        if (merged.size() > AXES) {
            throw new IllegalArgumentException("A copy takes at most " + AXES + " axes that are not contiguous, not " + from + " to "
                    + to);
        }
        return merged.isEmpty() ? List.of(new Axis(1, 1, 1)) : merged;
    }

    /** Sizes, strides of the source, strides of the target; outermost first, filled up in front. */
    private static long[] words(List<Axis> axes) {
        long[] words = new long[3 * AXES];
        Arrays.fill(words, 0, AXES, 1);
        for (int i = 0; i < axes.size(); i++) {
            int at = AXES - axes.size() + i;
            words[at] = axes.get(i).size;
            words[AXES + at] = axes.get(i).from;
            words[2 * AXES + at] = axes.get(i).to;
        }
        return words;
    }
}
