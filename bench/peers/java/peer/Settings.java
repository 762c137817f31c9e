package peer;

import java.util.List;

/** What the worker is told by its environment: the variables of ../../README.md, in its order. */
record Settings(
        String brokers,
        String groupId,
        String inputTopic,
        String outputTopic,
        String deadLetterTopic,
        String modelFile,
        String modelName,
        String modelVersion,
        String modelInput,
        List<String> modelOutputs,
        String inputFormat,
        int features,
        String inputField,
        int predictionSchemaId,
        int commitIntervalMs,
        int maxBatch,
        int intraOpThreads) {

    /** Throws IllegalArgumentException that names the variable which is missing or no number. */
    static Settings fromEnvironment() {
        String inputTopic = text("INPUT_TOPIC", null);
        return new Settings(
                text("KAFKA_BROKERS", null),
                text("GROUP_ID", null),
                inputTopic,
                text("OUTPUT_TOPIC", null),
                text("DEAD_LETTER_TOPIC", inputTopic + ".dlq"),
                text("MODEL_FILE", null),
                text("MODEL_NAME", null),
                text("MODEL_VERSION", null),
                text("MODEL_INPUT", null),
                List.of(text("MODEL_OUTPUT", null).split(",")),
                text("INPUT_FORMAT", null),
                number("FEATURES", null),
                text("INPUT_FIELD", "features"),
                number("PREDICTION_SCHEMA_ID", "1"),
                number("COMMIT_INTERVAL_MS", "100"),
                Math.max(1, number("MAX_BATCH", "1024")),
                number("INTRA_OP_THREADS", "1"));
    }

    /** Records of a poll: as many as are there, but no more than about 64 MiB of features. */
    int maxPollRecords() {
        return Math.max(maxBatch, Math.min(10_000, (64 << 20) / (Float.BYTES * features)));
    }

    private static String text(String name, String otherwise) {
        String value = System.getenv(name);
        if (value != null && !value.isEmpty()) return value;
        if (otherwise != null) return otherwise;
        throw new IllegalArgumentException(name + " is not set; bench/peers/README.md lists what the worker needs");
    }

    private static int number(String name, String otherwise) {
        String text = text(name, otherwise);
        try {
            return Integer.parseUnsignedInt(text);
        } catch (NumberFormatException exception) {
            throw new IllegalArgumentException(name + " is \"" + text + "\"; expected a whole number from 0");
        }
    }
}
