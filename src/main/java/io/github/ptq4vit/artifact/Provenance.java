package io.github.ptq4vit.artifact;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Where a quantised model comes from: everything that decides its bytes. No times and no absolute paths, so that equal
 * runs are recorded equally.
 *
 * @param configuration of the calibration, name to text, number or truth value, in a fixed order
 * @param seed of everything random
 * @param imageIds the calibration images
 * @param idsHash SHA-256 of the ids, see {@link Fingerprints#ofIds}
 * @param pixelsHash SHA-256 of the transformed images, see {@link Fingerprints#ofPixels}
 * @param weightsHash SHA-256 of the file with the float32 weights
 * @param versions of the tool, of Java, of the device and its libraries, by name; where an interrupted calibration was continued
 *     with others, all of them in their order
 */
public record Provenance(Map<String, Object> configuration, long seed, List<String> imageIds, String idsHash,
        String pixelsHash, String weightsHash, Map<String, String> versions) {
    /** Under this name {@link #versions} has the version of this library. */
    public static final String TOOL = "ptq4vit";
    private static final String THEN = ", then ";

    public Provenance {
        configuration = Collections.unmodifiableMap(new LinkedHashMap<>(configuration));
        imageIds = List.copyOf(imageIds);
        versions = Collections.unmodifiableMap(new LinkedHashMap<>(versions));
    }

    /** The same of a calibration that was begun elsewhere. */
    Provenance after(Provenance earlier) {
        Map<String, String> all = new LinkedHashMap<>(versions);
        all.replaceAll((name, now) -> {
            String before = earlier.versions.getOrDefault(name, now);
            return (THEN + before).endsWith(THEN + now) ? before : before + THEN + now;
        });
        return new Provenance(configuration, seed, imageIds, idsHash, pixelsHash, weightsHash, all);
    }
}
