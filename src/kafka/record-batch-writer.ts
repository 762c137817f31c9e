import { crc32c } from '@node-rs/crc32'
import { COLUMNS, Column, type RecordBatch } from '../core/record-batch.ts'
import { Attribute, BATCH_HEADER_BYTES, BatchField, LENGTH_PREFIX_BYTES, MAGIC, writeInt64 } from './batch-layout.ts'
import { CODECS, type Codec, compress } from './compression.ts'
import { memoryPool } from './memory-pool.ts'
import { sizeOfVarint, sizeOfVarlong, writeVarint, writeVarlong } from './varint.ts'

/** Below this, a loop copies faster than a call into the runtime. */
const LOOP_COPY_BYTES = 48

/** Who sends a batch, for the broker's check of duplicates and of fenced producers. */
export interface SealOptions {
  readonly producerId: bigint
  readonly producerEpoch: number
  /** Sequence number of the first record; the next batch of this partition begins `records` later. */
  readonly baseSequence: number
  readonly transactional: boolean
  readonly compression?: Codec
}

/** A record batch as a Produce request carries it. */
export interface SealedBatch {
  readonly topic: string
  readonly partition: number
  /** Header and records. Uncompressed, a view of the writer's memory: valid until the writer is freed. */
  readonly bytes: Buffer
  readonly records: number
}

const NO_SLAB: Buffer<ArrayBuffer> = Buffer.from(new ArrayBuffer(0))

/** Memory that a batch begins with at least. */
const FIRST_BYTES = 64 * 1024

/**
 * One record batch under construction, in one growing piece of memory that `free` gives back to the pool. The header's
 * place is left free and filled by `seal`; a record is written in one pass: `begin`, then `append` until its
 * headers are complete. Layout: https://kafka.apache.org/documentation/#recordbatch.
 */
export class RecordBatchWriter {
  #topic = ''
  #partition = 0
  #maxBytes = 0
  #slab: Buffer<ArrayBuffer> = NO_SLAB
  #at = BATCH_HEADER_BYTES
  #recordEnd = BATCH_HEADER_BYTES
  #records = 0
  /** What was last appended by `appendShared`, and where in the slab it lies. */
  #shared: Uint8Array | undefined
  #sharedAt = 0
  #baseTimestamp = 0
  #maxTimestamp = 0

  get topic(): string {
    return this.#topic
  }

  get partition(): number {
    return this.#partition
  }

  get records(): number {
    return this.#records
  }

  /** Bytes so far, header included. */
  get length(): number {
    return this.#at
  }

  /**
   * Begins an empty batch. What the last one returned is no longer valid.
   * @param maxBytes that it may have, header included
   * @param expected bytes that it will probably have
   */
  open(topic: string, partition: number, maxBytes: number, expected = 0): void {
    this.#topic = topic
    this.#partition = partition
    this.#maxBytes = maxBytes
    this.#at = BATCH_HEADER_BYTES
    this.#recordEnd = BATCH_HEADER_BYTES
    this.#records = 0
    this.#shared = undefined
    if (this.#slab === NO_SLAB) this.#slab = slabOf(Math.max(FIRST_BYTES, expected))
  }

  /** Gives the memory back: nobody may read the batch or its sealed bytes any more, nor write to it before it is opened. */
  free(): void {
    memoryPool.giveBack(this.#slab.buffer)
    this.#slab = NO_SLAB
  }

  /**
   * Writes a record up to its headers: the timestamp and the key of record `index` of `source`, and the first
   * `valueLength` bytes of `value`, or a null value. `headerBytes` bytes of `headerCount` headers must follow through
   * `append` before anything else.
   * @returns false, with nothing written, where the batch has records and would exceed its limit. A single record may
   *   exceed it.
   */
  begin(
    source: RecordBatch,
    index: number,
    value: Uint8Array | null,
    valueLength: number,
    headerCount: number,
    headerBytes: number,
  ): boolean {
    this.#requireWhole()
    const columns = source.columns
    const column = index * COLUMNS
    const timestamp = source.timestamps[index]!
    const keyStart = columns[column + Column.keyStart]!
    const keyLength = columns[column + Column.keyLength]!
    const nullOrLength = value === null ? -1 : valueLength
    const timestampDelta = this.#records === 0 ? 0 : timestamp - this.#baseTimestamp
    const bodyBytes =
      1 +
      sizeOfVarlong(timestampDelta) +
      sizeOfVarint(this.#records) +
      sizeOfField(keyLength) +
      sizeOfField(nullOrLength) +
      sizeOfVarint(headerCount) +
      headerBytes
    const end = this.#at + sizeOfVarint(bodyBytes) + bodyBytes
    if (end > this.#maxBytes && this.#records > 0) return false
    if (end > this.#slab.length) this.#grow(end)

    const slab = this.#slab
    let at = writeVarint(slab, this.#at, bodyBytes)
    slab[at++] = 0
    at = writeVarlong(slab, at, timestampDelta)
    at = writeVarint(slab, at, this.#records)
    at = writeField(slab, at, source.bytes, keyStart, keyLength)
    at = writeField(slab, at, value, 0, nullOrLength)
    this.#at = writeVarint(slab, at, headerCount)
    this.#recordEnd = end
    this.#count(timestamp)
    return true
  }

  /** Copies bytes [start, end) of headers to the record that was begun. */
  append(bytes: Uint8Array, start: number, end: number): void {
    this.#requireRoom(end - start)
    copyBytes(bytes, start, end, this.#slab, this.#at)
    this.#at += end - start
  }

  /**
   * As `append` of all of `bytes`, which do not change while the batch is open: where the last record had the same, they
   * are copied within the batch, which takes a third of the time because it needs no view of them.
   */
  appendShared(bytes: Uint8Array): void {
    const at = this.#at
    this.#requireRoom(bytes.length)
    if (this.#shared === bytes) this.#slab.copyWithin(at, this.#sharedAt, this.#sharedAt + bytes.length)
    else this.#slab.set(bytes, at)
    this.#shared = bytes
    this.#sharedAt = at
    this.#at = at + bytes.length
  }

  /** Appends a whole number, not negative, as text of exactly `digits` digits. */
  appendDecimal(value: number, digits: number): void {
    this.#requireRoom(digits)
    const end = this.#at + digits
    writeDigits(this.#slab, this.#at, end, value)
    this.#at = end
  }

  /** Fills in the header and the checksum. Does not change the batch, so it may be sealed again, differently. */
  seal(options: SealOptions): SealedBatch {
    this.#requireWhole()
    if (this.#records === 0) throw new RangeError('a batch without records cannot be sealed')
    const codec = options.compression ?? 'none'
    const bytes = this.#withRecords(codec)
    bytes.fill(0, 0, BatchField.magic) // base offset and leader epoch are the broker's to set
    bytes.writeInt32BE(bytes.length - LENGTH_PREFIX_BYTES, BatchField.length)
    bytes[BatchField.magic] = MAGIC
    const attributes = CODECS.indexOf(codec) | (options.transactional ? Attribute.transactional : 0)
    bytes.writeInt16BE(attributes, BatchField.attributes)
    bytes.writeInt32BE(this.#records - 1, BatchField.lastOffsetDelta)
    writeInt64(bytes, BatchField.baseTimestamp, this.#baseTimestamp)
    writeInt64(bytes, BatchField.maxTimestamp, this.#maxTimestamp)
    bytes.writeBigInt64BE(options.producerId, BatchField.producerId)
    bytes.writeInt16BE(options.producerEpoch, BatchField.producerEpoch)
    bytes.writeInt32BE(options.baseSequence, BatchField.baseSequence)
    bytes.writeInt32BE(this.#records, BatchField.count)
    bytes.writeUInt32BE(crc32c(bytes.subarray(BatchField.attributes)), BatchField.crc)
    return { topic: this.#topic, partition: this.#partition, bytes, records: this.#records }
  }

  /** Room for a header, then the records: the slab itself, or a new buffer where they are compressed. */
  #withRecords(codec: Codec): Buffer {
    if (codec === 'none') return this.#slab.subarray(0, this.#at)
    const records = compress(codec, this.#slab.subarray(BATCH_HEADER_BYTES, this.#at))
    const bytes = Buffer.allocUnsafe(BATCH_HEADER_BYTES + records.length)
    records.copy(bytes, BATCH_HEADER_BYTES)
    return bytes
  }

  #count(timestamp: number): void {
    if (this.#records++ === 0) {
      this.#baseTimestamp = timestamp
      this.#maxTimestamp = timestamp
    } else if (timestamp > this.#maxTimestamp) {
      this.#maxTimestamp = timestamp
    }
  }

  #requireRoom(bytes: number): void {
    if (this.#at + bytes <= this.#recordEnd) return
    throw new RangeError(`${bytes} bytes of headers, but ${this.#recordEnd - this.#at} were announced`)
  }

  #grow(needed: number): void {
    const before = this.#slab
    this.#slab = slabOf(Math.max(needed, 2 * before.length))
    before.copy(this.#slab, 0, 0, this.#at)
    memoryPool.giveBack(before.buffer)
  }

  #requireWhole(): void {
    if (this.#at === this.#recordEnd) return
    throw new RangeError(`${this.#recordEnd - this.#at} bytes of the last record's headers are missing`)
  }
}

function slabOf(bytes: number): Buffer<ArrayBuffer> {
  return Buffer.from(memoryPool.take(bytes)) as Buffer<ArrayBuffer>
}

function sizeOfField(length: number): number {
  return length < 0 ? 1 : sizeOfVarint(length) + length
}

function writeField(target: Buffer, at: number, source: Uint8Array | null, start: number, length: number): number {
  const after = writeVarint(target, at, length)
  if (source === null || length < 0) return after
  copyBytes(source, start, start + length, target, after)
  return after + length
}

const DIGIT_ZERO = 0x30

/** From the right; the high digits of what exceeds 32 bits are taken off first, because integers divide faster. */
function writeDigits(target: Buffer, start: number, end: number, value: number): void {
  let at = end
  let rest = value
  while (at > start && rest > 0x7fffffff) {
    const tenth = Math.floor(rest / 10)
    target[--at] = DIGIT_ZERO + (rest - tenth * 10)
    rest = tenth
  }
  while (at > start) {
    const tenth = (rest / 10) | 0
    target[--at] = DIGIT_ZERO + (rest - tenth * 10)
    rest = tenth
  }
}

function copyBytes(source: Uint8Array, start: number, end: number, target: Buffer, at: number): void {
  if (end - start > LOOP_COPY_BYTES) {
    target.set(source.subarray(start, end), at)
  } else {
    for (let from = start; from < end; from++) target[at++] = source[from]!
  }
}
