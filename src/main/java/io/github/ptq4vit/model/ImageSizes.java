package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.HashMap;
import java.util.Map;

/**
 * A model for images of another size than it was trained on. A ViT's position embeddings are resampled bicubically with
 * antialiasing, as timm does it (layers/pos_embed.py, resample_abs_pos_embed); a Swin's windows stay as they are.
 */
final class ImageSizes {
    private static final String POSITIONS = "pos_embed";
    /** Of the cubic convolution kernel. */
    private static final double A = -0.5;
    private static final int REACH = 2;

    private ImageSizes() {
    }

    static VisionTransformer change(VisionTransformer model, int size) {
        Architecture from = model.config();
        if (size == from.imageSize()) {
            return model;
        }
        Architecture to;
        try {
            to = from.withImageSize(size);
        } catch (IllegalArgumentException e) {
            throw new ModelException("Images of " + size + " pixels do not fit " + from.name() + ": " + e.getMessage(), e);
        }
        Map<String, Tensor> tensors = new HashMap<>(model.tensors());
        if (from instanceof VitConfig vit) {
            tensors.put(POSITIONS, resampled(model.tensor(POSITIONS), vit.positions() - vit.grid() * vit.grid(), vit.grid(),
                    to.grid()));
        }
        to.tensors().forEach((name, shape) -> {
            if (tensors.containsKey(name) && !tensors.get(name).shape().equals(shape)) {
                throw new ModelException("Images of " + size + " pixels do not fit " + from.name() + ": tensor " + name
                        + " has shape " + tensors.get(name).shape() + ", expected " + shape);
            }
        });
        return new VisionTransformer(to, tensors, model.metadata());
    }

    /**
     * Position embeddings for another grid.
     *
     * @param positions {@code [1, prefix + from^2, dim]}
     * @return {@code [1, prefix + to^2, dim]}; the prefix as it was
     */
    static Tensor resampled(Tensor positions, int prefix, int from, int to) {
        int dim = positions.shape().size(2);
        double[][] weights = weights(from, to);
        // columns first, then rows
        double[] narrow = new double[from * to * dim];
        for (int row = 0; row < from; row++) {
            for (int column = 0; column < to; column++) {
                for (int tap = 0; tap < from; tap++) {
                    for (int d = 0; d < dim && weights[column][tap] != 0; d++) {
                        narrow[(row * to + column) * dim + d] += weights[column][tap]
                                * positions.data().get((prefix + row * from + tap) * dim + d);
                    }
                }
            }
        }
        double[] sum = new double[to * to * dim];
        for (int row = 0; row < to; row++) {
            for (int tap = 0; tap < from; tap++) {
                for (int i = 0; i < to * dim && weights[row][tap] != 0; i++) {
                    sum[row * to * dim + i] += weights[row][tap] * narrow[tap * to * dim + i];
                }
            }
        }
        float[] result = new float[(prefix + to * to) * dim];
        positions.data().get(0, result, 0, prefix * dim);
        for (int i = 0; i < sum.length; i++) {
            result[prefix * dim + i] = (float) sum[i];
        }
        return Tensor.of(Shape.of(1, prefix + to * to, dim), result);
    }

    /** Weights of the old places in each new one, {@code [to][from]}; their sum is 1. */
    private static double[][] weights(int from, int to) {
        double[][] weights = new double[to][from];
        double ratio = (double) from / to;
        double stretch = Math.max(1, ratio);
        for (int i = 0; i < to; i++) {
            double centre = (i + 0.5) * ratio;
            int first = Math.max(0, (int) (centre - REACH * stretch + 0.5));
            int end = Math.min(from, (int) (centre + REACH * stretch + 0.5));
            double sum = 0;
            for (int j = first; j < end; j++) {
                weights[i][j] = kernel((j - centre + 0.5) / stretch);
                sum += weights[i][j];
            }
            for (int j = first; j < end; j++) {
                weights[i][j] /= sum;
            }
        }
        return weights;
    }

    private static double kernel(double distance) {
        double x = Math.abs(distance);
        if (x < 1) {
            return ((A + 2) * x - (A + 3)) * x * x + 1;
        }
        return x < REACH ? ((x - 5) * x + 8) * x * A - 4 * A : 0;
    }
}
