/**
 * Calibration: from a float32 model and a few images to the scales of every layer. {@link
 * io.github.ptq4vit.calibrate.Calibrator} is the way in.
 */
package io.github.ptq4vit.calibrate;
