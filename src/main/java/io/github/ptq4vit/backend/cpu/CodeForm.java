package io.github.ptq4vit.backend.cpu;

import org.bytedeco.dnnl.global.dnnl;

/** How codes lie in memory. */
enum CodeForm {
    /** float32 numbers, for processors without exact products of bytes. */
    NUMBERS(dnnl.dnnl_f32, 4, 0),
    /** int8: the second factor of a product. */
    SIGNED(dnnl.dnnl_s8, 1, 0),
    /**
     * uint8, 128 more than the code: the first factor. VNNI multiplies unsigned by signed bytes, so oneDNN would else add the
     * 128 itself, in every product anew, which takes a fifth of the time; the sums are made right in int32, exactly.
     */
    SHIFTED(dnnl.dnnl_u8, 1, 128),
    /** uint8, the code itself: the first factor where no code is negative, as after softmax. Nothing is to be made right. */
    UNSIGNED(dnnl.dnnl_u8, 1, 0);

    private final int type;
    private final int bytes;
    private final int shift;

    CodeForm(int type, int bytes, int shift) {
        this.type = type;
        this.bytes = bytes;
        this.shift = shift;
    }

    /** oneDNN's number of the type. */
    int type() {
        return type;
    }

    /** Bytes of a code. */
    int bytes() {
        return bytes;
    }

    /** What is added to a code. */
    int shift() {
        return shift;
    }
}
