package peer;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/** Sends predictions and dead letters with the key, the timestamp, the partition and the headers of their records. */
final class Publisher {
    private static final String SOURCE = "source";
    private static final byte[] STAGE = text("decode");

    private final Producer<byte[], byte[]> producer;
    private final Settings settings;
    private final List<Header> modelHeaders;
    private final Set<String> ownNames = new HashSet<>();
    private final boolean keepsPartition;

    /** With {@code keepsPartition} outputs go to the partition of their input; otherwise the key decides. */
    Publisher(
            Producer<byte[], byte[]> producer, Settings settings, List<Header> modelHeaders, boolean keepsPartition) {
        this.producer = producer;
        this.settings = settings;
        this.modelHeaders = modelHeaders;
        this.keepsPartition = keepsPartition;
        for (Header header : modelHeaders) ownNames.add(header.key());
        ownNames.add(SOURCE);
    }

    /** Headers of the record come first; one that has the name of ours is left out. */
    void predict(ConsumerRecord<byte[], ByteBuffer> record, byte[] value) {
        List<Header> headers = new ArrayList<>(modelHeaders.size() + 1);
        for (Header header : record.headers()) {
            if (!ownNames.contains(header.key())) headers.add(header);
        }
        headers.addAll(modelHeaders);
        headers.add(sourceOf(record));
        send(settings.outputTopic(), record, value, headers);
    }

    void deadLetter(ConsumerRecord<byte[], ByteBuffer> record, Fault fault) {
        List<Header> headers = new ArrayList<>();
        record.headers().forEach(headers::add);
        String failedAt = Instant.now().truncatedTo(ChronoUnit.MILLIS).toString();
        Collections.addAll(
                headers,
                new RecordHeader("error-code", text(fault.code())),
                new RecordHeader("error-message", text(fault.message())),
                new RecordHeader("error-stage", STAGE),
                sourceOf(record),
                new RecordHeader("failed-at", text(failedAt)));
        send(settings.deadLetterTopic(), record, bytesOf(record.value()), headers);
    }

    // A record that cannot be sent fails the transaction: commitTransaction throws.
    private void send(
            String topic, ConsumerRecord<byte[], ByteBuffer> record, byte[] value, List<Header> headers) {
        Integer partition = keepsPartition ? record.partition() : null;
        Long timestamp = record.timestamp() < 0 ? null : record.timestamp();
        producer.send(new ProducerRecord<>(topic, partition, timestamp, record.key(), value, headers));
    }

    private static Header sourceOf(ConsumerRecord<?, ?> record) {
        return new RecordHeader(SOURCE, text(record.topic() + '/' + record.partition() + '/' + record.offset()));
    }

    private static byte[] bytesOf(ByteBuffer value) {
        if (value == null) return null;
        byte[] bytes = new byte[value.remaining()];
        value.get(value.position(), bytes);
        return bytes;
    }

    private static byte[] text(String value) {
        return value.getBytes(StandardCharsets.UTF_8);
    }
}
