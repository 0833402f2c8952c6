package io.github.ptq4vit.calibrate;

/** What goes beyond the paper in {@link CalibrationConfig}; the presets have none of it. */
public enum Extension {
    /** Each output channel of every weight has a scale of its own; the paper has one for all, and three for queries, keys and values. */
    CHANNELWISE_WEIGHTS,
    /** Each head has a threshold of its own for its softmax outputs; the paper has one for all. */
    HEADWISE_THRESHOLDS
}
