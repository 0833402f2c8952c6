package io.github.ptq4vit.export;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxValue;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.LongStream;

/** ONNX Runtime with a model loaded: someone else's idea of what an exported file means. */
final class RuntimeSession implements AutoCloseable {
    private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
    private final OrtSession session;

    RuntimeSession(byte[] model) throws OrtException {
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(2);
            session = environment.createSession(model, options);
        }
    }

    /** All outputs by name. */
    Map<String, Tensor> run(Tensor pixels) throws OrtException {
        long[] shape = Arrays.stream(pixels.shape().toArray()).asLongStream().toArray();
        try (OnnxTensor input = OnnxTensor.createTensor(environment, pixels.data().duplicate(), shape);
                OrtSession.Result result = session.run(Map.of(OnnxModel.INPUT, input))) {
            Map<String, Tensor> outputs = new LinkedHashMap<>();
            for (Map.Entry<String, OnnxValue> entry : result) {
                OnnxTensor value = (OnnxTensor) entry.getValue();
                long[] sizes = ((TensorInfo) value.getInfo()).getShape();
                float[] numbers = new float[value.getFloatBuffer().remaining()];
                value.getFloatBuffer().get(numbers);
                outputs.put(entry.getKey(), Tensor.of(Shape.of(LongStream.of(sizes).mapToInt(Math::toIntExact).toArray()), numbers));
            }
            return outputs;
        }
    }

    Tensor logits(Tensor pixels) throws OrtException {
        return run(pixels).get(OnnxModel.OUTPUT);
    }

    @Override
    public void close() throws OrtException {
        session.close();
    }
}
