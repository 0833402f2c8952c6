package io.github.ptq4vit.tensor;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;

/** Several files of tensors with an index that tells which tensor is where, as Hugging Face writes large models. */
final class ShardedTensors implements TensorSource {
    /** A file of the same folder: nothing that a file system could take for a way out of it. */
    private static final Pattern PLAIN_NAME = Pattern.compile("[^/\\\\\\x00-\\x1f]{1,255}");

    private final Path index;
    private final Map<String, TensorSource> files;
    private final Map<String, TensorSource> fileOf;

    private ShardedTensors(Path index, Map<String, TensorSource> files, Map<String, TensorSource> fileOf) {
        this.index = index;
        this.files = files;
        this.fileOf = fileOf;
    }

    static ShardedTensors open(Path index) {
        JsonNode map = json(index).path("weight_map");
        if (!map.isObject() || map.isEmpty()) {
            throw new TensorFileException(index + ": has no weight_map; is this the index of a model in several files?");
        }
        Map<String, TensorSource> files = new TreeMap<>();
        Map<String, TensorSource> fileOf = new LinkedHashMap<>();
        try {
            for (Map.Entry<String, JsonNode> entry : map.properties()) {
                String name = entry.getValue().asText();
                if (!entry.getValue().isTextual() || !PLAIN_NAME.matcher(name).matches() || name.endsWith(WeightFiles.INDEX)) {
                    throw new TensorFileException(index + ": tensor " + Printable.of(entry.getKey()) + " is in "
                            + Printable.of(entry.getValue().toString()) + ", expected is the name of a file beside the index");
                }
                TensorSource file = files.get(name);
                if (file == null) {
                    file = shard(index, name, map);
                    files.put(name, file);
                }
                if (!file.contains(entry.getKey())) {
                    throw new TensorFileException(file.path() + ": has no tensor " + entry.getKey() + ", though "
                            + index.getFileName() + " says so; download both again");
                }
                fileOf.put(entry.getKey(), file);
            }
        } catch (RuntimeException | Error e) {
            files.values().forEach(TensorSource::close);
            throw e;
        }
        return new ShardedTensors(index, files, fileOf);
    }

    private static TensorSource shard(Path index, String name, JsonNode map) {
        Path file = index.resolveSibling(name);
        if (!Files.isRegularFile(file)) {
            long missing = map.properties().stream().filter(entry -> entry.getValue().asText().equals(name)).count();
            throw new TensorFileException(file + ": is missing; " + index.getFileName() + " names it for " + missing
                    + " tensors; download it too");
        }
        return WeightFiles.open(file);
    }

    private static JsonNode json(Path index) {
        if (Files.exists(index) && !Files.isRegularFile(index)) {
            throw new TensorFileException(index + ": is no regular file; give the index of a model in several files");
        }
        try {
            return new JsonMapper().readTree(Files.readAllBytes(index));
        } catch (JsonProcessingException e) {
            throw new TensorFileException(index + ": is not JSON; download it again", e);
        } catch (NoSuchFileException e) {
            throw new TensorFileException(index + ": no such file; check the path", e);
        } catch (IOException e) {
            throw new TensorFileException(index + ": cannot be read (" + SafetensorsFile.reason(e) + ")", e);
        }
    }

    @Override
    public Path path() {
        return index;
    }

    @Override
    public List<Path> files() {
        List<Path> all = new ArrayList<>(List.of(index));
        files.values().forEach(file -> all.add(file.path()));
        return all;
    }

    @Override
    public Set<String> names() {
        return Collections.unmodifiableSet(fileOf.keySet());
    }

    @Override
    public Shape shape(String name) {
        return file(name).shape(name);
    }

    @Override
    public Tensor read(String name) {
        return file(name).read(name);
    }

    @Override
    public Map<String, String> metadata() {
        Map<String, String> all = new TreeMap<>();
        files.values().forEach(file -> all.putAll(file.metadata()));
        return all;
    }

    @Override
    public void close() {
        files.values().forEach(TensorSource::close);
    }

    private TensorSource file(String name) {
        TensorSource file = fileOf.get(name);
        if (file == null) {
            throw new TensorFileException(index + ": has no tensor \"" + name + "\" among its " + fileOf.size());
        }
        return file;
    }
}
