package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiConsumer;
import java.util.function.Consumer;

/** One calibration from beginning to end: quantises the layers that a {@link LayerWalk} shows. */
final class CalibrationRun {
    private VisionTransformer model;
    private final Optional<VisionTransformer> transformed;
    private final Consumer<VisionTransformer> onNetwork;
    private final Backend backend;
    private Recipe recipe;
    private final CalibrationImages images;
    private final Progress progress;
    private final Map<String, List<QuantizedLayer>> known;
    private final BiConsumer<String, List<QuantizedLayer>> onUnit;
    private final Timings timings = new Timings();
    private final Map<String, QuantizedLayer> layers = new HashMap<>();
    private final List<SearchTrace> traces = new ArrayList<>();
    private final Map<String, LayerRecord> records = new HashMap<>();
    private final Consumer<LayerRecord> onRecord;
    private final Map<String, LayerCost> byBits = new HashMap<>();
    private final int layerCount;

    CalibrationRun(VisionTransformer model, Backend backend, Recipe recipe, CalibrationImages images, Progress progress,
            Map<String, List<QuantizedLayer>> known, BiConsumer<String, List<QuantizedLayer>> onUnit,
            Optional<VisionTransformer> transformed, Consumer<VisionTransformer> onNetwork, List<LayerRecord> knownRecords,
            Consumer<LayerRecord> onRecord) {
        this.transformed = transformed;
        this.onNetwork = onNetwork;
        this.model = model;
        this.backend = backend;
        this.recipe = recipe;
        this.images = images;
        this.progress = progress;
        this.known = known;
        this.onUnit = onUnit;
        this.onRecord = onRecord;
        knownRecords.forEach(record -> records.put(record.layer(), record));
        this.layerCount = model.config().layers().size();
    }

    CalibrationResult run() {
        long start = System.nanoTime();
        Map<String, Double> scoringBefore = backend.scoringSeconds();
        network();
        new LayerWalk(model, backend, recipe.loss(), recipe.shown(images), timings).run(walked -> {
            progress.advanced("forward pass", 0, layerCount);
            LayerQuantization quantization = recipe.quantization(new Calibrating(model, backend, walked, timings));
            return (name, index, data, scope) -> unit(name, index, data, scope, quantization);
        });
        double seconds = (System.nanoTime() - start) / 1e9;
        timings.scored(scoringBefore, backend.scoringSeconds());
        List<String> order = model.config().layers().stream().map(Layer::name).toList();
        traces.sort(Comparator.comparingInt(trace -> order.indexOf(trace.layer())));
        double searching = timings.seconds().entrySet().stream().filter(e -> e.getKey().startsWith("search"))
                .mapToDouble(Map.Entry::getValue).sum();
        return new CalibrationResult(recipe, model, images.ids(), order.stream().map(layers::get).toList(), List.copyOf(traces),
                order.stream().filter(records::containsKey).map(records::get).toList(), seconds, searching, timings);
    }

    /** From here on the model is the one that is quantised, and the recipe has bit widths for every layer. */
    private void network() {
        VisionTransformer network = transformed.orElseGet(() -> recipe.transformed(model, backend, images, timings));
        if (network != model && transformed.isEmpty()) {
            onNetwork.accept(network);
        }
        model = network;
        Recipe.Planned planned = recipe.planned(network, backend, images, timings, progress);
        recipe = planned.recipe();
        planned.costs().forEach(cost -> byBits.put(cost.layer(), cost));
    }

    private void record(LayerRecord found) {
        LayerCost cost = byBits.get(found.layer());
        LayerRecord record = cost == null ? found : found.withByBits(cost.byBits());
        records.put(record.layer(), record);
        onRecord.accept(record);
    }

    /** Quantises layers, the last first; what is not needed for the rest is freed from the scope, which owns their arrays. */
    private void unit(String name, int index, List<LayerData> data, Scope scope, LayerQuantization quantization) {
        List<QuantizedLayer> found = known.get(name);
        if (found == null) {
            found = new ArrayList<>();
            for (int i = data.size() - 1; i >= 0; i--) {
                LayerData layer = data.get(i);
                scope.keepOnly(data.subList(0, i + 1).stream().flatMap(LayerData::arrays).toList());
                LayerQuantization.Outcome outcome = quantization.quantize(layer, index);
                found.add(0, outcome.layer());
                traces.addAll(outcome.traces());
                record(outcome.record());
                progress.advanced(layer.layer().name(), layers.size() + found.size(), layerCount);
            }
            onUnit.accept(name, List.copyOf(found));
        }
        found.forEach(layer -> layers.put(layer.name(), layer));
        progress.advanced(name, layers.size(), layerCount);
    }
}
