package io.github.ptq4vit.model;

import java.util.List;

/** A small network of every kind that there is. */
public final class SmallArchitectures {
    private SmallArchitectures() {
    }

    /** One each. */
    public static List<Architecture> all() {
        PrefixTokens classToken = new PrefixTokens(true, false, 0, true);
        return List.of(
                new VitConfig("vit", 32, 8, 3, 24, 2, 3, 48, 7, false, 1e-6f),
                new VitConfig("distilled", 32, 8, 3, 24, 2, 3, 48, 7, true, 1e-6f),
                new VitConfig("representation", 32, 8, 3, 24, 1, 2, 48, 7, classToken, Pooling.CLASS_TOKEN, 1, false, 20, 1e-6f),
                new VitConfig("deit3", 32, 8, 3, 24, 2, 3, 48, 7, new PrefixTokens(true, false, 0, false), Pooling.CLASS_TOKEN,
                        1, true, 0, 1e-6f),
                new VitConfig("registers", 32, 8, 3, 24, 1, 2, 48, 7, new PrefixTokens(true, false, 4, true),
                        Pooling.MEAN_THEN_NORM, 1, false, 0, 1e-6f),
                new VitConfig("mean", 32, 8, 3, 24, 1, 2, 48, 7, new PrefixTokens(false, false, 0, true),
                        Pooling.NORM_THEN_MEAN, 1, false, 0, 1e-6f),
                new SwinConfig("swin", 48, 4, 3, 12, List.of(2, 2), List.of(2, 3), 3, 4, 7, 1e-5f),
                new VitConfig("swiglu", 32, 8, 3, 24, 2, 3, 32, 7, classToken, Pooling.CLASS_TOKEN, 1, true, 0, Activation.SWIGLU, 1e-6f));
    }
}
