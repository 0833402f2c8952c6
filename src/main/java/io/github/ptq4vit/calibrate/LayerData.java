package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.Layer;
import java.util.Optional;

/**
 * What the calibration images did to one layer.
 *
 * @param layer which
 * @param left L: {@code [rows, k]}, or {@code [images, heads, n, k]} for a product of attention; any strides
 * @param right for attention R, {@code [images, heads, k, m]}, any strides; none for a layer with weights
 * @param output O with bias: {@code [rows, m]} or {@code [images, heads, n, m]}
 * @param gradient mean of the squared gradients at O, shaped like it; none unless the metric asks for it
 */
record LayerData(Layer layer, View left, Optional<View> right, View output, Optional<View> gradient) {
}
