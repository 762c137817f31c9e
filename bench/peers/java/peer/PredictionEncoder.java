package peer;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxValue;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * Outputs of the model into values of predictions: Confluent's frame and an Avro record with a field for each output,
 * which is an array unless a row has one element.
 */
final class PredictionEncoder {
    private static final byte MAGIC = 0;
    private static final int FRAME_BYTES = 5;
    private static final int MAX_ELEMENT_BYTES = 10;

    private final int schemaId;
    private final List<Output> outputs = new ArrayList<>();
    private ByteBuffer value = ByteBuffer.allocate(0);

    PredictionEncoder(int schemaId) {
        this.schemaId = schemaId;
    }

    /** Elements of a batch, row after row. */
    private sealed interface Output permits Floats, Longs {
        int width();

        void put(ByteBuffer value, int element);
    }

    private record Floats(FloatBuffer elements, int width) implements Output {
        @Override
        public void put(ByteBuffer value, int element) {
            value.putFloat(elements.get(element));
        }
    }

    private record Longs(LongBuffer elements, int width) implements Output {
        @Override
        public void put(ByteBuffer value, int element) {
            Varint.put(value, Varint.zigzag(elements.get(element)));
        }
    }

    /** Takes over the outputs of {@code count} rows, to be encoded row by row; the result may be closed after that. */
    void begin(OrtSession.Result result, int count) throws OrtException {
        outputs.clear();
        int most = FRAME_BYTES;
        for (Map.Entry<String, OnnxValue> entry : result) {
            Output output = open(entry.getKey(), (OnnxTensor) entry.getValue(), count);
            outputs.add(output);
            most += MAX_ELEMENT_BYTES * (output.width() + 2);
        }
        if (value.capacity() < most) value = ByteBuffer.allocate(most).order(ByteOrder.LITTLE_ENDIAN);
    }

    byte[] encode(int row) {
        value.clear().put(MAGIC).putInt(Integer.reverseBytes(schemaId));
        for (Output output : outputs) {
            int width = output.width();
            if (width != 1) Varint.put(value, Varint.zigzag(width));
            for (int element = row * width; element < (row + 1) * width; element++) output.put(value, element);
            if (width != 1) value.put((byte) 0);
        }
        return Arrays.copyOf(value.array(), value.position());
    }

    private static Output open(String name, OnnxTensor tensor, int count) throws OrtException {
        return switch (tensor.getInfo().type) {
            case FLOAT -> {
                FloatBuffer elements = tensor.getFloatBuffer();
                yield new Floats(elements, elements.remaining() / count);
            }
            case INT64 -> {
                LongBuffer elements = tensor.getLongBuffer();
                yield new Longs(elements, elements.remaining() / count);
            }
            default -> throw new IllegalArgumentException(
                    "output " + name + " of the model is " + tensor.getInfo().type + "; expected float32 or int64");
        };
    }
}
