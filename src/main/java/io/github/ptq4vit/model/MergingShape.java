package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Shape;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The merging of tokens between two stages of a Swin: squares of 2 x 2 tokens become one of four times the length, which is
 * normalised and reduced to twice the length.
 *
 * @param name timm's name: {@code layers.0.downsample}
 * @param grid tokens along one side before, even
 * @param dim length of a token before
 */
public record MergingShape(String name, int grid, int dim) implements UnitShape {

    @Override
    public Value input() {
        return Value.of(name + ".input", grid * grid, dim);
    }

    @Override
    public Value output() {
        return Value.of(name, grid * grid / 4, 2 * dim);
    }

    @Override
    public List<Stage> stages() {
        Value squares = Value.of(name + ".squares", grid * grid / 4, 4 * dim);
        Value norm = Value.of(name + ".norm", grid * grid / 4, 4 * dim);
        return List.of(new Stage.Reorder(input(), order(), squares), new Stage.Norm(squares, name + ".norm", norm),
                new Stage.Linear(layer(LayerRole.REDUCTION), norm, output()));
    }

    @Override
    public List<Layer> layers() {
        return List.of(Layer.linear(name + "." + LayerRole.REDUCTION.suffix(), LayerRole.REDUCTION, 2 * dim, 4 * dim));
    }

    @Override
    public List<NormedLayers> normedLayers() {
        return List.of(new NormedLayers(name + ".norm", layers()));
    }

    @Override
    public Map<String, Shape> tensors() {
        Map<String, Shape> shapes = new LinkedHashMap<>();
        shapes.put(name + ".norm.weight", Shape.of(4 * dim));
        shapes.put(name + ".norm.bias", Shape.of(4 * dim));
        return shapes;
    }

    /**
     * Where the merged tokens come from: the four of a square one after the other, upper left, lower left, upper right,
     * lower right.
     */
    private TokenOrder order() {
        int[] order = new int[grid * grid];
        int next = 0;
        for (int row = 0; row < grid; row += 2) {
            for (int column = 0; column < grid; column += 2) {
                for (int corner = 0; corner < 4; corner++) {
                    order[next++] = (row + corner % 2) * grid + column + corner / 2;
                }
            }
        }
        return new TokenOrder(order);
    }
}
