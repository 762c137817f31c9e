package peer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import java.io.IOException;
import java.nio.ByteBuffer;

/** An object with one field that is an array of numbers, nested or not: read as a stream, straight into the row. */
final class JsonArray implements FeatureDecoder {
    private final JsonFactory factory =
            JsonFactory.builder().enable(StreamReadFeature.USE_FAST_DOUBLE_PARSER).build();
    private final int features;
    private final String field;

    JsonArray(int features, String field) {
        this.features = features;
        this.field = field;
    }

    @Override
    public Fault decode(ByteBuffer value, ByteBuffer target, int at) {
        try (JsonParser parser = open(value)) {
            if (parser.nextToken() != JsonToken.START_OBJECT) return invalid("it is no object");
            int found = -1;
            for (String name = parser.nextFieldName(); name != null; name = parser.nextFieldName()) {
                JsonToken token = parser.nextToken();
                if (!name.equals(field)) parser.skipChildren();
                else if (token == JsonToken.START_ARRAY) found = readArray(parser, target, at);
                else return invalid("it is no array");
            }
            if (parser.currentToken() != JsonToken.END_OBJECT || parser.nextToken() != null) {
                return invalid("the object is not all there is");
            }
            if (found < 0) return invalid("there is no such field");
            if (found == features) return null;
            return new Fault("array-length", "\"" + field + "\" has " + found + " numbers; expected " + features);
        } catch (IOException exception) {
            return invalid(exception.getMessage());
        }
    }

    /** Reads to the end of the array that the parser has begun; returns how many numbers it has. */
    private int readArray(JsonParser parser, ByteBuffer target, int at) throws IOException {
        int count = 0;
        for (int depth = 1; depth > 0; ) {
            JsonToken token = parser.nextToken();
            if (token == JsonToken.VALUE_NUMBER_FLOAT || token == JsonToken.VALUE_NUMBER_INT) {
                if (count < features) target.putFloat(at + Float.BYTES * count, parser.getFloatValue());
                count++;
            } else if (token == JsonToken.START_ARRAY) depth++;
            else if (token == JsonToken.END_ARRAY) depth--;
            else throw new IOException("element " + count + " is no number");
        }
        return count;
    }

    private JsonParser open(ByteBuffer value) throws IOException {
        if (value.hasArray()) {
            return factory.createParser(value.array(), value.arrayOffset() + value.position(), value.remaining());
        }
        byte[] bytes = new byte[value.remaining()];
        value.get(value.position(), bytes);
        return factory.createParser(bytes);
    }

    private Fault invalid(String why) {
        return new Fault("invalid-json", "the value has no array of numbers \"" + field + "\": " + why);
    }
}
