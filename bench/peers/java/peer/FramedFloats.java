package peer;

import java.nio.ByteBuffer;

/** Confluent's frame and an Avro record whose floats lie side by side: all values have one size and one layout. */
final class FramedFloats implements FeatureDecoder {
    private static final int FRAME_BYTES = 5;
    private static final byte MAGIC = 0;

    private final int features;
    private final byte[] prefix;
    private final byte[] suffix;
    private final int begin;
    private final int end;

    FramedFloats(int features, byte[] prefix, byte[] suffix) {
        this.features = features;
        this.prefix = prefix;
        this.suffix = suffix;
        begin = FRAME_BYTES + prefix.length;
        end = begin + Float.BYTES * features;
    }

    @Override
    public Fault decode(ByteBuffer value, ByteBuffer target, int at) {
        int from = value.position();
        int size = end + suffix.length;
        if (value.remaining() != size) {
            String code = value.remaining() < size ? "truncated-message" : "trailing-bytes";
            return new Fault(code, "the value has " + value.remaining() + " bytes; expected " + size);
        }
        byte magic = value.get(from);
        if (magic != MAGIC) {
            return new Fault("wrong-magic-byte", "the value begins with the byte " + magic + "; expected " + MAGIC);
        }
        if (!lies(prefix, value, from + FRAME_BYTES) || !lies(suffix, value, from + end)) {
            return new Fault("invalid-avro", "the value is not one block of " + features + " floats");
        }
        target.put(at, value, from + begin, end - begin);
        return null;
    }

    private static boolean lies(byte[] bytes, ByteBuffer in, int at) {
        for (int i = 0; i < bytes.length; i++) {
            if (in.get(at + i) != bytes[i]) return false;
        }
        return true;
    }
}
