package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Operand;
import java.util.List;

/**
 * One search for the scales of one operand of a layer.
 *
 * @param layer name of the layer
 * @param round counted from 0
 * @param operand whose scales were searched
 * @param losses {@code [candidates][groups]}, smaller is better; NaN where a progressive search dropped the candidate
 * @param chosen index of the best candidate of each group
 */
public record SearchTrace(String layer, int round, Operand operand, double[][] losses, int[] chosen) {

    /** Loss of the chosen candidate of a group. */
    public double loss(int group) {
        return losses[chosen[group]][group];
    }

    /** The searches of one layer, in order. */
    static List<SearchTrace> of(List<SearchTrace> traces, String layer) {
        return traces.stream().filter(trace -> trace.layer.equals(layer)).toList();
    }
}
