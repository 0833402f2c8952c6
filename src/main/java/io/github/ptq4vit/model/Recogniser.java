package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.RenamedTensors;
import io.github.ptq4vit.tensor.Shape;
import java.util.TreeSet;

/** What the recognition of architectures from tensors shares. */
abstract class Recogniser {
    final RenamedTensors file;
    final ModelFacts facts;

    Recogniser(RenamedTensors file, ModelFacts facts) {
        this.file = file;
        this.facts = facts;
    }

    /** The architecture of the file. */
    abstract Architecture config(ReadOptions options);

    /** Shape of a tensor that must be there with so many axes. */
    final Shape shape(String name, int rank) {
        if (!file.contains(name)) {
            throw absent(name);
        }
        Shape shape = file.shape(name);
        if (shape.rank() != rank || shape.elements() == 0) {
            throw new ModelException(file.path() + ": tensor " + file.original(name) + " has shape " + shape + ", expected are " + rank + " axes that are not empty");
        }
        return shape;
    }

    private ModelException absent(String name) {
        boolean patches = file.contains("patch_embed.proj.weight");
        String other = OtherModels.of(file.names()).map(what -> ": it looks like " + what).orElse("");
        if (patches && name.startsWith("head.") && other.isEmpty()) {
            return new ModelException(file.path() + ": has no classifier, no tensor " + file.original(name) + "; it is a pre-trained"
                    + " encoder alone, give the weights of a fine-tuned model");
        }
        return new ModelException(file.path() + " is not a ViT, DeiT or Swin as timm, Hugging Face or torchvision name it" + other
                + (patches ? ". It lacks " + file.original(name) : ". It has no patch embedding (patch_embed.proj.weight,"
                + " vit.embeddings.patch_embeddings.projection.weight, conv_proj.weight)") + "; its tensors are "
                + ModelReader.listed(new TreeSet<>(file.names().stream().map(file::original).toList())));
    }

    /** How many tensors there are whose names differ by a number from 0. */
    final int count(String before, String after) {
        int count = 0;
        while (file.contains(before + count + after)) {
            count++;
        }
        return count;
    }
}
