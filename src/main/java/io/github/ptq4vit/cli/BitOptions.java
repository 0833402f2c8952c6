package io.github.ptq4vit.cli;

import io.github.ptq4vit.calibrate.BestConfig;
import io.github.ptq4vit.calibrate.BitTarget;
import io.github.ptq4vit.calibrate.Recipe;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.ModelException;
import io.github.ptq4vit.quant.BitWidths;
import java.math.BigDecimal;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine.Option;

/** Bit widths that differ from layer to layer. */
final class BitOptions {
    private static final Pattern SIZE = Pattern.compile("([0-9]{1,12}(?:\\.[0-9]{1,6})?) ?(k|M|G)?B?");
    private static final Map<String, Integer> POWERS = Map.of("k", 3, "M", 6, "G", 9);
    private static final Pattern WIDTHS = Pattern.compile("([2-8])|W([2-8])A([2-8])", Pattern.CASE_INSENSITIVE);

    /** Plans that have a name. */
    enum Plan {
        /** All layers alike. */
        UNIFORM,
        /** Patch embedding and classifier at 8 bits. */
        EDGES8
    }

    @Option(names = "--plan", paramLabel = "NAME", completionCandidates = Choices.Plans.class, defaultValue = "uniform",
            description = "Which layers have other bit widths: ${COMPLETION-CANDIDATES} (patch embedding and classifier at 8 bits).")
    private Plan plan;

    @Option(names = "--keep", paramLabel = "NAME=BITS", split = ",",
            description = {"Bit widths of layers by name or a part of it, for example head=8 or",
                "blocks.3.mlp.fc2=W4A8 or mlp.fc2=6."})
    private Map<String, String> keep = Map.of();

    @Option(names = "--exclude", paramLabel = "NAME", split = ",",
            description = "Layers that stay float32, by name or a part of it, for example head or blocks.0.")
    private List<String> exclude = List.of();

    @Option(names = "--avg-bits", paramLabel = "BITS",
            description = "Choose a bit width for every layer, at most so many on average.")
    private Optional<Double> averageBits = Optional.empty();

    @Option(names = "--max-drop", paramLabel = "POINTS",
            description = {"Choose a bit width for every layer, as few on average as lose at most so many points",
                "of accuracy, by measuring on the calibration images; takes several calibrations."})
    private Optional<Double> maxDrop = Optional.empty();

    @Option(names = "--size", paramLabel = "SIZE",
            description = "Choose a bit width for the weights of every layer, for a model of at most this size, for example 3MB.")
    private Optional<String> size = Optional.empty();

    /** Wrong use that shows without a model. */
    void check(Recipe recipe, CommonOptions common) {
        boolean used = plan != Plan.UNIFORM || !keep.isEmpty() || !exclude.isEmpty() || averageBits.isPresent() || maxDrop.isPresent()
                || size.isPresent();
        if (used && !(recipe instanceof BestConfig)) {
            throw common.wrong("--plan, --keep, --exclude, --avg-bits, --max-drop and --size give layers bit widths of their own with preset best, not "
                    + recipe.preset());
        }
        if (Stream.of(averageBits, maxDrop, size).filter(Optional::isPresent).count() > 1) {
            throw common.wrong("--avg-bits, --max-drop and --size are targets; choose one");
        }
        target(common);
    }

    /** The recipe with the bit widths asked for. */
    Recipe applied(Recipe recipe, Architecture model, CommonOptions common) {
        if (!(recipe instanceof BestConfig best)) {
            return recipe;
        }
        Map<String, BitWidths> exceptions = new HashMap<>();
        if (plan == Plan.EDGES8) {
            Stream.concat(Stream.of(model.embedding()), model.headLayers().stream())
                    .forEach(layer -> exceptions.put(layer.name(), new BitWidths(8, 8)));
        }
        keep.forEach((name, bits) -> {
            for (Layer layer : named(model, "--keep", name, common)) {
                exceptions.put(layer.name(), widths(name, bits, common));
            }
        });
        Set<String> excluded = exclude.stream().flatMap(name -> named(model, "--exclude", name, common).stream()).map(Layer::name)
                .collect(Collectors.toSet());
        return best.withPlan(best.plan().with(exceptions).without(excluded)).withTarget(target(common));
    }

    private static List<Layer> named(Architecture model, String option, String name, CommonOptions common) {
        try {
            return model.layersNamed(name);
        } catch (ModelException e) {
            throw common.wrong(option + " " + name + ": " + e.getMessage());
        }
    }

    private static BitWidths widths(String name, String bits, CommonOptions common) {
        Matcher matcher = WIDTHS.matcher(bits);
        if (!matcher.matches()) {
            throw common.wrong("--keep " + name + "=" + bits + ": bits are from 2 to 8, for example " + name + "=8 or " + name + "=W4A8");
        }
        return matcher.group(1) != null ? new BitWidths(Integer.parseInt(bits), Integer.parseInt(bits))
                : new BitWidths(Integer.parseInt(matcher.group(2)), Integer.parseInt(matcher.group(3)));
    }

    private Optional<BitTarget> target(CommonOptions common) {
        try {
            return averageBits.isPresent() ? averageBits.map(BitTarget.AverageBits::new)
                    : maxDrop.isPresent() ? maxDrop.map(BitTarget.MaxDrop::new)
                    : size.map(text -> new BitTarget.Size(bytes(text)));
        } catch (IllegalArgumentException e) {
            throw common.wrong(e.getMessage());
        }
    }

    private static long bytes(String text) {
        Matcher matcher = SIZE.matcher(text);
        if (!matcher.matches()) {
            throw new IllegalArgumentException("--size takes a number and a unit, for example 3MB or 900kB, not " + text);
        }
        int power = matcher.group(2) == null ? 0 : POWERS.get(matcher.group(2));
        return new BigDecimal(matcher.group(1)).movePointRight(power).longValue();
    }
}
