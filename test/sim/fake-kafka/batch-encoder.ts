import { crc32c } from '@node-rs/crc32'
import {
  Attribute,
  BATCH_HEADER_BYTES,
  BatchField,
  LENGTH_PREFIX_BYTES,
  MAGIC,
  writeInt64,
} from '../../../src/kafka/batch-layout.ts'
import { sizeOfVarint, sizeOfVarlong, writeVarint, writeVarlong } from '../../../src/kafka/varint.ts'

/** A record as a producer outside Sluice hands it over. */
export interface FakeRecord {
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers?: readonly (readonly [name: string, value: Uint8Array | null])[]
  /** Milliseconds since the epoch; the broker's wall time unless given. */
  readonly timestamp?: number
}

/** Who wrote a batch; all -1 for a producer that is not even idempotent. */
export interface BatchProducer {
  readonly producerId: bigint
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly transactional: boolean
  readonly control?: boolean
}

export const NO_PRODUCER: BatchProducer = { producerId: -1n, producerEpoch: -1, baseSequence: -1, transactional: false }

/**
 * A record batch of magic 2, uncompressed, its base offset 0 (https://kafka.apache.org/documentation/#recordbatch).
 * @param wallTime of the records that name no time
 */
export function encodeBatch(records: readonly FakeRecord[], producer: BatchProducer, wallTime: number): Buffer {
  if (records.length === 0) throw new RangeError('a batch has at least one record')
  const times = records.map(record => record.timestamp ?? wallTime)
  const encoded = records.map((record, index) => encodeRecord(record, index, times[index]! - times[0]!))
  const header = Buffer.alloc(BATCH_HEADER_BYTES)
  const batch = Buffer.concat([header, ...encoded])
  batch.writeInt32BE(batch.length - LENGTH_PREFIX_BYTES, BatchField.length)
  batch[BatchField.magic] = MAGIC
  const transactional = producer.transactional ? Attribute.transactional : 0
  batch.writeInt16BE(transactional | (producer.control === true ? Attribute.control : 0), BatchField.attributes)
  batch.writeInt32BE(records.length - 1, BatchField.lastOffsetDelta)
  writeInt64(batch, BatchField.baseTimestamp, times[0]!)
  writeInt64(batch, BatchField.maxTimestamp, Math.max(...times))
  batch.writeBigInt64BE(producer.producerId, BatchField.producerId)
  batch.writeInt16BE(producer.producerEpoch, BatchField.producerEpoch)
  batch.writeInt32BE(producer.baseSequence, BatchField.baseSequence)
  batch.writeInt32BE(records.length, BatchField.count)
  batch.writeUInt32BE(crc32c(batch.subarray(BatchField.attributes)), BatchField.crc)
  return batch
}

/** The control batch that ends a transaction in a partition: EndTxnMarker of KIP-98. */
export function encodeMarker(producerId: bigint, producerEpoch: number, committed: boolean, wallTime: number): Buffer {
  const COORDINATOR_EPOCH = 0
  const key = Buffer.alloc(4)
  key.writeInt16BE(committed ? 1 : 0, 2)
  const value = Buffer.alloc(6)
  value.writeInt32BE(COORDINATOR_EPOCH, 2)
  const producer = { producerId, producerEpoch, baseSequence: -1, transactional: true, control: true }
  return encodeBatch([{ key, value }], producer, wallTime)
}

function encodeRecord({ key, value, headers = [] }: FakeRecord, offsetDelta: number, timeDelta: number): Buffer {
  const names = headers.map(([name]) => Buffer.from(name))
  let size = 1 + sizeOfVarlong(timeDelta) + sizeOfVarint(offsetDelta) + sizeOfField(key) + sizeOfField(value)
  size += sizeOfVarint(headers.length)
  headers.forEach(([, header], index) => {
    size += sizeOfField(names[index]!) + sizeOfField(header)
  })
  const bytes = Buffer.alloc(sizeOfVarint(size) + size)
  let at = writeVarint(bytes, 0, size) + 1
  at = writeVarlong(bytes, at, timeDelta)
  at = writeVarint(bytes, at, offsetDelta)
  at = writeField(bytes, at, key)
  at = writeField(bytes, at, value)
  at = writeVarint(bytes, at, headers.length)
  headers.forEach(([, header], index) => {
    at = writeField(bytes, at, names[index]!)
    at = writeField(bytes, at, header)
  })
  return bytes
}

function sizeOfField(bytes: Uint8Array | null): number {
  return bytes === null ? sizeOfVarint(-1) : sizeOfVarint(bytes.length) + bytes.length
}

function writeField(target: Buffer, at: number, bytes: Uint8Array | null): number {
  if (bytes === null) return writeVarint(target, at, -1)
  const start = writeVarint(target, at, bytes.length)
  target.set(bytes, start)
  return start + bytes.length
}
