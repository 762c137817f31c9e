import { RecordBatchWriter } from '../../src/kafka/record-batch-writer.ts'
import { batchOf, range } from '../pipeline/fake-codec.ts'

/** A batch of `records` small records for a partition, ready to be sealed. */
export function outputBatch(topic: string, partition: number, records = 1): RecordBatchWriter {
  const writer = new RecordBatchWriter()
  const source = batchOf(range(0, records))
  writer.open(topic, partition, 1 << 20)
  for (let index = 0; index < records; index++) writer.begin(source, index, Buffer.from('p'), 1, 0, 0)
  return writer
}
