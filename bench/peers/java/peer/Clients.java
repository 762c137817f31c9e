package peer;

import java.nio.ByteBuffer;
import java.util.Map;
import java.util.UUID;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.ByteBufferDeserializer;

/** The two clients and their settings; ../../README.md says why. */
final class Clients {
    private static final int SYSTEM_DEFAULT = -1;

    private Clients() {}

    /** Values are views of what was fetched. */
    static KafkaConsumer<byte[], ByteBuffer> consumer(Settings settings) {
        return new KafkaConsumer<>(Map.ofEntries(
                Map.entry(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, settings.brokers()),
                Map.entry(ConsumerConfig.GROUP_ID_CONFIG, settings.groupId()),
                Map.entry(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class),
                Map.entry(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteBufferDeserializer.class),
                Map.entry(
                        ConsumerConfig.PARTITION_ASSIGNMENT_STRATEGY_CONFIG, CooperativeStickyAssignor.class.getName()),
                Map.entry(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed"),
                Map.entry(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest"),
                Map.entry(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false),
                Map.entry(ConsumerConfig.CHECK_CRCS_CONFIG, true),
                Map.entry(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, settings.maxPollRecords()),
                Map.entry(ConsumerConfig.FETCH_MIN_BYTES_CONFIG, 1),
                Map.entry(ConsumerConfig.FETCH_MAX_WAIT_MS_CONFIG, 100),
                Map.entry(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG, 4 << 20),
                Map.entry(ConsumerConfig.RECEIVE_BUFFER_CONFIG, SYSTEM_DEFAULT),
                Map.entry(ConsumerConfig.METRIC_REPORTER_CLASSES_CONFIG, ""),
                Map.entry(ConsumerConfig.ENABLE_METRICS_PUSH_CONFIG, false)));
    }

    static KafkaProducer<byte[], byte[]> producer(Settings settings) {
        return new KafkaProducer<>(Map.ofEntries(
                Map.entry(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, settings.brokers()),
                // Zombies are fenced by the group's generation (KIP-447), so the id needs to be nobody else's, not the
                // same again.
                Map.entry(ProducerConfig.TRANSACTIONAL_ID_CONFIG, settings.groupId() + "." + UUID.randomUUID()),
                Map.entry(ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class),
                Map.entry(ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class),
                Map.entry(ProducerConfig.LINGER_MS_CONFIG, 5),
                Map.entry(ProducerConfig.BATCH_SIZE_CONFIG, 256 << 10),
                Map.entry(ProducerConfig.BUFFER_MEMORY_CONFIG, 128 << 20),
                Map.entry(ProducerConfig.SEND_BUFFER_CONFIG, SYSTEM_DEFAULT),
                Map.entry(ProducerConfig.METRIC_REPORTER_CLASSES_CONFIG, ""),
                Map.entry(ProducerConfig.ENABLE_METRICS_PUSH_CONFIG, false)));
    }
}
