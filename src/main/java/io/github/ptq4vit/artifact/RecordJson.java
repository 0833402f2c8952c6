package io.github.ptq4vit.artifact;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.Quantizer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/**
 * The record of a calibration as JSON. It says of which file it is, {@code manifest.json} or a part, by that file's SHA-256, and has a
 * SHA-256 of itself, in which the digits of that very field count as zeros: so neither file can change without the other.
 */
final class RecordJson {
    /** Beside the manifest. */
    static final String FILE = "record.json";
    private static final String FORMAT = "ptq4vit calibration record";
    private static final int VERSION = 1;
    private static final String DIGEST = "sha256";
    private static final String OF = "of_sha256";
    private static final String CURVES = "curves";
    private static final String HISTOGRAMS = "histograms";
    private static final String BY_BITS = "cost_by_bits";
    private static final String CHECK = "loss_check";
    private static final String UNKNOWN = "0".repeat(64);
    private static final int MOST_GROUP = 1 << 20;

    private final Map<String, LayerPlace> places;

    RecordJson(Architecture config) {
        this.places = LayerPlace.of(config);
    }

    /**
     * As a file.
     *
     * @param of SHA-256 of the file that the record is of
     */
    byte[] write(String of, List<LayerRecord> records) {
        ObjectNode root = JsonNodeFactory.instance.objectNode();
        root.put("format", FORMAT).put("format_version", VERSION).put(DIGEST, UNKNOWN).put(OF, of);
        ArrayNode layers = root.putArray("layers");
        Map<Integer, LayerRecord> sorted = new TreeMap<>();
        List<String> order = List.copyOf(places.keySet());
        records.forEach(record -> sorted.put(order.indexOf(record.layer()), record));
        sorted.values().forEach(record -> layers.add(layer(record, places.get(record.layer()).layer().role())));
        byte[] text = ManifestJson.bytes(root);
        return withDigest(text, UNKNOWN, Fingerprints.ofBytes(text));
    }

    private static byte[] withDigest(byte[] text, String digest, String other) {
        return new String(text, StandardCharsets.UTF_8).replaceFirst(digest, other).getBytes(StandardCharsets.UTF_8);
    }

    private static ObjectNode layer(LayerRecord record, LayerRole role) {
        ObjectNode node = JsonNodeFactory.instance.objectNode().put("name", record.layer());
        put(node, "cost", record.cost().all());
        put(node, name(Operand.LEFT, role) + "_cost", record.cost().left());
        put(node, name(Operand.RIGHT, role) + "_cost", record.cost().right());
        ArrayNode curves = node.putArray(CURVES);
        for (LayerRecord.Curve curve : record.curves()) {
            ObjectNode one = curves.addObject().put("operand", name(curve.operand(), role)).put("group", curve.group());
            one.set("candidates", QuantizerJson.write(curve.candidates()));
            curve.losses().forEach(one.putArray("losses")::add);
        }
        record.byBits().ifPresent(costs -> {
            ObjectNode one = node.putObject(BY_BITS).put("from", BitWidths.MIN).put("to", BitWidths.MAX);
            costs.weights().forEach(one.putArray("weights")::add);
            costs.activations().forEach(one.putArray("activations")::add);
        });
        record.check().ifPresent(check -> {
            ObjectNode one = node.putObject(CHECK);
            put(one, "expected", check.expected());
            put(one, "before", check.before());
            put(one, "after", check.after());
            put(one, name(Operand.LEFT, role) + "_factor", check.leftFactor());
            put(one, name(Operand.RIGHT, role) + "_factor", check.rightFactor());
        });
        ObjectNode histograms = node.putObject(HISTOGRAMS);
        record.left().ifPresent(histogram -> histograms.set(name(Operand.LEFT, role), histogram(histogram)));
        record.right().ifPresent(histogram -> histograms.set(name(Operand.RIGHT, role), histogram(histogram)));
        return node;
    }

    /** NaN and infinity are null. */
    private static void put(ObjectNode node, String name, double number) {
        if (Double.isFinite(number)) {
            node.put(name, number);
        } else {
            node.putNull(name);
        }
    }

    private static ObjectNode histogram(LayerRecord.Histogram histogram) {
        ObjectNode node = JsonNodeFactory.instance.objectNode().put("low", histogram.low()).put("high", histogram.high());
        histogram.counts().forEach(node.putArray("counts")::add);
        return node;
    }

    /**
     * Reads a file.
     *
     * @param of SHA-256 of the file that it should be a record of
     * @throws ArtifactException if it is damaged, or of another file
     */
    List<LayerRecord> read(Path file, String of) {
        byte[] text = Disk.read(file);
        Fields fields = ManifestJson.fields(file, text);
        fields.word("format", Set.of(FORMAT));
        fields.integer("format_version", VERSION, VERSION);
        String digest = fields.hash(DIGEST);
        String found = Fingerprints.ofBytes(withDigest(text, digest, UNKNOWN));
        if (!found.equals(digest)) {
            throw fields.wrong(DIGEST, found + " of the file", digest);
        }
        if (!fields.hash(OF).equals(of)) {
            throw fields.wrong(OF, of + " of the file that it is a record of", fields.hash(OF));
        }
        List<LayerRecord> records = new ArrayList<>();
        Set<String> seen = new HashSet<>();
        for (Fields element : fields.objects("layers")) {
            Fields layer = element.ofLayer(element.word("name", places.keySet()));
            records.add(layer(layer, places.get(layer.text("name")).layer().role()));
            if (!seen.add(layer.text("name"))) {
                throw layer.wrong("name", "a name that is there once", layer.text("name"));
            }
        }
        fields.done();
        return records;
    }

    private static LayerRecord layer(Fields fields, LayerRole role) {
        LayerRecord.Cost cost = new LayerRecord.Cost(fields.decimal("cost"), fields.decimal(name(Operand.LEFT, role) + "_cost"),
                fields.decimal(name(Operand.RIGHT, role) + "_cost"));
        List<LayerRecord.Curve> curves = fields.objects(CURVES).stream().map(curve -> curve(curve, role)).toList();
        Fields histograms = fields.object(HISTOGRAMS);
        LayerRecord record = new LayerRecord(fields.text("name"), cost, curves,
                fields.has(BY_BITS) ? Optional.of(byBits(fields.object(BY_BITS))) : Optional.empty(),
                fields.has(CHECK) ? Optional.of(check(fields.object(CHECK), role)) : Optional.empty(),
                histogram(histograms, name(Operand.LEFT, role)), histogram(histograms, name(Operand.RIGHT, role)));
        histograms.done();
        fields.done();
        return record;
    }

    private static LayerRecord.Curve curve(Fields fields, LayerRole role) {
        Operand operand = fields.word("operand", Set.of(ManifestJson.left(role), ManifestJson.right(role)))
                .equals(ManifestJson.left(role)) ? Operand.LEFT : Operand.RIGHT;
        List<Quantizer> candidates = QuantizerJson.read(fields, "candidates", QuantizerJson.KINDS);
        List<Float> losses = new ArrayList<>();
        for (float loss : fields.numbers("losses", candidates.size())) {
            losses.add(loss);
        }
        LayerRecord.Curve curve = new LayerRecord.Curve(operand, fields.integer("group", 0, MOST_GROUP), candidates, losses);
        fields.done();
        return curve;
    }

    private static LayerRecord.ByBits byBits(Fields fields) {
        int from = fields.integer("from", BitWidths.MIN, BitWidths.MIN);
        int widths = fields.integer("to", BitWidths.MAX, BitWidths.MAX) - from + 1;
        LayerRecord.ByBits costs = new LayerRecord.ByBits(DoubleStream.of(fields.decimals("weights", widths)).boxed().toList(),
                DoubleStream.of(fields.decimals("activations", widths)).boxed().toList());
        fields.done();
        return costs;
    }

    private static LayerRecord.Check check(Fields fields, LayerRole role) {
        LayerRecord.Check check = new LayerRecord.Check(fields.decimal("expected"), fields.decimal("before"), fields.decimal("after"),
                fields.decimal(name(Operand.LEFT, role) + "_factor"), fields.decimal(name(Operand.RIGHT, role) + "_factor"));
        fields.done();
        return check;
    }

    private static Optional<LayerRecord.Histogram> histogram(Fields parent, String operand) {
        if (!parent.has(operand)) {
            return Optional.empty();
        }
        Fields fields = parent.object(operand);
        float low = fields.number("low");
        float high = fields.number("high");
        if (low > high) {
            throw fields.wrong("high", "no less than " + low, high);
        }
        LayerRecord.Histogram histogram = new LayerRecord.Histogram(low, high, IntStream.of(fields.integers("counts",
                LayerRecord.Histogram.BINS, 0, Integer.MAX_VALUE)).boxed().toList());
        fields.done();
        return Optional.of(histogram);
    }

    private static String name(Operand operand, LayerRole role) {
        return operand == Operand.LEFT ? ManifestJson.left(role) : ManifestJson.right(role);
    }
}
