package io.github.ptq4vit.backend;

/**
 * The functions of a forward pass as sequences of float32 operations in a fixed order, the same as in {@code cuda-kernels/}
 * ({@code functions.cuh}, {@code softmax.cu}, {@code layernorm.cu}, {@code matmul_f32.cu}): additions, multiplications,
 * divisions, roots and fused multiplications, each of which IEEE 754 rounds in one way only. So results are equal, to the
 * last bit, on every processor and GPU.
 */
public final class FixedOrder {
    /** Adding 1.5 * 2^23 rounds a number to an integer and leaves that in the lowest bits. */
    private static final float INTEGERS = 12582912f;
    /** The bits of 1. */
    private static final int ONE = 0x3f800000;
    private static final int LANES = 32;
    /** Rows of the right factor that are taken at a time: they stay in the first cache. A multiple of four. */
    private static final int DEPTH = 48;

    private final float[] exponents;
    private final float[] shifted;
    private final float[] lanes = new float[LANES];

    /** With room for so many numbers at a time. */
    public FixedOrder(int longest) {
        this.exponents = new float[longest];
        this.shifted = new float[longest];
    }

    /**
     * {@code x[i] = gelu(x[i]) = max(x, 0) - |x| h(|x|)} with {@code h(t) = erfc(t / sqrt 2) / 2 = exp(-t^2 / 2) N(t) / D(t)},
     * within 1e-7 of |x|. N / D is fitted to [0, 16]; nothing in it cancels.
     */
    public void gelu(float[] x, int count) {
        halfSquares(x, count, exponents);
        reduce(exponents, count, shifted);
        raise(exponents, count, shifted);
        gelu(x, count, exponents);
    }

    /** {@code softmax(scale * x)} of rows, in place. */
    public void softmax(float[] x, int count, int columns, float scale) {
        multiply(x, 0, count, scale);
        for (int row = 0; row < count; row += columns) {
            subtract(x, row, columns, largest(x, row, columns));
        }
        reduce(x, count, shifted);
        raise(x, count, shifted);
        for (int row = 0; row < count; row += columns) {
            multiply(x, row, columns, 1 / sum(x, row, columns, lanes));
        }
    }

    /** {@code (x - mean) / sqrt(variance + epsilon) * gamma + beta} of one row, in place. */
    public void layerNorm(float[] x, float[] gamma, float[] beta, float epsilon) {
        int columns = gamma.length;
        subtract(x, 0, columns, sum(x, 0, columns, lanes) / columns);
        square(x, columns, shifted);
        affine(x, 1 / (float) Math.sqrt(sum(shifted, 0, columns, lanes) / columns + epsilon), gamma, beta);
    }

    /**
     * {@code c += a b}, sums along k from the first product to the last, each fused.
     *
     * @param a {@code [n, k]}, row-major
     * @param b the k rows
     * @param c the n rows
     */
    public static void product(float[] a, float[][] b, float[][] c) {
        int k = b.length;
        for (int from = 0; from < k; from += DEPTH) {
            int to = Math.min(k, from + DEPTH);
            for (int row = 0; row < c.length; row++) {
                int i = from;
                for (; i < to - 3; i += 4) {
                    int at = row * k + i;
                    addFour(c[row], a[at], b[i], a[at + 1], b[i + 1], a[at + 2], b[i + 2], a[at + 3], b[i + 3]);
                }
                for (; i < to; i++) {
                    addOne(c[row], a[row * k + i], b[i]);
                }
            }
        }
    }

    /** Each row its own array and no offsets: only so does Java's compiler use wide registers. */
    private static void addFour(float[] c, float a0, float[] b0, float a1, float[] b1, float a2, float[] b2, float a3,
            float[] b3) {
        for (int i = 0; i < c.length; i++) {
            float sum = Math.fma(a0, b0[i], c[i]);
            sum = Math.fma(a1, b1[i], sum);
            sum = Math.fma(a2, b2[i], sum);
            c[i] = Math.fma(a3, b3[i], sum);
        }
    }

    private static void addOne(float[] c, float a, float[] b) {
        for (int i = 0; i < c.length; i++) {
            c[i] = Math.fma(a, b[i], c[i]);
        }
    }

    /** {@code x += y}. */
    public static void add(float[] x, float[] y) {
        for (int i = 0; i < x.length; i++) {
            x[i] += y[i];
        }
    }

    private static void halfSquares(float[] x, int count, float[] exponents) {
        for (int i = 0; i < count; i++) {
            float t = Math.min(16f, Math.abs(x[i]));
            exponents[i] = -0.5f * t * t;
        }
    }

    private static void gelu(float[] x, int count, float[] exponentials) {
        for (int i = 0; i < count; i++) {
            float t = Math.min(16f, Math.abs(x[i]));
            float n = Math.fma(0.00384419899f, t, 0.0388710042f);
            n = Math.fma(n, t, 0.17813599f);
            n = Math.fma(n, t, 0.431633767f);
            n = Math.fma(n, t, 0.5f);
            float d = Math.fma(0.00963583418f, t, 0.0974428672f);
            d = Math.fma(d, t, 0.455980662f);
            d = Math.fma(d, t, 1.18167753f);
            d = Math.fma(d, t, 1.66115226f);
            d = Math.fma(d, t, 1f);
            x[i] = Math.fma(-t, exponentials[i] * (n / d), Math.max(x[i], 0f));
        }
    }

    /** Of {@code exp(x)} for {@code x <= 0}, with {@code x = n ln 2 + r}: shifted is n in its lowest bits, x becomes exp(r). */
    private static void reduce(float[] x, int count, float[] shifted) {
        for (int i = 0; i < count; i++) {
            float number = Math.max(-87f, x[i]);
            float s = Math.fma(number, 1.44269504f, INTEGERS);
            float n = s - INTEGERS;
            float r = Math.fma(n, -0.693359375f, number);
            r = Math.fma(n, 2.12194440e-4f, r);
            float p = Math.fma(0.00138145986f, r, 0.00836871693f);
            p = Math.fma(p, r, 0.041668388f);
            p = Math.fma(p, r, 0.166665206f);
            p = Math.fma(p, r, 0.499999934f);
            shifted[i] = s;
            x[i] = Math.fma(r * r, p, r) + 1f;
        }
    }

    /** {@code x *= 2^n} of n from -126 on; n added to the exponent would make a large number of some NaNs. */
    private static void raise(float[] x, int count, float[] shifted) {
        for (int i = 0; i < count; i++) {
            x[i] *= Float.intBitsToFloat((Float.floatToRawIntBits(shifted[i]) << 23) + ONE);
        }
    }

    private static void multiply(float[] x, int from, int count, float factor) {
        for (int i = from; i < from + count; i++) {
            x[i] *= factor;
        }
    }

    private static void subtract(float[] x, int from, int count, float number) {
        for (int i = from; i < from + count; i++) {
            x[i] -= number;
        }
    }

    private static void square(float[] x, int count, float[] squares) {
        for (int i = 0; i < count; i++) {
            squares[i] = x[i] * x[i];
        }
    }

    private static void affine(float[] x, float factor, float[] gamma, float[] beta) {
        for (int i = 0; i < gamma.length; i++) {
            x[i] = x[i] * factor * gamma[i] + beta[i];
        }
    }

    /** Whole numbers are compared, as which numbers keep their order: comparing float32 branches, often the wrong way. */
    private static float largest(float[] x, int from, int count) {
        int a = Integer.MIN_VALUE;
        int b = a;
        int c = a;
        int d = a;
        int end = from + count;
        int i = from;
        for (; i < end - 3; i += 4) {
            a = Math.max(a, ordered(Float.floatToRawIntBits(x[i])));
            b = Math.max(b, ordered(Float.floatToRawIntBits(x[i + 1])));
            c = Math.max(c, ordered(Float.floatToRawIntBits(x[i + 2])));
            d = Math.max(d, ordered(Float.floatToRawIntBits(x[i + 3])));
        }
        for (; i < end; i++) {
            a = Math.max(a, ordered(Float.floatToRawIntBits(x[i])));
        }
        return Float.intBitsToFloat(ordered(Math.max(Math.max(a, b), Math.max(c, d))));
    }

    /** Bits of numbers to integers in the same order, and back. */
    private static int ordered(int bits) {
        return bits ^ bits >> 31 & Integer.MAX_VALUE;
    }

    /** Sum of a row as a warp of a GPU adds it: each of 32 lanes every 32nd number, then the lanes as a tree. */
    private static float sum(float[] x, int from, int count, float[] lanes) {
        int end = from + count;
        for (int lane = 0; lane < LANES; lane += 8) {
            float a = 0;
            float b = 0;
            float c = 0;
            float d = 0;
            float e = 0;
            float f = 0;
            float g = 0;
            float h = 0;
            int i = from + lane;
            for (; i < end - 7; i += LANES) {
                a += x[i];
                b += x[i + 1];
                c += x[i + 2];
                d += x[i + 3];
                e += x[i + 4];
                f += x[i + 5];
                g += x[i + 6];
                h += x[i + 7];
            }
            lanes[lane] = a;
            lanes[lane + 1] = b;
            lanes[lane + 2] = c;
            lanes[lane + 3] = d;
            lanes[lane + 4] = e;
            lanes[lane + 5] = f;
            lanes[lane + 6] = g;
            lanes[lane + 7] = h;
            for (int last = lane; i < end; i++, last++) {
                lanes[last] += x[i];
            }
        }
        for (int lane = 0; lane < 8; lane++) {
            lanes[lane] = lanes[lane] + lanes[lane + 16] + (lanes[lane + 8] + lanes[lane + 24]);
        }
        return lanes[0] + lanes[4] + (lanes[2] + lanes[6]) + (lanes[1] + lanes[5] + (lanes[3] + lanes[7]));
    }
}
