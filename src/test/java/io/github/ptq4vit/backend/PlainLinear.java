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

    PlainLinear takes(View x, View y) {
        if (x.size(-1) != inputs || y.size(-1) != outputs || x.elements() / inputs != y.elements() / outputs) {
            throw new IllegalArgumentException("Weights [" + outputs + ", " + inputs + "] do not fit " + x + " and " + y);
        }
        return this;
    }
}
