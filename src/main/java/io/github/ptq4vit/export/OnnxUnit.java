package io.github.ptq4vit.export;

import static io.github.ptq4vit.export.OnnxGraph.attribute;

import io.github.ptq4vit.model.BlockShape;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.model.Stage;
import io.github.ptq4vit.model.UnitShape;
import io.github.ptq4vit.model.Windows;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Writes a unit of a network into a graph, stage by stage; operators are named like the arrays of the unit. What attention does from
 * queries, keys and values to scores, and to the context, is up to the {@link OnnxProducts}.
 */
final class OnnxUnit {
    private final OnnxNetwork network;
    private final OnnxGraph graph;
    private final UnitShape shape;
    /** The graph's name of each array. */
    private final Map<String, String> names = new HashMap<>();
    private Optional<OnnxProducts.Attention> attention = Optional.empty();

    OnnxUnit(OnnxNetwork network, UnitShape shape) {
        this.network = network;
        this.graph = network.graph;
        this.shape = shape;
    }

    /** From the tokens that go in to those that come out. */
    String write(String tokens) {
        names.put(shape.input().array(), tokens);
        for (Stage stage : shape.stages()) {
            String name = stage.output().array();
            names.put(name, write(stage, names.get(stage.input().array()), name));
        }
        return names.get(shape.output().array());
    }

    private String write(Stage stage, String x, String name) {
        if (stage instanceof Stage.Norm norm) {
            return network.norm(norm.name(), name, x);
        }
        if (stage instanceof Stage.Reorder reorder) {
            return reorder(reorder, x, name);
        }
        if (stage instanceof Stage.Linear linear) {
            return linear(linear, x);
        }
        if (stage instanceof Stage.Product product) {
            return product(product, x, name);
        }
        if (stage instanceof Stage.Multiply multiply) {
            // the fixed factor of queries comes with the scores
            return multiply.learnt().map(factors -> graph.add("Mul", name,
                    List.of(x, graph.floats(factors, network.model.vector(factors))))).orElse(x);
        }
        if (stage instanceof Stage.Bias bias) {
            return bias(bias, x, name);
        }
        if (stage instanceof Stage.Softmax) {
            // so does the factor of the scores
            return graph.add("Softmax", name, List.of(x), attribute("axis", OnnxNetwork.LAST));
        }
        if (stage instanceof Stage.Activate activate) {
            return activate(activate, x, name);
        }
        return graph.add("Add", name, List.of(names.get(((Stage.Add) stage).other().array()), x));
    }

    private String reorder(Stage.Reorder stage, String x, String name) {
        boolean merged = !stage.input().sizes().equals(stage.output().sizes());
        String gathered = merged ? shape.name() + ".order" : name;
        String y = graph.add("Gather", gathered, List.of(x, graph.integers(gathered + ".places",
                Arrays.stream(stage.order().places()).asLongStream().toArray())), attribute("axis", 1));
        return merged ? graph.add("Reshape", name, List.of(y, graph.integers(shape.name() + ".sizes", 0,
                stage.output().sizes().size(0), stage.output().sizes().size(1)))) : y;
    }

    private String linear(Stage.Linear stage, String x) {
        if (stage.layer().role() != LayerRole.QKV) {
            return network.products.linear(stage.layer(), x);
        }
        attention = Optional.of(network.products.attention((BlockShape) shape, x));
        // nothing else reads these
        return stage.output().array();
    }

    private String product(Stage.Product stage, String x, String name) {
        if (stage.layer().role() == LayerRole.QUERY_KEY) {
            return attention.orElseThrow().scores();
        }
        String rows = graph.add("Transpose", name + ".rows", List.of(attention.orElseThrow().context(x)), attribute("perm", 0, 2, 1, 3));
        return graph.add("Reshape", name, List.of(rows, graph.integers(name + ".sizes", OnnxNetwork.LAST,
                stage.output().sizes().size(0), stage.output().sizes().size(1))));
    }

    /** Adds the bias of relative positions to scores {@code [batch * windows, heads, n, n]}. */
    private String bias(Stage.Bias stage, String x, String name) {
        Windows windows = stage.windows();
        String bias = graph.floats(name, windows.bias(network.model.tensor(stage.table())));
        if (windows.shift() == 0) {
            return graph.add("Add", name + ".sum", List.of(x, bias));
        }
        int heads = stage.output().sizes().size(1);
        int n = windows.tokens();
        String byImage = graph.add("Reshape", name + ".images", List.of(x,
                graph.integers(name + ".images.sizes", OnnxNetwork.LAST, windows.count(), heads, n, n)));
        String sum = graph.add("Add", name + ".sum", List.of(byImage, bias));
        return graph.add("Reshape", name + ".windows", List.of(sum,
                graph.integers(name + ".windows.sizes", OnnxNetwork.LAST, heads, n, n)));
    }

    private String activate(Stage.Activate stage, String x, String name) {
        return switch (stage.activation()) {
            case GELU -> gelu(x, name);
            case SWIGLU -> {
                List<String> halves = graph.split(name + ".halves", x, 2);
                String silu = graph.add("Mul", name + ".silu", List.of(halves.get(0),
                        graph.add("Sigmoid", name + ".sigmoid", List.of(halves.get(0)))));
                yield graph.add("Mul", name, List.of(silu, halves.get(1)));
            }
        };
    }

    private String gelu(String x, String name) {
        if (network.options.opset() >= OnnxOptions.GELU) {
            return graph.add("Gelu", name, List.of(x));
        }
        String scaled = graph.add("Div", name + ".scaled", List.of(x, graph.scalar(name + ".root_of_two", (float) Math.sqrt(2))));
        String erf = graph.add("Add", name + ".erf_and_one", List.of(graph.add("Erf", name + ".erf", List.of(scaled)),
                graph.scalar(name + ".one", 1)));
        String product = graph.add("Mul", name + ".doubled", List.of(x, erf));
        return graph.add("Mul", name, List.of(product, graph.scalar(name + ".half", 0.5f)));
    }
}
