package io.github.ptq4vit.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.View;
import org.junit.jupiter.api.Test;

class NativeHeapTest {

    @Test
    void piecesAreAlignedAndFreedOnesServeAgain() {
        try (NativeHeap heap = new NativeHeap()) {
            long first = heap.allocate(1000);
            long second = heap.allocate(1000);
            assertEquals(0, first % 64);
            assertEquals(0, second % 64);
            assertNotEquals(first, second);
            heap.release(first, 1000);
            assertEquals(first, heap.allocate(1000));
            heap.release(second, 1000);
            heap.trim(0);
            heap.trim(0);
            assertNotEquals(0, heap.allocate(1000));
        }
    }

    @Test
    void keptPiecesGoBackBeforeTheWholeBecomesLargerThanTheBusiestMomentWas() {
        try (NativeHeap heap = new NativeHeap()) {
            long small = heap.allocate(8192);
            long large = heap.allocate(1 << 20);
            heap.release(small, 8192);
            heap.release(large, 1 << 20);
            heap.allocate(4096);
            assertEquals(8192, heap.keptBytes(), "the megabyte had to go");
            heap.allocate(1 << 20);
            assertEquals(0, heap.keptBytes());
        }
    }

    @Test
    void noBytesAreMemoryOfTheirOwn() {
        try (NativeHeap heap = new NativeHeap()) {
            assertNotEquals(heap.allocate(0), heap.allocate(0));
        }
    }

    @Test
    void aClosedHeapGivesNothingAndTakesWhatComesLate() {
        NativeHeap heap = new NativeHeap();
        long late = heap.allocate(1000);
        heap.close();
        heap.close();
        heap.release(late, 1000);
        assertThrows(BackendException.class, () -> heap.allocate(1));
    }

    @Test
    void aScopeClosedTwiceFreesItsMemoryOnce() {
        try (NativeHeap heap = new NativeHeap()) {
            CpuScope scope = new CpuScope(heap);
            scope.buffer(DataType.INT8, 1000);
            scope.close();
            scope.close();
            assertNotEquals(heap.allocate(1000), heap.allocate(1000));
        }
    }

    @Test
    void memoryOfAClosedScopeIsNotHandedOutAgainThroughOldViews() {
        try (NativeHeap heap = new NativeHeap()) {
            CpuScope scope = new CpuScope(heap);
            View view = scope.floats(10);
            scope.close();
            try (CpuScope next = new CpuScope(heap)) {
                next.floats(10);
                assertThrows(BackendException.class, () -> CpuBuffer.address(view));
            }
        }
    }
}
