package io.github.ptq4vit.tensor;

import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Tensors under other names; several may be laid one behind the other along their outermost axis. */
public final class RenamedTensors implements TensorSource {
    private static final Pattern NUMBER = Pattern.compile("\\d+");

    private final TensorSource source;
    private final Map<String, List<String>> parts;
    private final Map<String, String> metadata;

    /**
     * Of another source, which is closed with this.
     *
     * @param parts for each new name the tensors it stands for
     * @param metadata in place of the source's
     */
    public RenamedTensors(TensorSource source, Map<String, List<String>> parts, Map<String, String> metadata) {
        this.metadata = Map.copyOf(metadata);
        this.source = source;
        this.parts = new LinkedHashMap<>(parts);
    }

    @Override
    public Path path() {
        return source.path();
    }

    @Override
    public List<Path> files() {
        return source.files();
    }

    @Override
    public Set<String> names() {
        return parts.keySet();
    }

    @Override
    public Shape shape(String name) {
        List<String> own = parts(name);
        int[] sizes = source.shape(own.get(0)).toArray();
        for (int i = 1; i < own.size(); i++) {
            int[] next = source.shape(own.get(i)).toArray();
            boolean fits = sizes.length > 0 && next.length == sizes.length;
            for (int axis = 1; fits && axis < sizes.length; axis++) {
                fits = next[axis] == sizes[axis];
            }
            if (!fits) {
                throw new TensorFileException(path() + ": tensor " + Printable.of(own.get(i)) + " has shape "
                        + source.shape(own.get(i)) + ", which does not continue " + Printable.of(own.get(0)) + " of shape " + source.shape(own.get(0)));
            }
            sizes[0] = Math.addExact(sizes[0], next[0]);
        }
        return Shape.of(sizes);
    }

    @Override
    public Tensor read(String name) {
        List<String> own = parts(name);
        if (own.size() == 1) {
            return source.read(own.get(0));
        }
        Shape shape = shape(name);
        FloatBuffer numbers = FloatBuffer.allocate(Math.toIntExact(shape.elements()));
        own.forEach(part -> numbers.put(source.read(part).data().duplicate()));
        return new Tensor(shape, numbers.flip());
    }

    /**
     * What a tensor is called in the file, for messages. Of one that is missing: what it would be called, as far as other
     * tensors show it.
     */
    public String original(String name) {
        if (parts.containsKey(name)) {
            return Printable.of(String.join(", ", parts.get(name)));
        }
        String pattern = NUMBER.matcher(name).replaceAll("#");
        Optional<String> elsewhere = parts.keySet().stream().filter(other -> NUMBER.matcher(other).replaceAll("#").equals(pattern))
                .flatMap(other -> renumbered(parts.get(other).get(0), other, name).stream()).findFirst();
        String partner = name.endsWith(".bias") ? name.replaceFirst("bias$", "weight") : name.replaceFirst("weight$", "bias");
        return Printable.of(elsewhere.orElseGet(() -> parts.containsKey(partner)
                ? parts.get(partner).get(0).replaceFirst("(?:weight|bias)$", name.substring(name.lastIndexOf('.') + 1)) : name));
    }

    /** The name that a tensor of another block would have, if the names count blocks as ours do. */
    private static Optional<String> renumbered(String theirs, String ours, String wanted) {
        List<String> from = NUMBER.matcher(ours).results().map(result -> result.group()).toList();
        List<String> to = NUMBER.matcher(wanted).results().map(result -> result.group()).toList();
        int[] at = {0};
        String name = NUMBER.matcher(theirs).replaceAll(number -> at[0] < from.size() && number.group().equals(from.get(at[0]))
                ? to.get(at[0]++) : Matcher.quoteReplacement(number.group()));
        return at[0] == from.size() ? Optional.of(name) : Optional.empty();
    }

    @Override
    public boolean contains(String name) {
        return parts.containsKey(name);
    }

    @Override
    public Map<String, String> metadata() {
        return metadata;
    }

    @Override
    public void close() {
        source.close();
    }

    private List<String> parts(String name) {
        List<String> own = parts.get(name);
        if (own == null) {
            throw new TensorFileException(path() + ": has no tensor for " + name);
        }
        return own;
    }
}
