package io.github.ptq4vit.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Who owns memory, for how long, and that use after that is an error. */
@EveryBackend
class ScopeContractTest {
    private final Backend backend;

    ScopeContractTest(BackendUnderTest subject) {
        this.backend = subject.open().get();
    }

    @AfterEach
    void close() {
        backend.close();
    }

    @Test
    void whatGoesUpComesDown() {
        try (Side side = Side.of(backend)) {
            float[] numbers = {1, -0.0f, Float.MIN_VALUE, Float.MAX_VALUE, Float.NaN, Float.NEGATIVE_INFINITY};
            Tensor down = backend.download(side.upload(Tensor.of(Shape.of(2, 3), numbers)));
            assertEquals(Shape.of(2, 3), down.shape());
            assertArrayEquals(numbers, down.toArray());
            View all = side.normal(1, 5, 4);
            assertArrayEquals(side.normalTensor(1, 5, 4).slice(2, 4).reshape(8).toArray(), backend.download(all.slice(0, 2, 4)).toArray());
            assertThrows(IllegalArgumentException.class, () -> backend.download(all.transpose()));
            assertThrows(IllegalArgumentException.class, () -> backend.upload(Tensor.zeros(3), all));
        }
    }

    @Test
    void buffersKnowTheirTypeAndSize() {
        try (Scope scope = backend.scope()) {
            Buffer buffer = scope.buffer(DataType.INT8, 17);
            assertEquals(DataType.INT8, buffer.type());
            assertEquals(17, buffer.elements());
            assertEquals(DataType.FLOAT32, scope.floats(2, 3).buffer().type());
        }
    }

    @Test
    void aBufferCannotBeUsedAfterItsScopeIsClosed() {
        try (Scope outer = backend.scope()) {
            View kept = outer.floats(4);
            Scope inner = backend.scope();
            View gone = inner.floats(4);
            inner.close();
            assertThrows(BackendException.class, () -> backend.download(gone));
            assertThrows(BackendException.class, () -> backend.upload(Tensor.zeros(4), gone));
            assertThrows(BackendException.class, () -> backend.gelu(gone, kept));
            assertThrows(BackendException.class, () -> backend.gelu(kept, gone));
            assertThrows(BackendException.class, () -> backend.rowSums(gone));
        }
    }

    @Test
    void aScopeKeepsOnlyWhatIsStillNeeded() {
        try (Scope outer = backend.scope(); Scope scope = backend.scope()) {
            View other = outer.floats(4);
            View gone = scope.floats(4);
            View kept = scope.floats(2, 4);
            backend.upload(Tensor.of(Shape.of(2, 4), new float[] {1, 2, 3, 4, 5, 6, 7, 8}), kept);
            scope.keepOnly(List.of(kept.slice(0, 1, 2)));
            assertThrows(BackendException.class, () -> backend.download(gone));
            assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6, 7, 8}, backend.download(kept).toArray());
            assertEquals(4, backend.download(other).shape().elements());
            assertEquals(3, scope.floats(3).elements());
        }
    }

    @Test
    void weightsCannotBeUsedAfterTheirScopeIsClosed() {
        try (Side side = Side.of(backend)) {
            Scope inner = backend.scope();
            Backend.Linear numbers = backend.linear(inner, side.normalTensor(1, 6, 4), Optional.of(side.normalTensor(2, 6)));
            Backend.Linear codes = backend.linear(inner, new byte[24], new float[6], 4, Optional.empty());
            View x = side.normal(3, 5, 4);
            View y = side.scope.floats(5, 6);
            backend.linear(x, numbers, y);
            backend.linear(x, CodesContractTest.uniform(8, 1), codes, y);
            inner.close();
            assertThrows(BackendException.class, () -> backend.linear(x, numbers, y));
            assertThrows(BackendException.class, () -> backend.linearBackward(y, numbers, x));
            assertThrows(BackendException.class, () -> backend.linear(x, CodesContractTest.uniform(8, 1), codes, y));
        }
    }

    @Test
    void aClosedScopeGivesNoMemoryAndClosingItAgainDoesNothing() {
        Scope scope = backend.scope();
        scope.floats(3);
        scope.close();
        scope.close();
        assertThrows(BackendException.class, () -> scope.floats(3));
    }

    @Test
    void partsHaveScopesThatCloseBehindThem() {
        List<View> views = Collections.synchronizedList(new ArrayList<>());
        boolean[] done = new boolean[9];
        backend.parallel(9, (from, to, scope) -> {
            views.add(scope.floats(3));
            for (int i = from; i < to; i++) {
                done[i] = true;
            }
        });
        for (boolean item : done) {
            assertTrue(item);
        }
        assertFalse(views.isEmpty());
        views.forEach(view -> assertThrows(BackendException.class, () -> backend.download(view)));
    }

    @Test
    void thePlainBackendNoticesAScopeThatWasNeverClosed() {
        PlainBackend plain = new PlainBackend();
        Scope scope = plain.scope();
        assertThrows(BackendException.class, plain::close);
        scope.close();
        plain.close();
    }
}
