package io.github.ptq4vit.tensor;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Writes safetensors files byte by byte, right ones and wrong ones, independently of {@link SafetensorsWriter}. */
final class RawSafetensors {
    private RawSafetensors() {
    }

    static byte[] bytes(String header, byte... data) {
        byte[] json = header.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(8 + json.length + data.length).order(ByteOrder.LITTLE_ENDIAN)
                .putLong(json.length).put(json).put(data).array();
    }

    /** A file whose header holds one tensor {@code t}. */
    static Path one(Path file, String dtype, String shape, byte... data) {
        return write(file, "{\"t\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[0,"
                + data.length + "]}}", data);
    }

    static Path write(Path file, String header, byte... data) {
        try {
            return Files.write(file, bytes(header, data));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
