import java.io.PrintWriter;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Publishes records with Kafka's own client, for compression.test.ts, which says what each record must be.
 *
 * <pre>java Produce.java BOOTSTRAP COUNT FIRST_TIMESTAMP VALUES ACKS (CODEC|aborted)=TOPIC…</pre>
 *
 * VALUES is a file of values in hexadecimal, one a line, taken in turn. ACKS is the file that gets a line "TOPIC INDEX
 * PARTITION OFFSET" for each record that a read_committed consumer will see.
 */
public class Produce {
    private static final int SMALL_BATCHES = 300;
    private static final int TRANSACTION_RECORDS = 20;

    private final String bootstrap;
    private final int count;
    private final long firstTimestamp;
    private final List<byte[]> values;
    private final PrintWriter acks;

    private Produce(String[] args) throws Exception {
        bootstrap = args[0];
        count = Integer.parseInt(args[1]);
        firstTimestamp = Long.parseLong(args[2]);
        values = Files.readAllLines(Path.of(args[3])).stream().map(HexFormat.of()::parseHex).toList();
        acks = new PrintWriter(args[4], StandardCharsets.UTF_8);
    }

    public static void main(String[] args) throws Exception {
        Produce produce = new Produce(args);
        for (int i = 5; i < args.length; i++) {
            String[] job = args[i].split("=", 2);
            if (job[0].equals("aborted")) produce.transactions(job[1]);
            else produce.records(job[0], job[1]);
        }
        produce.acks.close();
    }

    /** First a few hundred records in batches of one to seven, then the rest in batches that are as large as they get. */
    private void records(String codec, String topic) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        Map<String, Object> large = Map.of("compression.type", codec, "linger.ms", 50, "batch.size", 500_000);
        try (KafkaProducer<byte[], byte[]> producer = producer(large)) {
            for (int i = 0; i < count; i++) {
                sent.add(producer.send(record(topic, i)));
                if (i < SMALL_BATCHES && i % 8 != 1) producer.flush();
            }
        }
        for (int i = 0; i < count; i++) acknowledge(topic, i, sent.get(i).get());
    }

    /** Two producers whose transactions overlap in the log; of every three, one is aborted, and so is the last. */
    private void transactions(String topic) throws Exception {
        List<KafkaProducer<byte[], byte[]>> producers = new ArrayList<>();
        for (String name : List.of("one", "two")) {
            Map<String, Object> settings = Map.of("transactional.id", topic + "-" + name, "compression.type", "lz4");
            KafkaProducer<byte[], byte[]> producer = producer(settings);
            producer.initTransactions();
            producers.add(producer);
        }
        int transactions = count / TRANSACTION_RECORDS / 6 * 6;
        for (int t = 0; t < transactions; t += 2) {
            List<List<Future<RecordMetadata>>> sent = List.of(new ArrayList<>(), new ArrayList<>());
            for (KafkaProducer<byte[], byte[]> producer : producers) producer.beginTransaction();
            for (int i = 0; i < TRANSACTION_RECORDS; i++) {
                for (int p = 0; p < 2; p++) {
                    ProducerRecord<byte[], byte[]> record = record(topic, (t + p) * TRANSACTION_RECORDS + i);
                    sent.get(p).add(producers.get(p).send(record));
                    if (i % 9 == 4) producers.get(p).flush();
                }
            }
            for (int p = 0; p < 2; p++) {
                producers.get(p).flush();
                if ((t + p) % 3 == 2) {
                    producers.get(p).abortTransaction();
                    continue;
                }
                producers.get(p).commitTransaction();
                for (int i = 0; i < TRANSACTION_RECORDS; i++) {
                    acknowledge(topic, (t + p) * TRANSACTION_RECORDS + i, sent.get(p).get(i).get());
                }
            }
        }
        for (KafkaProducer<byte[], byte[]> producer : producers) producer.close();
    }

    private KafkaProducer<byte[], byte[]> producer(Map<String, Object> settings) {
        Map<String, Object> all = new java.util.HashMap<>(settings);
        all.put("bootstrap.servers", bootstrap);
        return new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private ProducerRecord<byte[], byte[]> record(String topic, int index) {
        byte[] key = index % 5 == 0 ? null : ("flower-" + index).getBytes(StandardCharsets.UTF_8);
        byte[] value = values.get(index % values.size());
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, null, firstTimestamp + index, key, value);
        if (index % 3 == 0) return record;
        record.headers().add(new RecordHeader("twice", ByteBuffer.allocate(4).putInt(index).array()));
        record.headers().add(new RecordHeader("traceparent", ("00-" + index).getBytes(StandardCharsets.UTF_8)));
        record.headers().add(new RecordHeader("twice", new byte[0]));
        record.headers().add(new RecordHeader("nothing", (byte[]) null));
        return record;
    }

    private void acknowledge(String topic, int index, RecordMetadata metadata) {
        acks.println(topic + " " + index + " " + metadata.partition() + " " + metadata.offset());
    }
}
