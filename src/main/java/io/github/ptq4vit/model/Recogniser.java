package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.TensorSource;
import java.util.TreeSet;

/** What the recognition of architectures from tensors shares. */
abstract class Recogniser {
    final TensorSource file;
    final ModelFacts facts;

    Recogniser(TensorSource file, ModelFacts facts) {
        this.file = file;
        this.facts = facts;
    }

    /** The architecture of the file. */
    abstract Architecture config(ReadOptions options);

    /** Shape of a tensor that must be there with so many axes. */
    final Shape shape(String name, int rank) {
        if (!file.contains(name)) {
            throw new ModelException(file.path() + " is not a ViT, DeiT or Swin as timm, Hugging Face or torchvision name it: "
                    + "no tensor " + name + ". It has " + ModelReader.listed(new TreeSet<>(file.names())));
        }
        Shape shape = file.shape(name);
        if (shape.rank() != rank) {
            throw new ModelException(file.path() + ": tensor " + name + " has shape " + shape + ", expected " + rank + " axes");
        }
        return shape;
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
