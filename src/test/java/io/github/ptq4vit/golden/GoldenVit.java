package io.github.ptq4vit.golden;

import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import java.util.OptionalInt;

/** Reads the network of a golden folder. */
public final class GoldenVit {
    private GoldenVit() {
    }

    /** A plain vision transformer with the heads and the epsilon that the folder states. */
    public static VisionTransformer model(GoldenFolder folder) {
        GoldenFolder.Model stated = folder.model();
        VisionTransformer model = ModelReader.read(folder.weights().path(), OptionalInt.of(stated.heads().get(0)));
        VitConfig c = model.config();
        VitConfig config = new VitConfig(c.name(), c.imageSize(), c.patchSize(), c.channels(), c.dim(), c.depth(), c.heads(),
                c.hidden(), c.classes(), c.distilled(), (float) stated.layerNormEps());
        return new VisionTransformer(config, model.tensors(), model.metadata());
    }
}
