import { createRequire } from 'node:module'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { crc32c } from '@node-rs/crc32'
import fc from 'fast-check'
import kafkajs from 'kafkajs'
import lz4 from 'lz4-napi'
import snappy from 'snappy'
import { COLUMNS, Column, keyBytes, offsetOf, type RecordBatch, valueBytes } from '../../src/core/record-batch.ts'

/** kafkajs's own encoders and decoders: the reference that ours are compared with. */
const require = createRequire(import.meta.url)
export const Decoder = require('kafkajs/src/protocol/decoder')
export const Encoder = require('kafkajs/src/protocol/encoder')
export const stockFrame = require('kafkajs/src/protocol/request')
export const stockFetch = require('kafkajs/src/protocol/requests/fetch/v11/request')
export const stockProduce = require('kafkajs/src/protocol/requests/produce/v7/request')
export const stockMurmur2 = require('kafkajs/src/producer/partitioners/default/murmur2')
export const filterAbortedMessages = require('kafkajs/src/consumer/filterAbortedMessages')
const { RecordBatch: encodeBatch } = require('kafkajs/src/protocol/recordBatch/v0')
const encodeRecord = require('kafkajs/src/protocol/recordBatch/record/v0')
const decodeBatch = require('kafkajs/src/protocol/recordBatch/v0/decoder')

type Compressor = { buffer: Buffer }
const codec = (compress: (bytes: Buffer) => Buffer, decompress: (bytes: Buffer) => Buffer) => () => ({
  compress: async (encoder: Compressor) => compress(encoder.buffer),
  decompress: async (bytes: Buffer) => decompress(bytes),
})
const codecs = kafkajs.CompressionCodecs as unknown as Record<number, unknown>
codecs[kafkajs.CompressionTypes.Snappy] = codec(snappy.compressSync, bytes => snappy.uncompressSync(bytes) as Buffer)
codecs[kafkajs.CompressionTypes.LZ4] = codec(lz4.compressFrameSync, lz4.decompressFrameSync)
codecs[kafkajs.CompressionTypes.ZSTD] = codec(zstdCompressSync, zstdDecompressSync)

/** A record as the tests speak of it. Headers of one name may repeat. */
export interface TestRecord {
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Record<string, Buffer | Buffer[]>
}

export interface BatchOptions {
  readonly firstOffset?: number
  readonly compression?: number
  readonly transactional?: boolean
  readonly producerId?: number
  readonly producerEpoch?: number
  readonly firstSequence?: number
}

/** A batch as kafkajs writes it, the first record's timestamp being the base. */
export async function stockBatch(records: readonly TestRecord[], options: BatchOptions = {}): Promise<Buffer> {
  const timestamps = records.map(record => record.timestamp)
  const firstTimestamp = timestamps[0] ?? 0
  const encoder = await encodeBatch({
    ...options,
    firstTimestamp,
    maxTimestamp: Math.max(...timestamps),
    lastOffsetDelta: records.length - 1,
    records: records.map((record, offsetDelta) =>
      encodeRecord({ ...record, offsetDelta, timestampDelta: record.timestamp - firstTimestamp }),
    ),
  })
  return Buffer.from(encoder.buffer)
}

/** Changes a batch and gives it the checksum that fits. */
export function patched(batch: Buffer, change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(batch)
  change(bytes)
  bytes.writeUInt32BE(crc32c(bytes.subarray(21)), 17)
  return bytes
}

/** A control batch of one record: an abort or a commit marker. */
export async function marker(offset: number, producerId: number, type: 'abort' | 'commit'): Promise<Buffer> {
  const key = Buffer.from([0, 0, 0, type === 'abort' ? 0 : 1])
  const record = { timestamp: 0, key, value: Buffer.alloc(6), headers: {} }
  const batch = await stockBatch([record], { firstOffset: offset, producerId, transactional: true })
  return patched(batch, bytes => bytes.writeInt16BE(0x30, 21))
}

/** What kafkajs reads in a record set of whole batches. */
export async function stockMessages(bytes: Buffer): Promise<StockMessage[]> {
  const decoder = new Decoder(bytes)
  const messages: StockMessage[] = []
  while (decoder.canReadBytes(1)) messages.push(...(await decodeBatch(decoder)).records)
  return messages
}

export interface StockMessage {
  readonly offset: string
  readonly timestamp: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Record<string, Buffer | Buffer[]>
  readonly isControlRecord: boolean
}

export interface PlainRecord {
  readonly offset: number
  readonly timestamp: number
  readonly key: string | null
  readonly value: string | null
  readonly headers: [string, string | null][]
}

/** The records of a batch as text; the headers are decoded by kafkajs. */
export function plain(batch: RecordBatch): PlainRecord[] {
  return Array.from({ length: batch.count }, (_, index) => {
    const at = index * COLUMNS
    const start = batch.columns[at + Column.headersStart]
    const end = batch.columns[at + Column.headersEnd]
    const decoder = new Decoder(batch.bytes.subarray(start, end))
    const headers = Array.from({ length: batch.columns[at + Column.headerCount]! }, (): [string, string | null] => [
      decoder.readVarIntString(),
      decoder.readVarIntBytes()?.toString() ?? null,
    ])
    return {
      offset: offsetOf(batch, index),
      timestamp: batch.timestamps[index]!,
      key: keyBytes(batch, index)?.toString() ?? null,
      value: valueBytes(batch, index)?.toString() ?? null,
      headers,
    }
  })
}

/** The same from what kafkajs read, or was given to write. */
export function plainMessage(message: StockMessage): PlainRecord {
  return {
    offset: Number(message.offset),
    timestamp: Number(message.timestamp),
    key: message.key?.toString() ?? null,
    value: message.value?.toString() ?? null,
    headers: Object.entries(message.headers).flatMap(([name, values]) =>
      [values].flat().map((value): [string, string | null] => [name, value.toString()]),
    ),
  }
}

const text = fc.string({ unit: 'grapheme', maxLength: 40 })
const bytes = fc.oneof(
  text.map(value => Buffer.from(value)),
  fc.nat(9_000).map(length => Buffer.alloc(length, 'sluice')),
)

/** Any record that kafkajs can write too: it knows no null header values. Names keep their order in an object. */
export const anyRecord: fc.Arbitrary<TestRecord> = fc.record({
  timestamp: fc.oneof(
    fc.integer({ min: 1_700_000_000_000, max: 1_700_000_100_000 }),
    fc.integer({ min: -1, max: 2 ** 52 }),
  ),
  key: fc.option(bytes),
  value: fc.option(bytes),
  headers: fc
    .array(
      fc.tuple(
        text.map(name => `h${name}`),
        fc.oneof(bytes, fc.array(bytes, { minLength: 2, maxLength: 3 })),
      ),
      { maxLength: 12 },
    )
    .map(entries => Object.fromEntries(entries)),
})

/** Seed and size of the property tests, printed so that a failure can be repeated: FC_SEED=… node --test … */
export const propertyOptions = { seed: Number(process.env.FC_SEED ?? Date.now() & 0x7fffffff), numRuns: 150 }
console.log(`FC_SEED=${propertyOptions.seed}`)
