import { WireReader } from '../../../src/kafka/wire.ts'
import { ResponseWriter } from './response-writer.ts'

/** A Produce request, version 7. */
export interface ProduceRequest {
  readonly transactionalId: string | undefined
  readonly batches: readonly ProduceBatch[]
}

export interface ProduceBatch {
  readonly topic: string
  readonly partition: number
  /** A view of the request. */
  readonly bytes: Buffer
}

export interface ProduceAnswer {
  readonly topic: string
  readonly partition: number
  readonly errorCode: number
  readonly baseOffset: number
  readonly logStartOffset: number
}

export function decodeProduceRequest(bytes: Buffer): ProduceRequest {
  const anonymous = bytes.readInt16BE(0) < 0
  const reader = new WireReader(anonymous ? bytes.subarray(2) : bytes)
  const transactionalId = anonymous ? undefined : reader.string()
  reader.int16() // acks
  reader.int32() // time-out
  const batches = reader.array(() => {
    const topic = reader.string()
    return reader.array(() => ({ topic, partition: reader.int32(), bytes: reader.bytes() }))
  })
  return { transactionalId, batches: batches.flat() }
}

export function encodeProduceResponse(answers: readonly ProduceAnswer[]): Buffer {
  const NO_APPEND_TIME = -1
  const writer = new ResponseWriter()
  writer.array([...Map.groupBy(answers, ({ topic }) => topic)], ([topic, ofTopic]) => {
    writer.string(topic).array(ofTopic, ({ partition, errorCode, baseOffset, logStartOffset }) => {
      writer.int32(partition).int16(errorCode).int64(baseOffset).int64(NO_APPEND_TIME).int64(logStartOffset)
    })
  })
  return writer.int32(0).finish()
}
