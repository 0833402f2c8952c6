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

    /** How many calibration images there are. */
    int images() {
        return walked.inputs().sizes(0)[0];
    }

    /** A loss by the Hessian metric over all images as a divergence in nats: half of the sum, as in Taylor's series, a mean over images. */
    double nats(double loss) {
        return loss / 2 / images();
    }
}
