package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.Distribution;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.stream.IntStream;

/** PTQ4ViT: which operands have which quantisers and groups, and in which order they are searched. */
final class LayerCalibration implements LayerQuantization {
    private final Calibrating calibrating;
    private final Backend backend;
    private final Parallel parallel;
    private final OperandHistograms histograms;
    private final VisionTransformer model;
    private final CalibrationConfig config;
    private final Timings timings;
    private final LossCheck check;

    LayerCalibration(Calibrating calibrating, CalibrationConfig config) {
        this.calibrating = calibrating;
        this.backend = calibrating.backend();
        this.histograms = new OperandHistograms(backend);
        this.parallel = new Parallel(backend);
        this.model = calibrating.model();
        this.config = config;
        this.timings = calibrating.timings();
        this.check = new LossCheck(calibrating, config);
    }

    @Override
    public Outcome quantize(LayerData data, int unit) {
        Outcome found = searched(data);
        return timings.time("loss check", () -> check.confirmed(unit, data, found));
    }

    private Outcome searched(LayerData data) {
        try (Scope scope = backend.scope()) {
            return data.layer().role().isMatmul() ? attention(data, scope) : linear(data, scope);
        }
    }

    private Outcome linear(LayerData data, Scope scope) {
        LayerRole role = data.layer().role();
        float[] weight = model.weight(data.layer()).toArray();
        boolean channelwise = config.extensions().contains(Extension.CHANNELWISE_WEIGHTS) && !comparesRows();
        int groups = channelwise ? data.output().size(1) : switch (role) {
            case QKV -> 3;
            case PATCH_EMBEDDING -> config.channelwisePatches() && !comparesRows() ? data.output().size(1) : 1;
            default -> 1;
        };
        MatmulProblem problem = timings.time("lay out", () ->
                new ProblemBuilder(backend, scope, config.metric()).linear(data, model.weight(data.layer()), model.bias(data.layer()), groups));
        Candidates right = Candidates.uniform(maxima(weight, groups), config.bits().weights(), config);
        boolean inputQuantized = role != LayerRole.PATCH_EMBEDDING;
        Candidates left = inputQuantized ? timings.time("lay out", () -> inputs(data)) : new Candidates(List.of(), List.of());
        ScaleSearch search = search(data, problem, left, right, scope);
        if (inputQuantized) {
            search.run(config.rounds(), Operand.RIGHT, Operand.LEFT);
        } else {
            search.run(config.rounds(), Operand.RIGHT);
        }
        return new Outcome(new QuantizedLayer(data.layer().name(), search.bestLeft(), search.bestRight(),
                QuantizedLayer.codes(weight, search.bestRight())), search.traces(), record(data, search,
                        () -> histograms.ofRows(data.left(), (rows, inner) -> rows), () -> OperandHistograms.of(weight)));
    }

    /** Whether the metric compares rows as a whole; a single column has no direction to compare. */
    private boolean comparesRows() {
        return config.metric() == Metric.COSINE || config.metric() == Metric.PEARSON;
    }

    private Candidates inputs(LayerData data) {
        View rows = data.left().reshape(data.left().size(0), 1, data.left().size(1));
        int bits = config.bits().activations();
        return config.twin() && data.layer().input() == Distribution.GELU
                ? Candidates.geluTwin(parallel.maxima(rows, false)[0], bits, config)
                : Candidates.uniform(parallel.maxima(rows, true), bits, config);
    }

    private Outcome attention(LayerData data, Scope scope) {
        MatmulProblem problem = timings.time("lay out", () ->
                new ProblemBuilder(backend, scope, config.metric()).attention(data));
        int bits = config.bits().activations();
        boolean twin = config.twin() && data.layer().input() == Distribution.SOFTMAX;
        Candidates left = twin ? Candidates.softmaxTwin(bits, config.twinRule(),
                config.extensions().contains(Extension.HEADWISE_THRESHOLDS) ? data.left().size(1) : 1)
                : Candidates.uniform(perHead(data.left(), scope), bits, config);
        Candidates right = Candidates.uniform(perHead(data.right().orElseThrow(), scope), bits, config);
        ScaleSearch search = search(data, problem, left, right, scope);
        search.run(config.rounds(), Operand.LEFT, Operand.RIGHT);
        return new Outcome(new QuantizedLayer(data.layer().name(), search.bestLeft(), search.bestRight(), new byte[0]),
                search.traces(), record(data, search, () -> histograms.ofProducts(data.left()),
                        () -> histograms.ofProducts(data.right().orElseThrow())));
    }

    private LayerRecord record(LayerData data, ScaleSearch search, Supplier<LayerRecord.Histogram> left,
            Supplier<LayerRecord.Histogram> right) {
        return timings.time("record", () -> new LayerRecord(data.layer().name(),
                new LayerRecord.Cost(calibrating.nats(loss(search.traces())), Double.NaN, Double.NaN), search.curves(), Optional.empty(),
                Optional.empty(), Optional.of(left.get()), Optional.of(right.get())));
    }

    /** Of the last search, in which both operands were quantised. */
    private double loss(List<SearchTrace> traces) {
        SearchTrace last = traces.get(traces.size() - 1);
        return config.metric() == Metric.HESSIAN ? IntStream.range(0, last.chosen().length).mapToDouble(last::loss).sum() : Double.NaN;
    }

    private ScaleSearch search(LayerData data, MatmulProblem problem, Candidates left, Candidates right, Scope scope) {
        return new ScaleSearch(backend.scoring(scope, problem), timings, data.layer(), left, right, config.search(),
                ProblemBuilder.parts(problem));
    }

    private float[] perHead(View operand, Scope scope) {
        return timings.time("lay out", () -> {
            View plain = parallel.dense(operand, scope);
            return parallel.maxima(plain.reshape(plain.size(0), plain.size(1), plain.size(2) * plain.size(3)), true);
        });
    }

    /** Largest magnitude of each group of consecutive rows. */
    private static float[] maxima(float[] weight, int groups) {
        float[] maxima = new float[groups];
        int size = weight.length / groups;
        for (int group = 0; group < groups; group++) {
            for (int i = group * size; i < (group + 1) * size; i++) {
                maxima[group] = Math.max(maxima[group], Math.abs(weight[i]));
            }
        }
        return maxima;
    }
}
