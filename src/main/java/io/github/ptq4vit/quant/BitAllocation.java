package io.github.ptq4vit.quant;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Bit widths of the least sum of losses among those that take no more than so many bits: exact, by dynamic programming over the
 * sums that nothing else beats in both size and loss.
 */
public final class BitAllocation {
    private BitAllocation() {
    }

    /**
     * Something that is to have a bit width.
     *
     * @param name of the layer
     * @param numbers how many numbers take so many bits each
     * @param losses by bit width, from 0 to {@link BitWidths#MAX}; those below {@link BitWidths#MIN} are not looked at
     */
    public record Item(String name, long numbers, double[] losses) {
    }

    /** The best of some items so far with so many bits; which width the last item has, after which of the choices before. */
    private record Choice(long bits, double loss, int width, Choice before) {
    }

    /**
     * The bit width of every item.
     *
     * @param budget most bits of all numbers together
     * @throws IllegalArgumentException if {@link BitWidths#MIN} bits for all are more than that
     */
    public static Map<String, Integer> best(List<Item> items, long budget) {
        long least = items.stream().mapToLong(Item::numbers).sum() * BitWidths.MIN;
        if (least > budget) {
            throw new IllegalArgumentException("Bit widths of at least " + BitWidths.MIN + " take " + least + " bits, more than " + budget);
        }
        long rest = least;
        List<Choice> front = List.of(new Choice(0, 0, 0, null));
        for (Item item : items) {
            rest -= item.numbers * BitWidths.MIN;
            List<Choice> next = new ArrayList<>();
            for (int width = BitWidths.MIN; width <= BitWidths.MAX; width++) {
                for (Choice before : front) {
                    long bits = before.bits + item.numbers * width;
                    if (bits + rest <= budget) {
                        next.add(new Choice(bits, before.loss + item.losses[width], width, before));
                    }
                }
            }
            front = unbeaten(next);
        }
        Map<String, Integer> widths = new LinkedHashMap<>();
        Choice choice = front.get(front.size() - 1);
        for (int i = items.size() - 1; i >= 0; i--) {
            widths.put(items.get(i).name, choice.width);
            choice = choice.before;
        }
        return widths;
    }

    /** Those with less loss than all smaller ones, by size. */
    private static List<Choice> unbeaten(List<Choice> choices) {
        choices.sort(Comparator.comparingLong(Choice::bits).thenComparingDouble(Choice::loss));
        List<Choice> front = new ArrayList<>();
        double least = Double.POSITIVE_INFINITY;
        for (Choice choice : choices) {
            if (choice.loss < least) {
                front.add(choice);
                least = choice.loss;
            }
        }
        return front;
    }
}
