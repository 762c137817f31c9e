import type { EpochEnd } from './fetch-protocol.ts'
import { errorOfCode } from './protocol-errors.ts'
import { type EncodedRequest, sizeOfString, WireReader, WireWriter } from './wire.ts'

const API = { apiKey: 23, apiVersion: 3, apiName: 'OffsetForLeaderEpoch' } as const
const CONSUMER = -1
const UNKNOWN = -1

/** Bytes of a request for one partition, besides the topic's name. */
const FIXED_BYTES = 24

/**
 * Asks a partition's leader where its log leaves an epoch (KIP-101, KIP-320): the last epoch up to `epoch` that the log
 * has records of, and the offset after its last record. A log that was truncated below an offset of that epoch, and has
 * perhaps grown again since, has left it earlier. Undefined when the log knows no such epoch.
 * @throws kafkajs's protocol and connection errors
 */
export async function endOfEpoch(
  leader: KafkajsBroker,
  topic: string,
  partition: number,
  epoch: number,
): Promise<EpochEnd | undefined> {
  const answer = await leader.connectionPool.send<EpochResponse>({
    request: { ...API, encode: async () => encodeRequest(topic, partition, epoch) },
    response: { decode: async raw => decodeResponse(raw), parse: async response => response },
  })
  if (answer.errorCode !== 0) throw errorOfCode(answer.errorCode)
  return answer.epoch === UNKNOWN || answer.endOffset === UNKNOWN ? undefined : answer
}

interface EpochResponse extends EpochEnd {
  readonly errorCode: number
  /** Named as kafkajs's connection reads it, to hold back the next request. */
  readonly clientSideThrottleTime: number
}

function encodeRequest(topic: string, partition: number, epoch: number): EncodedRequest {
  const writer = new WireWriter(FIXED_BYTES + sizeOfString(topic)).int32(CONSUMER).int32(1).string(topic)
  return writer.int32(1).int32(partition).int32(UNKNOWN).int32(epoch).finish()
}

/** One topic and one partition, as was asked. */
function decodeResponse(raw: Buffer): EpochResponse {
  const reader = new WireReader(raw)
  const clientSideThrottleTime = reader.int32()
  const [answer] = reader.array(decodeTopic).flat()
  if (answer === undefined) throw new RangeError('an answer without the partition that was asked for')
  return { clientSideThrottleTime, ...answer }
}

function decodeTopic(reader: WireReader): Omit<EpochResponse, 'clientSideThrottleTime'>[] {
  reader.string()
  return reader.array(() => {
    const errorCode = reader.int16()
    reader.int32() // the partition
    return { errorCode, epoch: reader.int32(), endOffset: reader.int64() }
  })
}
