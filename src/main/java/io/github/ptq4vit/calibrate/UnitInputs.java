package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.Unit;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The input of every unit and, last, the output of the last one, for all images: on the device, or on the host where they would
 * take too much of the device's memory.
 */
final class UnitInputs implements AutoCloseable {
    private final Backend backend;
    private final Optional<Scope> host;
    private final List<View> arrays = new ArrayList<>();

    /** @param owner of the arrays on the device; those on the host go when this is closed */
    UnitInputs(Backend backend, Scope owner, List<Unit> units, int images) {
        this.backend = backend;
        long elements = units.get(0).shape().input().sizes().elements();
        for (Unit unit : units) {
            elements += unit.shape().output().sizes().elements();
        }
        this.host = backend.hostInstead(elements * images * Float.BYTES);
        Scope scope = host.orElse(owner);
        try {
            arrays.add(units.get(0).input(scope, images));
            units.forEach(unit -> arrays.add(unit.output(scope, images)));
        } catch (RuntimeException | Error e) {
            close();
            throw e;
        }
    }

    /** Sizes of an array, {@code [images, tokens, dim]}. */
    int[] sizes(int index) {
        return arrays.get(index).sizes();
    }

    /** Images {@code [from, to)} of an array on the device, in memory of the scope if they are not there. */
    View read(int index, int from, int to, Scope scope) {
        View room = room(index, from, to, scope);
        if (host.isPresent()) {
            backend.copy(arrays.get(index).slice(0, from, to), room);
        }
        return room;
    }

    /** Where on the device images {@code [from, to)} of an array may be written; {@link #keep} makes them last. */
    View room(int index, int from, int to, Scope scope) {
        View part = arrays.get(index).slice(0, from, to);
        return host.isPresent() ? scope.floats(part.sizes()) : part;
    }

    /** Keeps what was written to the {@link #room} for images from this one on. */
    void keep(int index, int from, View room) {
        if (host.isPresent()) {
            backend.copy(room, arrays.get(index).slice(0, from, from + room.size(0)));
        }
    }

    @Override
    public void close() {
        host.ifPresent(Scope::close);
    }
}
