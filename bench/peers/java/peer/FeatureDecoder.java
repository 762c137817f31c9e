package peer;

import java.nio.ByteBuffer;

/** Decodes the value of a record into a row of floats. */
interface FeatureDecoder {
    /**
     * Writes FEATURES floats, little-endian, at byte {@code at} of {@code target}; where there is a fault, what lies
     * there is undefined. Leaves the positions of both buffers as they are.
     *
     * @return the fault, or null
     */
    Fault decode(ByteBuffer value, ByteBuffer target, int at);

    /** Throws IllegalArgumentException for a format that is none of the three. */
    static FeatureDecoder create(Settings settings) {
        int features = settings.features();
        return switch (settings.inputFormat()) {
            case "iris" -> new FramedFloats(features, new byte[0], new byte[0]);
            // An array of one block: its count as a zigzag varint, the floats, and an empty block.
            case "avro-array" -> new FramedFloats(features, Varint.of(2L * features), Varint.of(0));
            case "json" -> new JsonArray(features, settings.inputField());
            default -> throw new IllegalArgumentException(
                    "INPUT_FORMAT is \"" + settings.inputFormat() + "\"; expected iris, avro-array or json");
        };
    }
}
