package io.github.ptq4vit.tensor;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;

/**
 * The JSON header of a safetensors file, read and checked: every tensor lies inside the file, has as many bytes as its
 * shape and dtype say, and the tensors cover the data without overlap or hole, as the format demands.
 */
record SafetensorsHeader(Map<String, TensorInfo> tensors, Map<String, String> metadata) {
    static final String METADATA = "__metadata__";

    private static final ObjectMapper JSON = JsonMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .build();

    /**
     * Reads a header.
     *
     * @param file name of the file, for messages
     * @param header the header's bytes
     * @param dataStart offset in the file of the first byte after the header
     * @param fileSize length of the file in bytes
     */
    static SafetensorsHeader parse(String file, ByteBuffer header, long dataStart, long fileSize) {
        JsonNode root = json(file, header);
        if (root == null || !root.isObject()) {
            throw new TensorFileException(file + ": the header is not a JSON object; is this a .safetensors file?");
        }
        Map<String, TensorInfo> tensors = new LinkedHashMap<>();
        Map<String, String> metadata = new TreeMap<>();
        for (Map.Entry<String, JsonNode> entry : root.properties()) {
            if (entry.getKey().equals(METADATA)) {
                readMetadata(file, entry.getValue(), metadata);
            } else {
                Entry parser = new Entry(file, entry.getKey(), entry.getValue());
                tensors.put(entry.getKey(), parser.read(dataStart, fileSize));
            }
        }
        checkCover(file, tensors.values().toArray(TensorInfo[]::new), dataStart, fileSize);
        return new SafetensorsHeader(tensors, metadata);
    }

    private static JsonNode json(String file, ByteBuffer header) {
        try {
            // Decoded here because Jackson would guess an encoding from the first bytes.
            return JSON.readTree(StandardCharsets.UTF_8.newDecoder().decode(header).toString());
        } catch (CharacterCodingException e) {
            throw new TensorFileException(file + ": the header is not UTF-8 text; is this a .safetensors file?", e);
        } catch (JacksonException e) {
            throw new TensorFileException(file + ": the header is not valid JSON (" + e.getOriginalMessage()
                    + "); is this a .safetensors file, completely downloaded?", e);
        }
    }

    private static void readMetadata(String file, JsonNode node, Map<String, String> metadata) {
        if (node.isNull()) {
            return;
        }
        if (!node.isObject()) {
            throw new TensorFileException(file + ": " + METADATA + " must be a JSON object of texts, found "
                    + kind(node) + "; write the file again");
        }
        for (Map.Entry<String, JsonNode> entry : node.properties()) {
            if (!entry.getValue().isTextual()) {
                throw new TensorFileException(file + ": " + METADATA + " entry \"" + entry.getKey()
                        + "\" must be a text, found " + kind(entry.getValue()) + "; write the file again");
            }
            metadata.put(entry.getKey(), entry.getValue().textValue());
        }
    }

    private static void checkCover(String file, TensorInfo[] tensors, long dataStart, long fileSize) {
        Arrays.sort(tensors, Comparator.comparingLong(TensorInfo::begin).thenComparingLong(TensorInfo::end));
        long covered = dataStart;
        String last = "the header";
        for (TensorInfo tensor : tensors) {
            if (tensor.begin() < covered) {
                throw new TensorFileException(file + ": tensor \"" + tensor.name() + "\" begins at byte "
                        + (tensor.begin() - dataStart) + " of the data, overlapping \"" + last + "\" which ends at "
                        + (covered - dataStart) + "; the file is damaged, write or download it again");
            }
            if (tensor.begin() > covered) {
                throw hole(file, covered - dataStart, tensor.begin() - dataStart);
            }
            covered = tensor.end();
            last = tensor.name();
        }
        if (covered < fileSize) {
            throw hole(file, covered - dataStart, fileSize - dataStart);
        }
    }

    private static TensorFileException hole(String file, long from, long to) {
        return new TensorFileException(file + ": bytes " + from + " to " + to
                + " of the data belong to no tensor; the file is damaged, write or download it again");
    }

    private static String kind(JsonNode node) {
        return node == null ? "nothing" : node.getNodeType().name().toLowerCase(Locale.ROOT);
    }

    /** One entry {@code name: {dtype, shape, data_offsets}} of the header. */
    private record Entry(String file, String name, JsonNode node) {

        TensorInfo read(long dataStart, long fileSize) {
            if (!node.isObject()) {
                throw wrong("expected an object with dtype, shape and data_offsets, found " + kind(node));
            }
            DType dtype = dtype();
            Shape shape = shape();
            long[] offsets = numbers("data_offsets");
            if (offsets.length != 2) {
                throw wrong("data_offsets must be two numbers [begin, end], found " + offsets.length);
            }
            long begin = offsets[0];
            long end = offsets[1];
            if (begin < 0 || begin > end) {
                throw wrong("data_offsets [" + begin + ", " + end + "] must satisfy 0 <= begin <= end");
            }
            long expected;
            try {
                expected = Math.multiplyExact(shape.elements(), dtype.bytes());
            } catch (ArithmeticException e) {
                throw wrong("shape " + shape + " has more elements than any file can hold");
            }
            if (end - begin != expected) {
                throw wrong("shape " + shape + " of " + dtype + " needs " + expected + " bytes, data_offsets ["
                        + begin + ", " + end + "] give " + (end - begin));
            }
            if (end > fileSize - dataStart) {
                throw new TensorFileException(file + ": tensor \"" + name + "\" ends at byte " + end
                        + " of the data, the file holds " + (fileSize - dataStart)
                        + "; it is truncated, download or copy it again");
            }
            return new TensorInfo(name, dtype, shape, dataStart + begin, dataStart + end);
        }

        private DType dtype() {
            JsonNode value = node.get("dtype");
            if (value == null || !value.isTextual()) {
                throw wrong("dtype must be a text such as \"F32\", found " + kind(value));
            }
            for (DType dtype : DType.values()) {
                if (dtype.name().equals(value.textValue())) {
                    return dtype;
                }
            }
            throw new TensorFileException(file + ": tensor \"" + name + "\" has the unknown dtype \""
                    + value.textValue() + "\", known are " + Arrays.toString(DType.values())
                    + "; convert it to F32 and write the file again");
        }

        private Shape shape() {
            long[] sizes = numbers("shape");
            int[] ints = new int[sizes.length];
            for (int axis = 0; axis < sizes.length; axis++) {
                if (sizes[axis] < 0 || sizes[axis] > Integer.MAX_VALUE) {
                    throw wrong("size " + sizes[axis] + " of axis " + axis + " must lie between 0 and "
                            + Integer.MAX_VALUE);
                }
                ints[axis] = (int) sizes[axis];
            }
            return Shape.of(ints);
        }

        private long[] numbers(String key) {
            JsonNode array = node.get(key);
            if (array == null || !array.isArray()) {
                throw wrong(key + " must be an array of whole numbers, found " + kind(array));
            }
            List<Long> numbers = new ArrayList<>();
            for (JsonNode number : array) {
                if (!number.isIntegralNumber() || !number.canConvertToLong()) {
                    throw wrong(key + " must hold whole numbers below 2^63, found "
                            + (number.isNumber() ? "a number that is not" : kind(number)));
                }
                numbers.add(number.longValue());
            }
            return numbers.stream().mapToLong(Long::longValue).toArray();
        }

        private TensorFileException wrong(String what) {
            return new TensorFileException(file + ": tensor \"" + name + "\": " + what
                    + "; the header is damaged, write or download the file again");
        }
    }
}
