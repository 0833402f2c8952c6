package io.github.ptq4vit.golden;

import com.fasterxml.jackson.databind.JsonNode;
import io.github.ptq4vit.tensor.SafetensorsFile;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** One calibration of a golden network: a configuration, bit widths and a gradient. */
public final class GoldenRun {
    private final String name;
    private final JsonNode facts;
    private final SafetensorsFile file;

    /** What a search chooses the scale of. */
    public enum Operand {
        WEIGHT("w"), ACTIVATION("a"), LEFT("A"), RIGHT("B");

        private final String letter;

        Operand(String letter) {
            this.letter = letter;
        }

        /** {@code w}, {@code a}, {@code A} or {@code B}. */
        public String letter() {
            return letter;
        }

        static Operand of(String letter) {
            for (Operand operand : values()) {
                if (operand.letter.equals(letter)) {
                    return operand;
                }
            }
            throw new IllegalArgumentException("No operand \"" + letter + "\"");
        }
    }

    /**
     * One search: all candidates of one operand in one round.
     *
     * @param round from 0
     * @param curve score of every candidate, larger is better, [candidates, groups]
     * @param best index chosen, per group
     */
    public record Search(int round, Operand operand, Tensor curve, int[] best) {
        public int candidates() {
            return curve.shape().size(0);
        }

        public int groups() {
            return curve.shape().size(1);
        }
    }

    GoldenRun(String name, JsonNode facts, SafetensorsFile file) {
        this.name = name;
        this.facts = facts;
        this.file = file;
    }

    public String name() {
        return name;
    }

    /** {@code PTQ4ViT} or {@code BasePTQ}. */
    public String config() {
        return facts.get("config").textValue();
    }

    public int weightBits() {
        return facts.get("w_bit").intValue();
    }

    public int activationBits() {
        return facts.get("a_bit").intValue();
    }

    /** {@code reference}, {@code pseudolabel}, {@code cosine} or {@code hessian-pseudolabel}. */
    public String grad() {
        return facts.get("grad").textValue();
    }

    /** {@code hessian} or {@code cosine}. */
    public String metric() {
        return facts.get("metric").textValue();
    }

    /** Rounds of the alternating search. */
    public int rounds() {
        return config().equals("PTQ4ViT") ? 3 : 1;
    }

    /** The first candidate is this times the initial interval, the one behind the last 1.2 times. */
    public double alpha() {
        return config().equals("PTQ4ViT") ? 0.01 : 0.5;
    }

    /** A number of golden.json: {@code calib_logit_mse}, {@code heldout_logit_mse}, {@code heldout_KL} and so on. */
    public double fact(String key) {
        return facts.get(key).doubleValue();
    }

    /** The layers whose searches are here, with the classes they had in this run. */
    public List<GoldenFolder.Layer> layers() {
        return facts.get("layers").properties().stream()
                .map(entry -> new GoldenFolder.Layer(entry.getKey(), entry.getValue().get("class").textValue()))
                .toList();
    }

    /** The searches of a layer in the order they were made. */
    public List<Search> searches(String layer) {
        List<Search> searches = new ArrayList<>();
        for (JsonNode search : facts.get("layers").get(layer).get("search")) {
            int round = search.get("round").intValue();
            String letter = search.get("what").textValue();
            String key = ".r" + round + "." + letter;
            searches.add(new Search(round, Operand.of(letter), file.read(layer + ".curve" + key),
                    file.readInts(layer + ".best" + key)));
        }
        return searches;
    }

    /**
     * A final interval, flat: one number per group.
     *
     * @param what {@code w_interval}, {@code a_interval}, {@code a_neg_interval}, {@code A_interval},
     *     {@code B_interval} or {@code split}
     */
    public Optional<float[]> interval(String layer, String what) {
        return optional(layer, what).map(Tensor::toArray);
    }

    /** Integer codes of the quantised weight, row-major in the weight's layout. */
    public Optional<byte[]> weightCodes(String layer) {
        String key = layer + ".w_int";
        return file.contains(key) ? Optional.of(file.readBytes(key)) : Optional.empty();
    }

    /** The quantised layer's output on the golden input. */
    public Optional<Tensor> quantOutput(String layer) {
        return optional(layer, "quant_output");
    }

    /** Logits of the calibration images with every layer quantised, [images, classes]. */
    public Tensor quantLogits() {
        return file.read("quant_logits");
    }

    /** Logits of the held-out images with every layer quantised, [images, classes]. */
    public Tensor heldoutQuantLogits() {
        return file.read("heldout_quant_logits");
    }

    @Override
    public String toString() {
        return name;
    }

    void close() {
        file.close();
    }

    private Optional<Tensor> optional(String layer, String what) {
        String key = layer + "." + what;
        return file.contains(key) ? Optional.of(file.read(key)) : Optional.empty();
    }
}
