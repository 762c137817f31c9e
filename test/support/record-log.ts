/** A record as it lies in the log. Buffers are views of what was fetched. */
export interface LogRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** Milliseconds since the epoch. */
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** In the order of the log, duplicates included. */
  readonly headers: readonly Header[]
  /** Whether it was written in a transaction. */
  readonly transactional: boolean
}

export type Header = readonly [name: string, value: Buffer | null]

export interface AbortedTransaction {
  readonly producerId: bigint
  readonly firstOffset: number
}

/** `topic/partition/offset`: what the header `source` of a record's prediction says. */
export function sourceOf({ topic, partition, offset }: LogRecord): string {
  return `${topic}/${partition}/${offset}`
}

/** The value of the only header of this name, as text; undefined where there is none or it is null. Throws for two. */
export function headerText(record: LogRecord, name: string): string | undefined {
  const found = record.headers.filter(([header]) => header === name)
  if (found.length > 1) throw new Error(`${sourceOf(record)} has ${found.length} headers "${name}".`)
  return found[0]?.[1]?.toString()
}

interface LogOptions {
  readonly topic: string
  readonly partition: number
  /** Records below are left out: a batch that begins earlier may hold them. */
  readonly from: number
  /** By first offset. */
  readonly aborted: readonly AbortedTransaction[]
}

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const CODEC_MASK = 0x07
const LOG_APPEND_TIME = 0x08
const TRANSACTIONAL = 0x10
const CONTROL = 0x20

/** Where the fields of a batch begin (magic 2, "RecordBatch" in Kafka's protocol guide). */
const AT = { length: 8, attributes: 21, lastOffsetDelta: 23, firstTimestamp: 27, maxTimestamp: 35, producerId: 43 }
const COUNT_AT = 57
const RECORDS_AT = 61
const LENGTH_COUNTS_FROM = 12

/**
 * Walks record batches; leaves out control records and what aborted transactions wrote.
 * @returns the records in offset order, and the offset to read from next
 * @throws Error naming the codec of a compressed batch: a worker writes none
 */
export function readLog(bytes: Buffer, options: LogOptions): { records: LogRecord[]; next: number } {
  const records: LogRecord[] = []
  const pending = [...options.aborted].sort((a, b) => a.firstOffset - b.firstOffset)
  const aborting = new Set<bigint>()
  let next = options.from
  for (let at = 0; at + RECORDS_AT <= bytes.length; ) {
    const end = at + LENGTH_COUNTS_FROM + bytes.readInt32BE(at + AT.length)
    if (end > bytes.length) break
    const baseOffset = Number(bytes.readBigInt64BE(at))
    const lastOffset = baseOffset + bytes.readInt32BE(at + AT.lastOffsetDelta)
    const attributes = bytes.readInt16BE(at + AT.attributes)
    const producerId = bytes.readBigInt64BE(at + AT.producerId)
    while (pending.length > 0 && pending[0]!.firstOffset <= lastOffset) aborting.add(pending.shift()!.producerId)
    if ((attributes & CONTROL) !== 0) aborting.delete(producerId)
    else if ((attributes & TRANSACTIONAL) === 0 || !aborting.has(producerId)) {
      readBatch(bytes.subarray(at, end), baseOffset, attributes, options, records)
    }
    next = lastOffset + 1
    at = end
  }
  return { records, next }
}

function readBatch(
  batch: Buffer,
  baseOffset: number,
  attributes: number,
  { topic, partition, from }: LogOptions,
  records: LogRecord[],
): void {
  const codec = CODECS[attributes & CODEC_MASK]
  if (codec !== 'none') throw new Error(`A batch of ${topic}/${partition} is compressed: ${codec}.`)
  const firstTimestamp = Number(batch.readBigInt64BE(AT.firstTimestamp))
  const maxTimestamp = Number(batch.readBigInt64BE(AT.maxTimestamp))
  const transactional = (attributes & TRANSACTIONAL) !== 0
  const cursor = new Cursor(batch, RECORDS_AT)
  for (let left = batch.readInt32BE(COUNT_AT); left > 0; left--) {
    cursor.varint() // length
    cursor.at++ // attributes
    const timestamp = firstTimestamp + cursor.varint()
    const offset = baseOffset + cursor.varint()
    const key = cursor.bytes()
    const value = cursor.bytes()
    const headers: Header[] = []
    for (let more = cursor.varint(); more > 0; more--) headers.push([cursor.bytes()!.toString(), cursor.bytes()])
    if (offset < from) continue
    const time = (attributes & LOG_APPEND_TIME) === 0 ? timestamp : maxTimestamp
    records.push({ topic, partition, offset, timestamp: time, key, value, headers, transactional })
  }
}

class Cursor {
  readonly #bytes: Buffer
  at: number

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes
    this.at = at
  }

  /** A zigzag varint of up to 53 bits. */
  varint(): number {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#bytes[this.at++]!
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2
    }
  }

  /** Bytes after their length, or null where that is -1. */
  bytes(): Buffer | null {
    const length = this.varint()
    if (length < 0) return null
    this.at += length
    return this.#bytes.subarray(this.at - length, this.at)
  }
}
