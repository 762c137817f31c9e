package peer;

import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.security.GeneralSecurityException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;

/**
 * A worker on Kafka's own client: consumes features, publishes predictions, exactly once, until it is stopped.
 *
 * <pre>
 *     poll ─▶ decode ─▶ run ─▶ encode ─▶ send ─┬─▶ poll …
 *                                              └─▶ COMMIT_INTERVAL_MS after begin: send offsets, commit
 *
 *     no transaction ──first batch──▶ open ──commit──▶ no transaction
 *                                      │  └──partitions revoked: commit while they are ours──▶ no transaction
 *                                      └──partitions lost, or a fault: abort, seek to the committed offsets
 * </pre>
 */
final class Worker implements ConsumerRebalanceListener {
    private final Settings settings;
    private final Model model;
    private final FeatureDecoder decoder;
    private final PredictionEncoder encoder;
    private final KafkaConsumer<byte[], ByteBuffer> consumer;
    private final KafkaProducer<byte[], byte[]> producer;
    private final Publisher publisher;
    private final Transaction transaction;
    private final List<ConsumerRecord<byte[], ByteBuffer>> batch = new ArrayList<>();
    private volatile boolean stopping;

    Worker(Settings settings) throws OrtException, IOException, GeneralSecurityException {
        this.settings = settings;
        model = new Model(settings);
        decoder = FeatureDecoder.create(settings);
        encoder = new PredictionEncoder(settings.predictionSchemaId());
        consumer = Clients.consumer(settings);
        producer = Clients.producer(settings);
        boolean equalPartitions = partitionsOf(settings.inputTopic()) == partitionsOf(settings.outputTopic());
        publisher = new Publisher(producer, settings, model.headers(), equalPartitions);
        transaction = new Transaction(producer, consumer, settings);
    }

    /** Lets {@link #run} return after the batch it is at. From any thread. */
    void stop() {
        stopping = true;
        consumer.wakeup();
    }

    /** Returns when stopped, with everything committed. Throws where another process has to go on. */
    void run() throws OrtException {
        producer.initTransactions();
        consumer.subscribe(List.of(settings.inputTopic()), this);
        while (!stopping) {
            try {
                processPoll();
            } catch (WakeupException exception) {
                // Only stop() wakes: the loop ends.
            } catch (KafkaException exception) {
                recover(exception);
            }
        }
        transaction.commit();
        consumer.close();
        producer.close();
        model.close();
    }

    private void processPoll() throws OrtException {
        batch.clear();
        for (ConsumerRecord<byte[], ByteBuffer> record : consumer.poll(transaction.untilDue())) {
            batch.add(record);
            if (batch.size() < settings.maxBatch()) continue;
            processBatch();
            if (settings.commitIntervalMs() > 0 && transaction.isDue()) transaction.commit();
            if (stopping) return;
        }
        if (!batch.isEmpty()) processBatch();
        if (transaction.isDue()) transaction.commit();
    }

    private void processBatch() throws OrtException {
        transaction.begin();
        // Records that can be decoded move to the front, where their number is that of their row.
        int rows = 0;
        for (int i = 0; i < batch.size(); i++) {
            ConsumerRecord<byte[], ByteBuffer> record = batch.get(i);
            Fault fault = decode(record.value(), rows);
            if (fault == null) batch.set(rows++, record);
            else publisher.deadLetter(record, fault);
            transaction.answered(record.partition(), record.offset());
        }
        if (rows > 0) {
            try (OrtSession.Result result = model.run(rows)) {
                encoder.begin(result, rows);
            }
        }
        for (int row = 0; row < rows; row++) publisher.predict(batch.get(row), encoder.encode(row));
        batch.clear();
    }

    private Fault decode(ByteBuffer value, int row) {
        if (value == null) return Fault.NULL_VALUE;
        return decoder.decode(value, model.rows(), row * settings.features() * Float.BYTES);
    }

    /** Inside poll, before it gives records: all that it gave earlier is in the transaction, and they are still ours. */
    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        transaction.commit();
    }

    /** Somebody else may have them already, and the broker would refuse our generation. */
    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        transaction.abort();
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}

    /** Starts over from the committed offsets; throws where the producer cannot even abort, because it was fenced. */
    private void recover(KafkaException exception) {
        System.err.println("starting over from the committed offsets: " + exception);
        transaction.abort();
        Set<TopicPartition> assigned = consumer.assignment();
        consumer.committed(assigned).forEach((partition, committed) -> seek(partition, committed));
    }

    private void seek(TopicPartition partition, OffsetAndMetadata committed) {
        if (committed == null) consumer.seekToBeginning(List.of(partition));
        else consumer.seek(partition, committed);
    }

    private int partitionsOf(String topic) {
        return consumer.partitionsFor(topic).size();
    }
}
