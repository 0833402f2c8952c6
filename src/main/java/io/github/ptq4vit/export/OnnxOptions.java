package io.github.ptq4vit.export;

/**
 * How a model is written as ONNX.
 *
 * @param opset version of the standard's operators, {@value #OLDEST} to {@value #NEWEST}
 * @param weights type of the stored weight codes
 */
public record OnnxOptions(int opset, WeightType weights) {
    /** The first with an operator for GELU. */
    public static final int OLDEST = 20;
    /** The last this was tried with. */
    public static final int NEWEST = 23;
    /** The first with 4-bit integers. */
    public static final int USUAL = 21;
    private static final int HALF_BYTE = 4;

    /** Type of stored weight codes. */
    public enum WeightType {
        /** One byte a code. */
        INT8,
        /** Half a byte, for weights of at most 4 bits; from opset {@value OnnxOptions#USUAL} on. */
        INT4;

        /** The smaller one that holds codes of so many bits. */
        public static WeightType smallest(int bits) {
            return bits <= HALF_BYTE ? INT4 : INT8;
        }
    }

    /** @throws ExportException if the opset is unknown here or has no such type */
    public OnnxOptions {
        if (opset < OLDEST || opset > NEWEST) {
            throw new ExportException("Opset " + opset + " is not supported; choose one from " + OLDEST + " to " + NEWEST
                    + ", for example " + USUAL);
        }
        if (weights == WeightType.INT4 && opset < USUAL) {
            throw new ExportException("Opset " + opset + " has no 4-bit integers for weights of 4 bits or fewer; take opset "
                    + USUAL + " or later, or store them as int8");
        }
    }

    /** Refuses types too small for the codes. */
    void check(int weightBits) {
        if (weights == WeightType.INT4 && weightBits > HALF_BYTE) {
            throw new ExportException("Weights of " + weightBits + " bits do not fit int4; store them as int8");
        }
    }
}
