package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitAllocation;
import io.github.ptq4vit.quant.BitPlan;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.tensor.Shape;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.ToLongFunction;

/** Chooses bit widths of layers by what they cost. Weights and activations are planned apart: their costs add up. */
final class BitPlanning {
    private static final int FLOAT_BYTES = 4;

    private final VisionTransformer network;
    private final BitPlan kept;
    private final List<LayerCost> costs;

    /**
     * @param kept the usual bit widths, and exceptions that stay
     * @param costs of all layers
     */
    BitPlanning(VisionTransformer network, BitPlan kept, List<LayerCost> costs) {
        this.network = network;
        this.kept = kept;
        // what stays float32 takes no part
        this.costs = costs.stream().filter(cost -> !kept.excluded().contains(cost.layer())).toList();
    }

    /**
     * The plan of the least cost.
     *
     * @throws CalibrationException if even {@link BitWidths#MIN} bits for all are too many, saying what can be reached
     */
    BitPlan plan(BitTarget target) {
        Map<String, BitWidths> widths = new HashMap<>();
        costs.forEach(cost -> widths.put(cost.layer(), kept.of(cost.layer())));
        if (target instanceof BitTarget.Size size) {
            long others = otherBytes();
            Function<Long, String> reachable = bits -> "the smallest that can be reached is " + (others + (bits + 7) / 8) + " bytes";
            weights(widths, (size.bytes() - others) * 8, target, reachable);
        } else if (target instanceof BitTarget.AverageBits average) {
            long all = sum(LayerCost::weights);
            weights(widths, (long) Math.floor(average.bits() * all), target, bits -> "the least is " + (double) bits / all + " of weights");
            long numbers = sum(LayerCost::activations);
            Map<String, Integer> found = best((long) Math.floor(average.bits() * numbers), LayerCost::activations, LayerCost::activationCosts,
                    BitWidths::activations, target, bits -> "the least is " + (double) bits / numbers + " of activations");
            found.forEach((layer, bits) -> widths.put(layer, new BitWidths(widths.get(layer).weights(), bits)));
        }
        return kept.with(widths);
    }

    private void weights(Map<String, BitWidths> widths, long budget, BitTarget target, Function<Long, String> reachable) {
        best(budget, LayerCost::weights, LayerCost::weightCosts, BitWidths::weights, target, reachable)
                .forEach((layer, bits) -> widths.put(layer, new BitWidths(bits, widths.get(layer).activations())));
    }

    private Map<String, Integer> best(long budget, ToLongFunction<LayerCost> numbers, Function<LayerCost, double[]> losses,
            ToLongFunction<BitWidths> width, BitTarget target, Function<Long, String> reachable) {
        long fixed = 0;
        long least = 0;
        for (LayerCost cost : costs) {
            boolean free = !kept.exceptions().containsKey(cost.layer());
            fixed += free ? 0 : numbers.applyAsLong(cost) * width.applyAsLong(kept.of(cost.layer()));
            least += free ? numbers.applyAsLong(cost) * BitWidths.MIN : 0;
        }
        if (fixed + least > budget) {
            throw new CalibrationException("No bit widths reach the target of " + target + "; " + reachable.apply(fixed + least));
        }
        return BitAllocation.best(costs.stream()
                .filter(cost -> !kept.exceptions().containsKey(cost.layer()) && numbers.applyAsLong(cost) > 0)
                .map(cost -> new BitAllocation.Item(cost.layer(), numbers.applyAsLong(cost), losses.apply(cost))).toList(), budget - fixed);
    }

    private long sum(ToLongFunction<LayerCost> numbers) {
        return costs.stream().mapToLong(numbers).sum();
    }

    /** Bytes of scales of weights, one an output channel, and of all parameters that are not quantised, float32 weights among them. */
    private long otherBytes() {
        long scales = network.config().layers().stream().filter(layer -> layer.weight().isPresent())
                .mapToLong(layer -> kept.excluded().contains(layer.name()) ? layer.weight().get().elements() : layer.outputs()).sum();
        long others = network.config().unquantizedTensors().values().stream().mapToLong(Shape::elements).sum();
        return FLOAT_BYTES * (scales + others);
    }
}
