package io.github.ptq4vit.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** What {@link KernelCounts} has predicted for one of the cards, read from the table that it printed. */
final class Predictions {
    private final String card;
    private final Map<String, Prediction> byKernelAndShape = new HashMap<>();

    /**
     * Time of a kernel.
     *
     * @param bound what takes it
     */
    record Prediction(double milliseconds, String bound) {
    }

    /** Those for the card whose name is part of the device's, the first of {@link Card#ALL} otherwise. */
    Predictions(Path file, String device) throws IOException {
        this.card = Card.ALL.stream().map(Card::name).filter(name -> device.contains(name.split(" ")[0])).findFirst()
                .orElse(Card.ALL.get(0).name());
        int bound = -1;
        for (String line : Files.readAllLines(file)) {
            List<String> cells = Arrays.stream(line.split("\\|")).map(String::strip).toList();
            if (cells.contains(card + ": bound by")) {
                bound = cells.indexOf(card + ": bound by");
            } else if (bound > 0 && line.startsWith("| `")) {
                byKernelAndShape.put(cells.get(1).replace("`", "") + ", " + cells.get(2),
                        new Prediction(Double.parseDouble(cells.get(bound + 1)), cells.get(bound)));
            }
        }
        if (byKernelAndShape.isEmpty()) {
            throw new IOException(file + " holds no predictions for " + card);
        }
    }

    String card() {
        return card;
    }

    Optional<Prediction> of(String kernel, String shape) {
        return Optional.ofNullable(byKernelAndShape.get(kernel + ", " + shape));
    }
}
