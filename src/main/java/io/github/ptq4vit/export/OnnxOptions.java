package io.github.ptq4vit.export;

/**
 * How a model is written as ONNX.
 *
 * @param opset version of the standard's operators, {@value #OLDEST} to {@value #NEWEST}
 * @param weights type of the stored weight codes
 * @param target what the graph is for
 */
public record OnnxOptions(int opset, WeightType weights, Target target) {
    /** The first with an operator for layer normalisation. */
    public static final int OLDEST = 17;
    /** The last this was tried with. */
    public static final int NEWEST = 23;
    /** The first with 4-bit integers. */
    public static final int USUAL = 21;
    /** The first with an operator for GELU. */
    static final int GELU = 20;
    /** Bits of the smaller type of weights. */
    static final int HALF_BYTE = 4;

    /** Type of stored weight codes. */
    public enum WeightType {
        /** One byte a code. */
        INT8,
        /** Half a byte, for weights of at most 4 bits; from opset {@value OnnxOptions#USUAL} on. */
        INT4
    }

    /** What runs the graph. All compute the same layers. */
    public enum Target {
        /** Any runtime of the opset: standard operators, QuantizeLinear and DequantizeLinear around every product. */
        PORTABLE,
        /**
         * ONNX Runtime on processors: its own operator for products of codes with scales and bias, and layer normalisation as
         * InstanceNormalization of tokens, which that runtime computes several times as fast.
         */
        ONNXRUNTIME,
        /** TensorRT's rules of explicit quantisation: signed bytes, all zero points 0, clipping in float32. */
        TENSORRT
    }

    /** For any runtime. */
    public OnnxOptions(int opset, WeightType weights) {
        this(opset, weights, Target.PORTABLE);
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
