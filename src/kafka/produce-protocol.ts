import type { PiecedRequest } from './pieced-requests.ts'
import type { SealedBatch } from './record-batch-writer.ts'
import { encodedRequest, sizeOfString, WireReader, WireWriter } from './wire.ts'

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
 * kafkajs's connection errors are thrown. The batches' bytes go to the socket as they are: nobody may write to them before
 * this has returned; nor ever after, if it throws, because they may still be on their way.
 */
export async function produceBatches(
  broker: KafkajsBroker,
  options: ProduceOptions,
): Promise<readonly ProducedPartition[]> {
  const pieces = encodeProduce(options)
  const encode = async () => encodedRequest(Buffer.concat(pieces))
  const { partitions } = await broker.connectionPool.send<ProduceResponse>({
    request: { ...API, pieces, encode } satisfies PiecedRequest,
    response: { decode: async raw => decodeProduce(raw), parse: async response => response },
  })
  return partitions
}

interface ProduceResponse {
  /** Named as kafkajs's connection reads it, to hold back the next request. */
  readonly clientSideThrottleTime: number
  readonly partitions: readonly ProducedPartition[]
}

/** The request body: what stands before each batch, and the batch itself, in turn. */
function encodeProduce({ transactionalId, timeoutMs, batches }: ProduceOptions): Uint8Array[] {
  const topics = Map.groupBy(batches, batch => batch.topic)
  const id = transactionalId ?? null
  const head = new WireWriter(sizeOfString(id) + 10).string(id).int16(ALL_REPLICAS).int32(timeoutMs).int32(topics.size)
  const pieces: Uint8Array[] = [head.finish().buffer]
  for (const [topic, ofTopic] of topics) {
    pieces.push(new WireWriter(sizeOfString(topic) + 4).string(topic).int32(ofTopic.length).finish().buffer)
    for (const { partition, bytes } of ofTopic) {
      pieces.push(new WireWriter(8).int32(partition).int32(bytes.length).finish().buffer, bytes)
    }
  }
  return pieces
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
