import { errorOfCode, typeOfCode } from './protocol-errors.ts'
import { type EncodedRequest, sizeOfCompactString, type Uuid, WireReader, WireWriter, ZERO_UUID } from './wire.ts'

/** Flexible, and the newest that every broker has which speaks Fetch 13: both came with Kafka 3.1. */
const API = { apiKey: 3, apiVersion: 12, apiName: 'Metadata' } as const

/** Bytes of a request for one topic, besides its name. */
const FIXED_BYTES = 22

/**
 * Asks a broker for the id of a topic (KIP-516): made with the topic, it tells the topic from another of the same name
 * that was there before or comes after it. A broker answers from its copy of the metadata, which may be a moment old.
 * @throws kafkajs's protocol error, with a `topic`, where the topic does not exist or may not be described; its
 *   connection errors
 */
export async function topicIdOf(broker: KafkajsBroker, topic: string): Promise<Uuid> {
  const { topics } = await broker.connectionPool.send<MetadataResponse>({
    request: { ...API, encode: async () => encodeMetadata(topic) },
    response: { decode: async raw => decodeMetadata(raw), parse: async response => response },
  })
  const found = topics.find(({ name }) => name === topic)
  if (found === undefined) throw Object.assign(errorOfCode(UNKNOWN_TOPIC_OR_PARTITION), { topic })
  const type = typeOfCode(found.errorCode)
  if (type !== undefined && type !== 'LEADER_NOT_AVAILABLE') {
    throw Object.assign(errorOfCode(found.errorCode), { topic })
  }
  // Topics of a cluster that was upgraded from Kafka 2.7 or older, and keeps its old metadata version, have none.
  if (found.topicId === ZERO_UUID) throw errorOfCode(UNSUPPORTED_VERSION)
  return found.topicId
}

/** Of errors that no broker sent. */
const UNKNOWN_TOPIC_OR_PARTITION = 3
const UNSUPPORTED_VERSION = 35

interface MetadataResponse {
  /** Named as kafkajs's connection reads it, to hold back the next request. */
  readonly clientSideThrottleTime: number
  readonly topics: readonly TopicMetadata[]
}

interface TopicMetadata {
  readonly errorCode: number
  readonly name: string
  readonly topicId: Uuid
}

function encodeMetadata(topic: string): EncodedRequest {
  const writer = new WireWriter(FIXED_BYTES + sizeOfCompactString(topic)).noTags()
  writer.compactCount(1).uuid(ZERO_UUID).compactString(topic).noTags()
  // Neither create the topic nor list what we may do with it.
  return writer.int8(0).int8(0).noTags().finish()
}

function decodeMetadata(raw: Buffer): MetadataResponse {
  const reader = new WireReader(raw)
  reader.tags() // of the header
  const clientSideThrottleTime = reader.int32()
  reader.compactArray(skipBroker)
  reader.compactString() // the cluster's id
  reader.int32() // the controller
  const topics = reader.compactArray(decodeTopic)
  reader.tags()
  return { clientSideThrottleTime, topics }
}

function skipBroker(reader: WireReader): void {
  reader.int32() // node id
  reader.compactString() // host
  reader.int32() // port
  reader.compactString() // rack
  reader.tags()
}

function decodeTopic(reader: WireReader): TopicMetadata {
  const errorCode = reader.int16()
  const name = reader.compactString()
  const topicId = reader.uuid()
  reader.boolean() // internal
  reader.compactArray(skipPartition)
  reader.int32() // what we may do
  reader.tags()
  return { errorCode, name, topicId }
}

function skipPartition(reader: WireReader): void {
  reader.int16() // error
  reader.int32() // partition
  reader.int32() // leader
  reader.int32() // its epoch
  for (let list = 0; list < 3; list++) reader.compactArray(replica => replica.int32())
  reader.tags()
}
