package io.github.ptq4vit.backend.cuda;

import java.util.Locale;

/**
 * The kernels of {@code cuda-kernels/}; the header of each tells its parameters. A constant is the entry's name in capitals.
 */
enum Kernel {
    /** {@code y = (x - mean) / deviation * gamma + beta}, a warp a row. */
    LAYERNORM_FORWARD_F32(7, 256),
    /** Gradient of the above, a warp a row. */
    LAYERNORM_BACKWARD_F32(7, 256),
    /** {@code y = softmax(scale x)}, a warp a row. */
    SOFTMAX_FORWARD_F32(5, 256),
    /** Gradient of the above, a warp a row. */
    SOFTMAX_BACKWARD_F32(6, 256),
    /** {@code y = x/2 (1 + erf(x / sqrt 2))}. */
    GELU_FORWARD_F32(3, 256),
    /** Gradient of the above. */
    GELU_BACKWARD_F32(4, 256),
    /** {@code c = a + b}, b repeated. */
    ADD_REPEATED_F32(5, 256),
    /** {@code c = a b}, elementwise, b repeated. */
    MULTIPLY_REPEATED_F32(5, 256),
    /** {@code sum += factor x x}. */
    ADD_SQUARE_F32(4, 256),
    /** {@code y = |x|}. */
    MAGNITUDE_F32(3, 256),
    /** Copy between strides. */
    COPY_STRIDED_F32(4, 256),
    /** The same, four elements at a time. */
    COPY_STRIDED_F32X4(4, 256),
    /** Copy between strides that exchanges the innermost axes, by tiles in shared memory. */
    COPY_TRANSPOSED_F32(3, 256),
    /** Copy of codes between strides. */
    COPY_STRIDED_S8(4, 256),
    /** Codes to numbers between strides. */
    COPY_WIDENED_S8(4, 256),
    /** {@code to[i] = from[rows[i]]}. */
    GATHER_ROWS_F32(5, 256),
    /** Codes of numbers in one range of a grid. */
    QUANTIZE_DENSE_S8(5, 256),
    /** Codes of strided matrices as rows padded with zeros, in all ranges of a grid per head. */
    QUANTIZE_MATRIX_S8(6, 256),
    /** Codes of rows that are transformed before, padded with zeros, a warp a row. */
    QUANTIZE_TRANSFORMED_S8(12, 256),
    /** Ranges of the rows of strided matrices. */
    RANGE_ROWS_F32(5, 256),
    /** Numbers to what their codes stand for. */
    DECODE_DENSE_F32(4, 256),
    /** The same divided by the sums of rows, a warp a row. */
    DECODE_ROWS_F32(5, 256),
    /** The same by each row's range, a warp a row. */
    DECODE_RANGES_F32(5, 256),
    /** Blocks of up to 1024 numbers times a Hadamard matrix. */
    HADAMARD_BLOCKS_F32(5, 256),
    /** One more stage of it, for larger blocks. */
    HADAMARD_STAGE_F32(4, 256),
    /** Largest numbers or magnitudes per group and part. */
    REDUCE_MAXIMA_F32(7, 256),
    /** Sums of rows in float64, a warp a row. */
    REDUCE_ROWS_F64(4, 256),
    /** Sums of squared errors per group and part, in float64. */
    REDUCE_SQUARED_ERRORS_F64(7, 256),
    /** Batched float32 product of any strides, where cuBLAS does not serve. */
    MATMUL_TILED_F32(4, 256),
    /** Batched product of codes by tiles of 64 x 64, with steps and bias. */
    MATMUL_TILE64_S8(10, 128),
    /** The same by tiles of 128 x 128. */
    MATMUL_TILE128_S8(10, 256),
    /** Codes of an operand for all candidates. */
    SCORE_QUANTIZE_S8(7, 256),
    /** Sums of losses over tiles of 64 x 64 for all candidates. */
    SCORE_TILE64_S8(13, 128),
    /** The same over tiles of 128 x 128, of which the outputs and weights lie in shared memory. */
    SCORE_TILE128_S8(13, 256, 128 * 128 * 8 + 3 * 3 * 128 * 64),
    /** The same as the smaller one, of a left operand in float32. */
    SCORE_TILE64_F32(9, 128),
    /** What tiles of 64 x 64 leave of their rows for a similarity. */
    SCORE_ROWS64_S8(10, 128),
    /** The same of a left operand in float32. */
    SCORE_ROWS64_F32(10, 128),
    /** Similarities of rows from what tiles have left. */
    SCORE_SIMILARITY_F64(6, 64),
    /** Partial sums to losses. */
    SCORE_SUM_F64(5, 128);

    private final int parameters;
    private final int blockSize;
    private final int dynamicBytes;

    Kernel(int parameters, int blockSize) {
        this(parameters, blockSize, 0);
    }

    Kernel(int parameters, int blockSize, int dynamicBytes) {
        this.parameters = parameters;
        this.blockSize = blockSize;
        this.dynamicBytes = dynamicBytes;
    }

    /** Name of the entry in the PTX. */
    String entry() {
        return name().toLowerCase(Locale.ROOT);
    }

    /** How many parameters the entry takes. */
    int parameters() {
        return parameters;
    }

    /** Threads of a block. */
    int blockSize() {
        return blockSize;
    }

    /** Shared memory of a block beyond what the kernel declares. */
    int dynamicBytes() {
        return dynamicBytes;
    }
}
