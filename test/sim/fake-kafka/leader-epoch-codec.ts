import type { EpochEnd } from '../../../src/kafka/fetch-protocol.ts'
import { WireReader } from '../../../src/kafka/wire.ts'
import { ResponseWriter } from './response-writer.ts'

/** One partition of an OffsetForLeaderEpoch request, version 3. */
export interface EpochQuestion {
  readonly topic: string
  readonly partition: number
  readonly epoch: number
}

export type EpochAnswer = EpochQuestion & { readonly errorCode: number; readonly end: EpochEnd | undefined }

export function decodeEpochRequest(bytes: Buffer): EpochQuestion[] {
  const reader = new WireReader(bytes)
  reader.int32() // replica
  const questions = reader.array(() => {
    const topic = reader.string()
    return reader.array(() => {
      const partition = reader.int32()
      reader.int32() // the leader's epoch
      return { topic, partition, epoch: reader.int32() }
    })
  })
  return questions.flat()
}

export function encodeEpochResponse(answers: readonly EpochAnswer[]): Buffer {
  const UNKNOWN = -1
  const writer = new ResponseWriter().int32(0)
  writer.array(answers, ({ topic, partition, errorCode, end }) => {
    writer.string(topic).int32(1).int16(errorCode).int32(partition)
    writer.int32(end?.epoch ?? UNKNOWN).int64(end?.endOffset ?? UNKNOWN)
  })
  return writer.finish()
}
