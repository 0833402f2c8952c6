package io.github.ptq4vit.cli;

import io.github.ptq4vit.calibrate.ActivationScales;
import io.github.ptq4vit.calibrate.Extension;
import io.github.ptq4vit.calibrate.GradientSource;
import io.github.ptq4vit.calibrate.Ingredient;
import io.github.ptq4vit.calibrate.Metric;
import io.github.ptq4vit.calibrate.SearchMode;
import io.github.ptq4vit.export.OnnxOptions;
import io.github.ptq4vit.quant.TwinRule;
import java.util.Arrays;
import java.util.Iterator;
import java.util.Locale;
import java.util.stream.Collectors;
import picocli.CommandLine;
import picocli.CommandLine.TypeConversionException;

/** Options that take one of several words: constants in lower case with hyphens. */
final class Choices {
    private Choices() {
    }

    static void register(CommandLine commands) {
        register(commands, Metric.class);
        register(commands, ActivationScales.class);
        register(commands, Extension.class);
        register(commands, Ingredient.class);
        register(commands, BitOptions.Plan.class);
        register(commands, GradientSource.class);
        register(commands, SearchMode.class);
        register(commands, TwinRule.class);
        register(commands, OnnxOptions.Target.class);
        register(commands, OnnxOptions.WeightType.class);
        register(commands, ExportCommand.Format.class);
    }

    /** A constant as the word for it. */
    static String word(Enum<?> constant) {
        return constant.name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    private static <E extends Enum<E>> void register(CommandLine commands, Class<E> type) {
        commands.registerConverter(type, text -> Arrays.stream(type.getEnumConstants())
                .filter(constant -> word(constant).equals(text)).findFirst()
                .orElseThrow(() -> new TypeConversionException("'" + text + "' is none of " + words(type))));
    }

    private static String words(Class<? extends Enum<?>> type) {
        return Arrays.stream(type.getEnumConstants()).map(Choices::word).collect(Collectors.joining(", "));
    }

    /** The words of an option, for its help. */
    static class Words<E extends Enum<E>> implements Iterable<String> {
        private final Class<E> type;

        Words(Class<E> type) {
            this.type = type;
        }

        @Override
        public Iterator<String> iterator() {
            return Arrays.stream(type.getEnumConstants()).map(Choices::word).iterator();
        }
    }

    static final class Activations extends Words<ActivationScales> {
        Activations() {
            super(ActivationScales.class);
        }
    }

    static final class Extensions extends Words<Extension> {
        Extensions() {
            super(Extension.class);
        }
    }

    static final class Ingredients extends Words<Ingredient> {
        Ingredients() {
            super(Ingredient.class);
        }
    }

    static final class Plans extends Words<BitOptions.Plan> {
        Plans() {
            super(BitOptions.Plan.class);
        }
    }

    static final class Metrics extends Words<Metric> {
        Metrics() {
            super(Metric.class);
        }
    }

    static final class Gradients extends Words<GradientSource> {
        Gradients() {
            super(GradientSource.class);
        }
    }

    static final class Searches extends Words<SearchMode> {
        Searches() {
            super(SearchMode.class);
        }
    }

    static final class TwinRules extends Words<TwinRule> {
        TwinRules() {
            super(TwinRule.class);
        }
    }
}
