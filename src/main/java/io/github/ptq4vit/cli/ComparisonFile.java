package io.github.ptq4vit.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.artifact.ArtifactException;
import io.github.ptq4vit.evaluate.Comparison.Tally;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
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

    /** Where an earlier run stopped, or the beginning. */
    State read(int models) {
        if (!Files.exists(file)) {
            return new State(0, 0, Collections.nCopies(models, Tally.NONE));
        }
        try {
            JsonNode root = Console.reader().readTree(Files.readAllBytes(file));
            if (!root.path("settings").asText().equals(settings)) {
                throw new ArtifactException(file + ": is of a comparison with other settings or images, \""
                        + root.path("settings").asText() + "\" instead of \"" + settings + "\"; choose another --out");
            }
            List<Tally> tallies = new ArrayList<>();
            for (JsonNode t : root.required("tallies")) {
                tallies.add(new Tally(t.required("images").intValue(), t.required("top1").intValue(),
                        t.required("top5").intValue(), t.required("agreeing").intValue()));
            }
            if (tallies.size() != models) {
                throw new IllegalArgumentException(tallies.size() + " counts for " + models + " models");
            }
            return new State(root.required("done").intValue(), root.required("skipped").intValue(), tallies);
        } catch (JsonProcessingException | IllegalArgumentException e) {
            throw new ArtifactException(file + ": is damaged; delete it to count anew", e);
        } catch (IOException e) {
            throw new ArtifactException(file + ": cannot be read (" + e.getMessage() + ")", e);
        }
    }

    void write(State state) {
        ObjectNode root = Console.object().put("settings", settings).put("done", state.done).put("skipped", state.skipped);
        ArrayNode tallies = root.putArray("tallies");
        state.tallies.forEach(t -> tallies.addObject().put("images", t.images()).put("top1", t.top1()).put("top5", t.top5())
                .put("agreeing", t.agreeing()));
        Path temporary = file.resolveSibling(NAME + ".tmp");
        try {
            Files.write(temporary, (root.toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8));
            Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
            throw new ArtifactException(file + ": cannot be written (" + e.getMessage() + "); make room or check the rights of "
                    + file.getParent(), e);
        }
    }
}
