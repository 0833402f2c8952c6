package io.github.ptq4vit.artifact;

import java.math.BigDecimal;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;

/** Whether an interrupted calibration is continued with what it was started with. */
final class ResumeCheck {
    private ResumeCheck() {
    }

    /** Throws unless everything that decides the bytes is equal. */
    static void same(Path folder, Manifest earlier, Manifest now) {
        Map<String, Object> before = facts(earlier);
        Map<String, Object> after = facts(now);
        for (Map.Entry<String, Object> fact : after.entrySet()) {
            if (!Objects.equals(before.get(fact.getKey()), fact.getValue())) {
                throw new ArtifactException(folder + ": was interrupted with other settings and cannot be continued, "
                        + fact.getKey() + " was " + before.get(fact.getKey()) + " and is now " + fact.getValue()
                        + "; use the same settings, or start anew with --force");
            }
        }
    }

    private static Map<String, Object> facts(Manifest manifest) {
        Provenance p = manifest.provenance();
        Map<String, Object> facts = new LinkedHashMap<>();
        facts.put("the version of ptq4vit", p.versions().get(Provenance.TOOL));
        facts.put("the SHA-256 of the weights", p.weightsHash());
        facts.put("the architecture", manifest.config());
        p.configuration().forEach((name, value) -> facts.put(name, value instanceof Number number
                ? new BigDecimal(number.toString()).stripTrailingZeros() : String.valueOf(value)));
        facts.put("the seed", p.seed());
        facts.put("the image transform", manifest.transform());
        facts.put("the number of images", p.imageIds().size());
        facts.put("the SHA-256 of the image ids", p.idsHash());
        facts.put("the SHA-256 of the images", p.pixelsHash());
        return facts;
    }
}
