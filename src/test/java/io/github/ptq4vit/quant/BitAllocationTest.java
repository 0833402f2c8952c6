package io.github.ptq4vit.quant;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class BitAllocationTest {
    private static final int ITEMS = 5;

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8})
    void findsWhatExhaustiveSearchFinds(int seed) {
        Random random = new Random(seed);
        List<BitAllocation.Item> items = new ArrayList<>();
        for (int i = 0; i < ITEMS; i++) {
            double[] losses = new double[BitWidths.MAX + 1];
            for (int bits = BitWidths.MIN; bits <= BitWidths.MAX; bits++) {
                // more bits are not always better, and seed 1 has ties
                losses[bits] = seed == 1 ? 8 - bits : random.nextDouble() * Math.pow(3, -bits);
            }
            items.add(new BitAllocation.Item("layer" + i, seed == 1 ? 10 : 1 + random.nextInt(50), losses));
        }
        long all = items.stream().mapToLong(BitAllocation.Item::numbers).sum();
        for (long budget : new long[] {2 * all, 2 * all + 1, 3 * all - 7, 5 * all, 8 * all, 9 * all}) {
            Map<String, Integer> found = BitAllocation.best(items, budget);
            assertTrue(bits(items, found) <= budget, "the budget of " + budget + " is kept by " + found);
            assertEquals(exhaustive(items, budget, 0, 0), loss(items, found), 1e-12);
        }
    }

    @Test
    void aBudgetThatCannotBeKeptIsRefused() {
        List<BitAllocation.Item> items = List.of(new BitAllocation.Item("a", 10, new double[BitWidths.MAX + 1]));
        assertTrue(assertThrows(IllegalArgumentException.class, () -> BitAllocation.best(items, 19)).getMessage()
                .contains("take 20 bits, more than 19"));
    }

    private static long bits(List<BitAllocation.Item> items, Map<String, Integer> widths) {
        return items.stream().mapToLong(item -> item.numbers() * widths.get(item.name())).sum();
    }

    private static double loss(List<BitAllocation.Item> items, Map<String, Integer> widths) {
        return items.stream().mapToDouble(item -> item.losses()[widths.get(item.name())]).sum();
    }

    private static double exhaustive(List<BitAllocation.Item> items, long budget, int item, double loss) {
        if (item == items.size()) {
            return loss;
        }
        double least = Double.POSITIVE_INFINITY;
        for (int width = BitWidths.MIN; width <= BitWidths.MAX; width++) {
            long rest = budget - items.get(item).numbers() * width;
            if (rest >= 0) {
                least = Math.min(least, exhaustive(items, rest, item + 1, loss + items.get(item).losses()[width]));
            }
        }
        return least;
    }
}
