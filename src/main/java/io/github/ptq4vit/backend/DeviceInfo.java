package io.github.ptq4vit.backend;

/**
 * What a backend runs on.
 *
 * @param backend name of the backend: {@code cpu}, {@code cuda}
 * @param device the device in words
 * @param workers how many parts {@link Backend#parallel} runs at a time
 * @param integerPath how integer products are computed, in words
 * @param floatPrecision what operands of float32 products are rounded to: {@code float32} if they are not, or {@code tf32}
 * @param softmax what computes softmaxes: {@link #OWN}, or {@code cudnn}
 */
public record DeviceInfo(String backend, String device, int workers, String integerPath, String floatPrecision,
        String softmax) {
    /** What every backend has of its own. */
    public static final String OWN = "own";

    /** Of a backend whose softmax is its own. */
    public DeviceInfo(String backend, String device, int workers, String integerPath, String floatPrecision) {
        this(backend, device, workers, integerPath, floatPrecision, OWN);
    }
}
