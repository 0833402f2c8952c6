package io.github.ptq4vit.backend;

/** Weights {@code [outputs, inputs]} of the plain backend: numbers, or codes with a scale per output. */
record PlainLinear(PlainScope owner, int inputs, int outputs, double[] weights, boolean quantized, double[] steps,
        double[] bias) implements Backend.Linear {

    static PlainLinear of(Backend.Linear weights, boolean quantized) {
        PlainLinear plain = (PlainLinear) weights;
        plain.owner.checkOpen();
        if (plain.quantized != quantized) {
            throw new IllegalArgumentException(quantized ? "These weights are not quantised" : "These weights are quantised");
        }
        return plain;
    }
}
