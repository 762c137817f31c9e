package peer;

import ai.onnxruntime.NodeInfo;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/** An ONNX Runtime session on the CPU with the memory of its input, and the headers that name the model. */
final class Model implements AutoCloseable {
    private static final int SHA256_DIGITS = 16;

    private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
    private final OrtSession session;
    private final String input;
    private final Set<String> outputs;
    private final int features;
    private final long[] shape;
    private final ByteBuffer rows;
    private final List<Header> headers;

    Model(Settings settings) throws OrtException, IOException, GeneralSecurityException {
        byte[] bytes = Files.readAllBytes(Path.of(settings.modelFile()));
        OrtSession.SessionOptions options = new OrtSession.SessionOptions();
        options.setIntraOpNumThreads(settings.intraOpThreads());
        options.setInterOpNumThreads(1);
        // A thread that spins while it waits takes the core that the clients' threads need.
        options.addConfigEntry("session.intra_op.allow_spinning", "0");
        session = environment.createSession(bytes, options);
        input = settings.modelInput();
        outputs = new LinkedHashSet<>(settings.modelOutputs());
        features = settings.features();
        shape = inputShape();
        rows = ByteBuffer.allocateDirect(settings.maxBatch() * features * Float.BYTES)
                .order(ByteOrder.LITTLE_ENDIAN);
        byte[] hash = MessageDigest.getInstance("SHA-256").digest(bytes);
        headers = List.of(
                header("model-name", settings.modelName()),
                header("model-version", settings.modelVersion()),
                header("model-sha256", HexFormat.of().formatHex(hash).substring(0, SHA256_DIGITS)),
                header("execution-provider", "cpu"));
    }

    /** Memory of MAX_BATCH rows, row after row, to be filled before {@link #run}. */
    ByteBuffer rows() {
        return rows;
    }

    /** Headers of every prediction. */
    List<Header> headers() {
        return headers;
    }

    /** Runs the first {@code count} rows. The caller closes the result; its outputs come in the order of MODEL_OUTPUT. */
    OrtSession.Result run(int count) throws OrtException {
        shape[0] = count;
        var floats = rows.asFloatBuffer().limit(count * features);
        // The runtime reads direct memory where it lies.
        try (OnnxTensor tensor = OnnxTensor.createTensor(environment, floats, shape)) {
            return session.run(Map.of(input, tensor), outputs);
        }
    }

    @Override
    public void close() throws OrtException {
        session.close();
    }

    private long[] inputShape() throws OrtException {
        NodeInfo info = session.getInputInfo().get(input);
        if (info != null && info.getInfo() instanceof TensorInfo tensor) return tensor.getShape();
        throw new IllegalArgumentException(
                "MODEL_INPUT is \"" + input + "\", but the model has the inputs " + session.getInputNames());
    }

    private static Header header(String name, String value) {
        return new RecordHeader(name, value.getBytes(StandardCharsets.UTF_8));
    }
}
