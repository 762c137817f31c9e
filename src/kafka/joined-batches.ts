import { COLUMN_BYTES, memoryOf, type RecordBatch } from '../core/record-batch.ts'
import { Loan } from './answer-memory.ts'
import { Attribute, BATCH_HEADER_BYTES, BatchField, readInt64 } from './batch-layout.ts'
import { CODECS, decompress } from './compression.ts'
import type { RecordSet } from './record-batch-reader.ts'
import { MIN_RECORD_BYTES, parseRecords, RecordColumns, type RecordsContext } from './record-parser.ts'
import { MalformedBytesError } from './varint.ts'

const DEFAULT_MAX_DECOMPRESSED_BYTES = 256 * 1024 * 1024

/**
 * As much as is one batch here. Producers send 16 KiB unless told otherwise, which is five records of 3 KB: what every
 * batch costs (a dozen objects on its way) would be the most of it.
 */
const MOST_JOINED_BYTES = 256 * 1024

/** A batch in the log, checked but for its records. */
export interface BatchHeader {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  readonly baseOffset: number
  readonly lastOffset: number
  readonly attributes: number
}

/** What a batch of the log adds to the memory that is used. */
interface Added {
  readonly records: number
  readonly bytes: number
}

export const NOTHING: Added = { records: 0, bytes: 0 }

/** Gathers the batches of a log, in their order: those that are not compressed are joined as long as they are small. */
export class JoinedBatches {
  readonly #set: RecordSet
  readonly #batches: RecordBatch[] = []
  #open: Joined | undefined

  constructor(set: RecordSet) {
    this.#set = set
  }

  /** @throws MalformedBytesError when its records are not as they must be; what was added before stays */
  add(header: BatchHeader): Added {
    const codec = CODECS[header.attributes & Attribute.codec]
    if (codec === undefined) {
      throw new MalformedBytesError(`compression ${header.attributes & Attribute.codec} is unknown`)
    }
    if (codec !== 'none') return this.#addCompressed(codec, header)
    const before = this.#fitting(header)
    const open = before ?? new Joined(this.#set, header)
    const added = open.add(header)
    if (open !== before) {
      this.#close()
      this.#open = open
    }
    return added
  }

  /** All that was added. Every batch holds what it lies in from now on. */
  finish(): RecordBatch[] {
    this.#close()
    return this.#batches
  }

  /** Which batch this one may be joined to. */
  #fitting({ end, baseOffset, lastOffset }: BatchHeader): Joined | undefined {
    const open = this.#open
    if (open === undefined) return undefined
    const { boundary = Number.POSITIVE_INFINITY } = this.#set
    const crosses = open.baseOffset < boundary && baseOffset >= boundary
    const fits = end - open.start <= MOST_JOINED_BYTES && lastOffset - open.baseOffset <= MAX_INT32
    return fits && !crosses ? open : undefined
  }

  #addCompressed(codec: Exclude<(typeof CODECS)[number], 'none'>, header: BatchHeader): Added {
    const { topic, partition, maxDecompressedBytes = DEFAULT_MAX_DECOMPRESSED_BYTES } = this.#set
    const { start, end, baseOffset } = header
    const bytes = decompress(codec, header.bytes.subarray(start + BATCH_HEADER_BYTES, end), maxDecompressedBytes)
    const context = contextOf(this.#set, header)
    const columns = new RecordColumns(0)
    parseRecords({ bytes, start: 0, end: bytes.length }, context, columns, 0, 0)
    if (columns.count === 0) return NOTHING
    this.#close()
    const lease = leaseOf(columns, undefined)
    const batch: RecordBatch = { topic, partition, bytes, baseOffset, lease, ...columns.finish() }
    this.#batches.push(batch)
    return { records: batch.count, bytes: memoryOf(batch) }
  }

  #close(): void {
    const batch = this.#open?.finish()
    if (batch !== undefined) this.#batches.push(batch)
    this.#open = undefined
  }
}

const MAX_INT32 = 0x7fff_ffff

/** Batches of the log, not compressed, which become one. */
class Joined {
  readonly #set: RecordSet
  /** Where the records of the first begin. */
  readonly start: number
  readonly baseOffset: number
  readonly #columns: RecordColumns
  #end: number

  constructor(set: RecordSet, { start, end, bytes, baseOffset }: BatchHeader) {
    this.#set = set
    this.start = start + BATCH_HEADER_BYTES
    this.#end = this.start
    this.baseOffset = baseOffset
    // Those that follow are probably like the first.
    const count = bytes.readInt32BE(start + BatchField.count)
    const like = Math.min(bytes.length - start, MOST_JOINED_BYTES) / (end - start)
    const plausible = Math.max(0, Math.min(count, (end - start) / MIN_RECORD_BYTES))
    this.#columns = new RecordColumns(Math.ceil(plausible * Math.max(1, like)))
  }

  add(header: BatchHeader): Added {
    const { start, end, bytes, baseOffset } = header
    const columns = this.#columns
    const before = columns.count
    const section = { bytes, start: start + BATCH_HEADER_BYTES, end }
    parseRecords(section, contextOf(this.#set, header), columns, this.start, baseOffset - this.baseOffset)
    const records = columns.count - before
    if (records === 0) return NOTHING
    const added = { records, bytes: end - this.#end + records * COLUMN_BYTES }
    this.#end = end
    return added
  }

  finish(): RecordBatch | undefined {
    if (this.#columns.count === 0) {
      this.#columns.giveBack()
      return undefined
    }
    const { topic, partition, bytes, loan } = this.#set
    const { start, baseOffset } = this
    const lease = leaseOf(this.#columns, loan)
    const records = bytes.subarray(start, this.#end)
    return { topic, partition, bytes: records, baseOffset, lease, ...this.#columns.finish() }
  }
}

/** Of one batch: of its columns, and of the answer in which its records lie. */
function leaseOf(columns: RecordColumns, answer: Loan | undefined): Loan {
  answer?.hold()
  return new Loan(() => {
    columns.giveBack()
    answer?.letGo()
  })
}

function contextOf({ fetchOffset }: RecordSet, header: BatchHeader): RecordsContext {
  const { bytes, start, baseOffset, lastOffset, attributes } = header
  const stamped = (attributes & Attribute.logAppendTime) !== 0
  return {
    count: bytes.readInt32BE(start + BatchField.count),
    lastOffsetDelta: lastOffset - baseOffset,
    baseTimestamp: readInt64(bytes, start + BatchField.baseTimestamp),
    appendTime: stamped ? readInt64(bytes, start + BatchField.maxTimestamp) : undefined,
    firstDelta: fetchOffset - baseOffset,
  }
}
