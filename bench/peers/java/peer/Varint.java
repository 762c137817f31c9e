package peer;

import java.nio.ByteBuffer;
import java.util.Arrays;

/** Numbers as Avro writes them: seven bits a byte, the lowest first. */
final class Varint {
    private static final int MAX_BYTES = 10;

    private Varint() {}

    /** Writes an unsigned number. */
    static void put(ByteBuffer target, long number) {
        while ((number & ~0x7fL) != 0) {
            target.put((byte) (number & 0x7f | 0x80));
            number >>>= 7;
        }
        target.put((byte) number);
    }

    static byte[] of(long number) {
        ByteBuffer bytes = ByteBuffer.allocate(MAX_BYTES);
        put(bytes, number);
        return Arrays.copyOf(bytes.array(), bytes.position());
    }

    /** A signed number as an unsigned one: 0, -1, 1, -2 become 0, 1, 2, 3. */
    static long zigzag(long number) {
        return number << 1 ^ number >> 63;
    }
}
