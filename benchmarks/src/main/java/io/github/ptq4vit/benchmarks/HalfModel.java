package io.github.ptq4vit.benchmarks;

import ai.onnxruntime.platform.Fp16Conversions;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.tensor.DType;
import io.github.ptq4vit.tensor.SafetensorsFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/** Copies a safetensors file with its numbers in float16: half the bytes to carry to a GPU. Arguments: the file, the copy. */
public final class HalfModel {
    private static final Set<DType> NUMBERS = EnumSet.of(DType.F32, DType.F16, DType.BF16, DType.F64);

    private HalfModel() {
    }

    /** Runs it. Tensors that hold no floating point numbers are no weights, and left out. */
    public static void main(String[] args) throws IOException {
        if (args.length != 2) {
            System.err.println("usage: HalfModel IN.safetensors OUT.safetensors");
            System.exit(2);
        }
        try (SafetensorsFile from = SafetensorsFile.open(Path.of(args[0]));
                FileChannel to = FileChannel.open(Path.of(args[1]), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            List<String> names = from.names().stream().filter(name -> NUMBERS.contains(from.info(name).dtype())).toList();
            ObjectNode header = new ObjectMapper().createObjectNode();
            from.metadata().forEach(header.withObject("/__metadata__")::put);
            long at = 0;
            for (String name : names) {
                long end = at + Short.BYTES * from.shape(name).elements();
                ObjectNode tensor = header.putObject(name).put("dtype", "F16");
                for (int size : from.shape(name).toArray()) {
                    tensor.withArray("shape").add(size);
                }
                tensor.withArray("shape");
                tensor.putArray("data_offsets").add(at).add(end);
                at = end;
            }
            byte[] bytes = new ObjectMapper().writeValueAsBytes(header);
            write(to, ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN).putLong(bytes.length).flip());
            write(to, ByteBuffer.wrap(bytes));
            for (String name : names) {
                float[] numbers = from.read(name).toArray();
                ByteBuffer halves = ByteBuffer.allocate(Short.BYTES * numbers.length).order(ByteOrder.LITTLE_ENDIAN);
                for (float number : numbers) {
                    halves.putShort(Fp16Conversions.floatToFp16(number));
                }
                write(to, halves.flip());
            }
        }
    }

    private static void write(FileChannel to, ByteBuffer bytes) throws IOException {
        while (bytes.hasRemaining()) {
            to.write(bytes);
        }
    }
}
