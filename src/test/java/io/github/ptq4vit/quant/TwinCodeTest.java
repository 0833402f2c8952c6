package io.github.ptq4vit.quant;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.github.ptq4vit.backend.CodeRange;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The layout of twin codes in a byte, over all 256 values. */
class TwinCodeTest {
    private static final int BYTES = 256;

    static List<Quantizer> twins() {
        List<Quantizer> twins = new ArrayList<>();
        for (int bits = BitWidths.MIN; bits <= BitWidths.MAX; bits++) {
            for (TwinRule rule : TwinRule.values()) {
                twins.add(new Quantizer.SoftmaxTwin(4, bits, rule));
                twins.add(Quantizer.GeluTwin.of(4f / BitWidths.half(bits), bits, rule));
            }
        }
        return twins;
    }

    @ParameterizedTest
    @MethodSource("twins")
    void everyPairOfCodesHasItsOwnByteAndComesBack(Quantizer twin) {
        Set<Byte> bytes = new HashSet<>();
        int pairs = 0;
        for (int range = 0; range < 2; range++) {
            CodeRange r = twin.grid().ranges().get(range);
            for (int code = r.min(); code <= r.max(); code++) {
                byte packed = range == 0 ? TwinCode.pack(twin, code, 0) : TwinCode.pack(twin, 0, code);
                assertEquals(code, TwinCode.code(twin, range, packed));
                assertEquals(0, TwinCode.code(twin, 1 - range, packed));
                assertEquals(code * r.step(), TwinCode.decode(twin, packed));
                bytes.add(packed);
                pairs++;
            }
        }
        assertEquals(pairs - 1, bytes.size(), "zero belongs to both ranges");
    }

    @Test
    void eightBitsUseAllBytesButSoftmaxsSecondZero() {
        Quantizer softmax = new Quantizer.SoftmaxTwin(5, 8, TwinRule.FREE);
        Quantizer gelu = Quantizer.GeluTwin.of(0.03f, 8, TwinRule.ALIGNED);
        for (int i = 0; i < BYTES; i++) {
            byte packed = (byte) i;
            assertEquals(packed, TwinCode.pack(gelu, TwinCode.code(gelu, 0, packed), TwinCode.code(gelu, 1, packed)));
            byte again = TwinCode.pack(softmax, TwinCode.code(softmax, 0, packed), TwinCode.code(softmax, 1, packed));
            assertEquals(i == 0x80 ? 0 : packed, again);
            boolean high = i >= 0x80;
            CodeRange range = softmax.grid().ranges().get(high ? 1 : 0);
            assertEquals((i & 0x7f) * range.step(), TwinCode.decode(softmax, packed), "range bit and magnitude");
            CodeRange sign = gelu.grid().ranges().get(high ? 0 : 1);
            assertEquals((high ? i - BYTES : i) * sign.step(), TwinCode.decode(gelu, packed), "two's complement");
        }
    }

    @ParameterizedTest
    @MethodSource("twins")
    void aValueByWayOfItsByteIsTheQuantisedValue(Quantizer twin) {
        Random random = new Random(1);
        for (int i = 0; i < 2000; i++) {
            float x = twin instanceof Quantizer.SoftmaxTwin ? (float) Math.pow(random.nextDouble(), 6)
                    : (float) Math.max(Quantizer.GELU_MINIMUM, 2 * random.nextGaussian());
            assertEquals(twin.quantize(x), TwinCode.decode(twin, TwinCode.encode(twin, x)));
        }
    }

    @Test
    void whatIsNoTwinCodeIsRefused() {
        Quantizer gelu = Quantizer.GeluTwin.of(0.03f, 8, TwinRule.FREE);
        assertThrows(IllegalArgumentException.class, () -> TwinCode.pack(gelu, -3, 4));
        assertThrows(IllegalArgumentException.class, () -> TwinCode.pack(gelu, 3, 0));
        assertThrows(IllegalArgumentException.class, () -> TwinCode.encode(new Quantizer.Uniform(0.1f, 8), 1));
    }
}
