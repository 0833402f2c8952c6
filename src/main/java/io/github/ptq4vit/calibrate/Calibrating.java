package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.model.VisionTransformer;

/**
 * A calibration at work.
 *
 * @param model the float32 network, transformed if the recipe does that
 * @param backend computes
 * @param walked the network on the device
 * @param timings where the time goes
 */
record Calibrating(VisionTransformer model, Backend backend, LayerWalk.Walked walked, Timings timings) {
}
