package io.github.ptq4vit.calibrate;

/** A calibration cannot go on; the message says why and what to do. */
public final class CalibrationException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** With a message for the user. */
    public CalibrationException(String message) {
        super(message);
    }

    /** Of a number among a layer's operands that is not finite. */
    static CalibrationException notFinite(float number) {
        return new CalibrationException("The calibration data hold " + number
                + ", so the float32 network itself overflows or is damaged on these images");
    }
}
