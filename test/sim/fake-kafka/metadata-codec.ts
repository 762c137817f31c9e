import { type Uuid, WireReader, ZERO_UUID } from '../../../src/kafka/wire.ts'
import { ResponseWriter } from './response-writer.ts'

export interface TopicAnswer {
  readonly errorCode: number
  readonly name: string
  /** Absent where there is no such topic. */
  readonly topicId?: Uuid | undefined
  /** Node ids, by partition. */
  readonly leaders: readonly number[]
}

/** The names in a Metadata request, version 12. */
export function decodeMetadataRequest(bytes: Buffer): string[] {
  const reader = new WireReader(bytes)
  reader.tags() // of the request header
  return reader.compactArray(() => {
    reader.uuid()
    const name = reader.compactString()
    reader.tags()
    return name
  })
}

export function encodeMetadataResponse(brokers: number, topics: readonly TopicAnswer[]): Buffer {
  const writer = new ResponseWriter().noTags().int32(0)
  const nodes = Array.from({ length: brokers }, (_, index) => index + 1)
  writer.compactArray(nodes, node => {
    writer.int32(node).compactString('fake').int32(node).compactString('').noTags()
  })
  writer.compactString('fake').int32(1) // the cluster's id and the controller
  writer.compactArray(topics, ({ errorCode, name, topicId, leaders }) => {
    writer
      .int16(errorCode)
      .compactString(name)
      .uuid(topicId ?? ZERO_UUID)
      .int8(0)
    writer.compactArray([...leaders.entries()], ([partition, leader]) => encodePartition(writer, partition, leader))
    writer.int32(0).noTags()
  })
  return writer.noTags().finish()
}

function encodePartition(writer: ResponseWriter, partition: number, leader: number): void {
  const UNKNOWN_EPOCH = -1
  writer.int16(0).int32(partition).int32(leader).int32(UNKNOWN_EPOCH)
  const node = (id: number) => writer.int32(id)
  // The replicas, those in sync, and those that are away.
  writer.compactArray([leader], node).compactArray([leader], node).compactArray([], node).noTags()
}
