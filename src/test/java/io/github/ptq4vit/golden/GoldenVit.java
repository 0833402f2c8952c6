package io.github.ptq4vit.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.model.ReadOptions;
import io.github.ptq4vit.model.SwinConfig;
import io.github.ptq4vit.model.VisionTransformer;

/** Reads the network of a golden folder. */
public final class GoldenVit {
    private GoldenVit() {
    }

    /** The network, recognised as what the folder states. */
    public static VisionTransformer model(GoldenFolder folder) {
        GoldenFolder.Model stated = folder.model();
        boolean swin = stated.kind() == GoldenFolder.Kind.SWIN;
        VisionTransformer model = ModelReader.read(folder.weights().path(),
                swin ? ReadOptions.NONE : ReadOptions.heads(stated.heads().get(0)));
        assertEquals((float) stated.layerNormEps(), model.config().epsilon());
        assertEquals(stated.imageSize(), model.config().imageSize());
        assertEquals(stated.classes(), model.config().classes());
        if (model.config() instanceof SwinConfig config) {
            assertEquals(stated.depths(), config.depths());
            assertEquals(stated.heads(), config.heads());
            assertEquals(stated.windowSize(), config.window());
        }
        return model;
    }
}
