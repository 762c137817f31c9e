import type { SealedBatch } from './record-batch-writer.ts'
import { type EncodedRequest, sizeOfString, WireReader, WireWriter } from './wire.ts'

const API = { apiKey: 0, apiVersion: 7, apiName: 'Produce' } as const
const ALL_REPLICAS = -1

export interface ProduceOptions {
  /** Absent for a producer without transactions. */
  readonly transactionalId?: string | undefined
  /** How long the leader may wait for its followers. */
  readonly timeoutMs: number
  /** All for partitions that the receiver leads, at most one for each: a broker refuses two batches of a partition. */
  readonly batches: readonly SealedBatch[]
}

/** What a broker answers for one batch. */
export interface ProducedPartition {
  readonly topic: string
  readonly partition: number
  /** 0, or a code of the protocol; then the batch was not appended by this request. */
  readonly errorCode: number
  /** Offset of the first record. */
  readonly baseOffset: number
}

/**
 * Sends batches to a broker and waits for all in-sync replicas (Produce version 7). Errors of partitions are returned;
 * kafkajs's connection errors are thrown. The batches' bytes are copied before the request is queued, and not read
 * after that, however the call ends.
 */
export async function produceBatches(
  broker: KafkajsBroker,
  options: ProduceOptions,
): Promise<readonly ProducedPartition[]> {
  const { partitions } = await broker.connectionPool.send<ProduceResponse>({
    request: { ...API, encode: async () => encodeProduce(options) },
    response: { decode: async raw => decodeProduce(raw), parse: async response => response },
  })
  return partitions
}

interface ProduceResponse {
  /** Named as kafkajs's connection reads it, to hold back the next request. */
  readonly clientSideThrottleTime: number
  readonly partitions: readonly ProducedPartition[]
}

function encodeProduce({ transactionalId, timeoutMs, batches }: ProduceOptions): EncodedRequest {
  const topics = Map.groupBy(batches, batch => batch.topic)
  let size = sizeOfString(transactionalId ?? null) + 10
  for (const topic of topics.keys()) size += sizeOfString(topic) + 4
  for (const { bytes } of batches) size += 8 + bytes.length

  const writer = new WireWriter(size)
    .string(transactionalId ?? null)
    .int16(ALL_REPLICAS)
    .int32(timeoutMs)
    .int32(topics.size)
  for (const [topic, ofTopic] of topics) {
    writer.string(topic).int32(ofTopic.length)
    for (const { partition, bytes } of ofTopic) writer.int32(partition).bytes(bytes)
  }
  return writer.finish()
}

function decodeProduce(raw: Buffer): ProduceResponse {
  const reader = new WireReader(raw)
  const partitions = reader.array(decodeTopic).flat()
  return { clientSideThrottleTime: reader.int32(), partitions }
}

function decodeTopic(reader: WireReader): ProducedPartition[] {
  const topic = reader.string()
  return reader.array(() => {
    const partition = reader.int32()
    const errorCode = reader.int16()
    const baseOffset = reader.int64()
    reader.int64() // the time of the append
    reader.int64() // where the log starts
    return { topic, partition, errorCode, baseOffset }
  })
}
