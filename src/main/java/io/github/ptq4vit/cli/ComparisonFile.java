package io.github.ptq4vit.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.artifact.ArtifactException;
import io.github.ptq4vit.evaluate.Comparison.Tally;
import io.github.ptq4vit.tensor.WholeFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * How far a comparison is, on disk: {@code comparison.json} in its folder, replaced as a whole after every part of the
 * images.
 */
final class ComparisonFile {
    private static final String NAME = "comparison.json";

    private final Path file;
    private final String settings;

    /**
     * Counts of the first images.
     *
     * @param done images of the folder that were looked at, damaged ones included
     * @param skipped of them, those that are damaged
     * @param tallies one for each model
     */
    record State(int done, int skipped, List<Tally> tallies) {
    }

    /** @param settings all that decides the counts; a comparison of others is not continued */
    ComparisonFile(Path folder, String settings) {
        this.file = folder.resolve(NAME);
        this.settings = settings;
    }

    /**
     * Where an earlier run stopped, or the beginning.
     *
     * @param models number of models that are compared
     * @param images number of images in the folder
     * @throws ArtifactException if it is of another comparison, or says what cannot be
     */
    State read(int models, int images) {
        if (!Files.exists(file)) {
            return new State(0, 0, Collections.nCopies(models, Tally.NONE));
        }
        try {
            JsonNode root = Console.reader().readTree(Files.readAllBytes(file));
            if (!root.path("settings").asText().equals(settings)) {
                throw new ArtifactException(file + ": is of a comparison with other settings or images, \""
                        + root.path("settings").asText() + "\" instead of \"" + settings + "\"; choose another --out");
            }
            int done = count(root, "done", images);
            int skipped = count(root, "skipped", done);
            List<Tally> tallies = new ArrayList<>();
            for (JsonNode t : root.path("tallies")) {
                int counted = count(t, "images", done - skipped);
                if (counted < done - skipped) {
                    throw wrong("images", done - skipped + ", those that were looked at and not left out", counted);
                }
                int top5 = count(t, "top5", counted);
                tallies.add(new Tally(counted, count(t, "top1", top5), top5, count(t, "agreeing", counted)));
            }
            if (tallies.size() != models) {
                throw wrong("tallies", "one for each of " + models + " models", tallies.size());
            }
            return new State(done, skipped, tallies);
        } catch (JsonProcessingException e) {
            throw new ArtifactException(file + ": is damaged, it is not JSON; delete it to count anew", e);
        } catch (IOException e) {
            throw new ArtifactException(file + ": cannot be read (" + e.getMessage() + ")", e);
        }
    }

    private int count(JsonNode node, String name, int most) {
        JsonNode count = node.path(name);
        if (!count.isInt() || count.intValue() < 0 || count.intValue() > most) {
            throw wrong(name, "a whole number from 0 to " + most, count.isMissingNode() ? "nothing" : count);
        }
        return count.intValue();
    }

    private ArtifactException wrong(String name, String expected, Object found) {
        return new ArtifactException(file + ": is damaged: field " + name + ": expected is " + expected + ", found is " + found
                + "; delete it to count anew");
    }

    void write(State state) {
        ObjectNode root = Console.object().put("settings", settings).put("done", state.done).put("skipped", state.skipped);
        ArrayNode tallies = root.putArray("tallies");
        state.tallies.forEach(t -> tallies.addObject().put("images", t.images()).put("top1", t.top1()).put("top5", t.top5())
                .put("agreeing", t.agreeing()));
        try {
            WholeFile.write(file, (root.toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8));
        } catch (IOException e) {
            throw new ArtifactException(file + ": cannot be written (" + e.getMessage() + "); make room or check the rights of "
                    + file.getParent(), e);
        }
    }
}
