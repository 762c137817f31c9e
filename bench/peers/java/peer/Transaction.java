package peer;

import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;

/**
 * The producer's transactions, one after the other, each with the offsets of what it answers. They carry the group's
 * generation, so that the broker refuses those of a member whose partitions have gone to another (KIP-447).
 */
final class Transaction {
    private static final Duration IDLE = Duration.ofMillis(100);
    private static final long NONE = -1;

    private final Producer<?, ?> producer;
    private final Consumer<?, ?> consumer;
    private final String inputTopic;
    private final long intervalNanos;

    /** By input partition: the offset after the last record that the open transaction answers. */
    private long[] nextOffsets = new long[0];

    private boolean open;
    private long deadline;

    Transaction(Producer<?, ?> producer, Consumer<?, ?> consumer, Settings settings) {
        this.producer = producer;
        this.consumer = consumer;
        inputTopic = settings.inputTopic();
        intervalNanos = Duration.ofMillis(settings.commitIntervalMs()).toNanos();
    }

    /** Begins one unless it is open. */
    void begin() {
        if (open) return;
        producer.beginTransaction();
        deadline = System.nanoTime() + intervalNanos;
        open = true;
    }

    /** The open transaction answers all records of the partition up to this offset. */
    void answered(int partition, long offset) {
        if (partition >= nextOffsets.length) {
            int known = nextOffsets.length;
            nextOffsets = Arrays.copyOf(nextOffsets, partition + 1);
            Arrays.fill(nextOffsets, known, partition + 1, NONE);
        }
        nextOffsets[partition] = offset + 1;
    }

    /** Whether COMMIT_INTERVAL_MS has passed since the beginning. */
    boolean isDue() {
        return open && System.nanoTime() - deadline >= 0;
    }

    /** How long a poll may wait. */
    Duration untilDue() {
        return open ? Duration.ofNanos(Math.max(0, deadline - System.nanoTime())) : IDLE;
    }

    /** Commits what is open. Throws KafkaException where it has to be aborted, or cannot even be that. */
    void commit() {
        if (!open) return;
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (int partition = 0; partition < nextOffsets.length; partition++) {
            if (nextOffsets[partition] == NONE) continue;
            offsets.put(new TopicPartition(inputTopic, partition), new OffsetAndMetadata(nextOffsets[partition]));
        }
        retrying(() -> producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata()));
        retrying(producer::commitTransaction);
        forget();
    }

    /** Aborts what is open. Throws KafkaException where the producer is of no use any more. */
    void abort() {
        if (!open) return;
        retrying(producer::abortTransaction);
        forget();
    }

    private void forget() {
        Arrays.fill(nextOffsets, NONE);
        open = false;
    }

    /** After a time-out the client allows only the same call again; each waits max.block.ms for the broker. */
    private static void retrying(Runnable call) {
        for (; ; ) {
            try {
                call.run();
                return;
            } catch (TimeoutException exception) {
                System.err.println(exception.getMessage() + "; trying again");
            }
        }
    }
}
