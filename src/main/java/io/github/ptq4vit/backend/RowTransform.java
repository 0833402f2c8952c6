package io.github.ptq4vit.backend;

import java.util.Optional;

/**
 * What happens to the rows of a matrix before they become codes: {@code hadamard(x * factors + shifts)}, as {@link Backend#multiply},
 * {@link Backend#add} and {@link Backend#hadamard} compute it one after the other.
 *
 * @param factors {@code [columns]}; none for 1
 * @param shifts {@code [columns]}; none for 0
 * @param hadamard length of a block, a power of two that divides the number of columns; 1 for none
 */
public record RowTransform(Optional<View> factors, Optional<View> shifts, int hadamard) {
    /** Nothing happens. */
    public static final RowTransform NONE = new RowTransform(Optional.empty(), Optional.empty(), 1);

    /** Whether nothing happens. */
    public boolean isNone() {
        return factors.isEmpty() && shifts.isEmpty() && hadamard == 1;
    }

    /** Writes the transformed rows of x to y, which may be x; nothing is written where {@linkplain #isNone nothing happens}. */
    public void apply(Backend backend, View x, View y) {
        View source = x;
        if (factors.isPresent()) {
            backend.multiply(source, factors.get(), y);
            source = y;
        }
        if (shifts.isPresent()) {
            backend.add(source, shifts.get(), y);
            source = y;
        }
        if (hadamard > 1) {
            backend.hadamard(source, hadamard, y);
        }
    }
}
