import { crc32c } from '@node-rs/crc32'
import { messageOf, SluiceError } from '../core/errors.ts'
import type { RecordBatch } from '../core/record-batch.ts'
import type { Room } from '../core/transaction.ts'
import { type AbortedTransaction, AbortedTransactions } from './aborted-transactions.ts'
import type { Loan } from './answer-memory.ts'
import { Attribute, BATCH_HEADER_BYTES, BatchField, LENGTH_PREFIX_BYTES, MAGIC, readInt64 } from './batch-layout.ts'
import { type BatchHeader, JoinedBatches, NOTHING } from './joined-batches.ts'
import { MalformedBytesError, VarintReader } from './varint.ts'

const UNLIMITED: Room = { records: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY }

/** The records of one partition in one Fetch response. */
export interface RecordSet {
  readonly topic: string
  readonly partition: number
  /** Whole batches, and perhaps a part of another. The batches returned are views of it where it is not compressed. */
  readonly bytes: Buffer
  /** Where the fetch began. A batch may begin earlier; its records before this offset are left out. */
  readonly fetchOffset: number
  readonly aborted: readonly AbortedTransaction[]
  /** The end of the log: batches that reach beyond it are left for another fetch. Unlimited unless given. */
  readonly endOfLog?: number
  /** A batch that begins there or later is not joined to one before. None unless given. */
  readonly boundary?: number
  /** The most that one compressed batch may grow to; 256 MiB unless told. */
  readonly maxDecompressedBytes?: number
  /** What `bytes` lie in, if they are lent: every batch that is a view of it holds it. */
  readonly loan?: Loan | undefined
  /** Once so many records, or so much memory, have been read, the rest is left for another fetch. Unlimited unless given. */
  readonly room?: Room | undefined
}

/** What a record set holds for a read_committed reader. */
export interface ReadBatches {
  /** In offset order, none empty; batches of the log that lie one behind the other are one here. */
  readonly batches: RecordBatch[]
  /** Past the last batch read, control batches and aborted ones included; `fetchOffset` where there was none. */
  readonly nextOffset: number
  /** Of `bytes`: those of the batches read. */
  readonly bytesRead: number
}

/**
 * Reads record batches of magic 2. Every batch is checked against its CRC-32C and its layout before anything of it is
 * used. Reading ends before a batch that is damaged, if others came before it: they are good, and the next fetch
 * begins with the damaged one. So it does before a batch that is cut off at the end.
 * @throws SluiceError `corrupt-batch` when the very first batch is damaged, or is the one cut off (a broker never sends
 *   that: since Fetch v3 it sends a whole batch or nothing).
 */
export function readRecordBatches(set: RecordSet): ReadBatches {
  const aborted = new AbortedTransactions(set.aborted)
  const joined = new JoinedBatches(set)
  let nextOffset = set.fetchOffset
  let { records, bytes } = set.room ?? UNLIMITED
  let at = 0
  let expected = 0
  while (at < set.bytes.length && records > 0 && bytes > 0) {
    try {
      const header = readHeader(set.bytes, at, expected)
      if (header === undefined) {
        if (at > 0) break
        throw new MalformedBytesError(`${set.bytes.length} bytes came, but no whole batch`)
      }
      if (header.lastOffset >= (set.endOfLog ?? Number.POSITIVE_INFINITY)) break
      const added = isWanted(set, header, aborted) ? joined.add(header) : NOTHING
      records -= added.records
      bytes -= added.bytes
      at = header.end
      expected = header.lastOffset + 1
      nextOffset = Math.max(nextOffset, expected)
    } catch (error) {
      if (!(error instanceof MalformedBytesError)) throw error
      if (at > 0) break
      throw corrupt(set, error)
    }
  }
  return { batches: joined.finish(), nextOffset, bytesRead: at }
}

/**
 * Checks the batch at `start`; undefined where it does not end within `bytes`.
 * @param expected the offset after the batch before it
 */
function readHeader(bytes: Buffer, start: number, expected: number): BatchHeader | undefined {
  if (bytes.length - start < LENGTH_PREFIX_BYTES) return undefined
  const length = bytes.readInt32BE(start + BatchField.length)
  const end = start + LENGTH_PREFIX_BYTES + length
  if (end > bytes.length) return undefined
  if (length < BatchField.crc - LENGTH_PREFIX_BYTES) throw new MalformedBytesError(`a batch of ${length} bytes`)
  const magic = bytes[start + BatchField.magic]!
  if (magic !== MAGIC) {
    throw new MalformedBytesError(`its format is ${magic}, but Kafka 4 writes, and Sluice reads, only ${MAGIC}`)
  }
  if (end - start < BATCH_HEADER_BYTES) throw new MalformedBytesError(`a batch of ${length} bytes`)
  const crc = bytes.readUInt32BE(start + BatchField.crc)
  const computed = crc32c(bytes.subarray(start + BatchField.attributes, end))
  if (crc !== computed) throw new MalformedBytesError(`its CRC-32C is ${hex(computed)}, but it says ${hex(crc)}`)
  const baseOffset = readInt64(bytes, start + BatchField.baseOffset)
  const lastOffset = baseOffset + bytes.readInt32BE(start + BatchField.lastOffsetDelta)
  if (baseOffset < expected || lastOffset < baseOffset || lastOffset >= Number.MAX_SAFE_INTEGER) {
    throw new MalformedBytesError(`it claims offsets ${baseOffset} to ${lastOffset}, but ${expected} is due`)
  }
  return { bytes, start, end, baseOffset, lastOffset, attributes: bytes.readInt16BE(start + BatchField.attributes) }
}

/** Whether the reader shall see what is in the batch. To be asked of every batch, in their order. */
function isWanted(set: RecordSet, header: BatchHeader, aborted: AbortedTransactions): boolean {
  const { bytes, start, attributes, lastOffset } = header
  const control = (attributes & Attribute.control) !== 0
  const skipped = aborted.covers({
    lastOffset,
    producerId: bytes.readBigInt64BE(start + BatchField.producerId),
    transactional: (attributes & Attribute.transactional) !== 0,
    abortMarker: control && isAbortMarker(header),
  })
  return !control && !skipped && lastOffset >= set.fetchOffset
}

/** The type in the key of a control record: int16 version, then int16 type, 0 for abort and 1 for commit. */
function isAbortMarker(header: BatchHeader): boolean {
  const { bytes, start, end } = header
  // Compaction may leave an empty control batch behind.
  if (bytes.readInt32BE(start + BatchField.count) === 0) return false
  const reader = new VarintReader(bytes, start + BATCH_HEADER_BYTES, end)
  reader.readVarint()
  reader.readByte()
  reader.readVarlong()
  reader.readVarint()
  if (reader.readVarint() < 4) throw new MalformedBytesError('a control record has no type')
  const key = reader.at
  reader.skip(4)
  return bytes.readInt16BE(key + 2) === 0
}

function corrupt(set: RecordSet, cause: MalformedBytesError): SluiceError {
  const claimed = set.bytes.length < 8 ? '' : ` (it claims to begin at ${readInt64(set.bytes, BatchField.baseOffset)})`
  return new SluiceError(
    'corrupt-batch',
    `The batch of ${set.topic}/${set.partition} that holds offset ${set.fetchOffset}${claimed} is damaged: ` +
      `${messageOf(cause)}.`,
    { cause },
  )
}

function hex(crc: number): string {
  return `0x${crc.toString(16).padStart(8, '0')}`
}
