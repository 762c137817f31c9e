/** Memory that is used for something else once all who hold it have let go. */
export interface Lease {
  /** One more reads it, and will let go. */
  hold(): void
  /** Once for each holder, who reads nothing of it afterwards. Whoever never does leaves it to the garbage collector. */
  letGo(): void
}

/**
 * Records of one partition as they lie in the log, in offset order: the unit that travels through Sluice. No object per
 * record: the bytes stay where the network put them, and `columns` says where the parts of each record are. It may hold
 * several batches of the log that lie one behind the other. Nobody writes to a batch after it was made.
 */
export interface RecordBatch {
  readonly topic: string
  readonly partition: number
  readonly count: number
  /** The records section, decompressed; of several batches of the log, with what lies between their sections. */
  readonly bytes: Buffer
  /** Of `bytes`, `columns` and `timestamps`, where these are lent; for whoever is the last to use them. */
  readonly lease?: Lease | undefined
  /** `COLUMNS` integers a record, see {@link Column}. */
  readonly columns: Int32Array
  /** Of the first batch of the log; a record's offset is `baseOffset + columns[i * COLUMNS + Column.offsetDelta]`. */
  readonly baseOffset: number
  /** Milliseconds since the epoch, one a record. */
  readonly timestamps: Float64Array
}

/** Integers a record in {@link RecordBatch.columns}. */
export const COLUMNS = 8

/** Which integer of a record's eight says what. Positions are byte positions in {@link RecordBatch.bytes}. */
export const Column = {
  offsetDelta: 0,
  keyStart: 1,
  /** -1 for a null key. */
  keyLength: 2,
  valueStart: 3,
  /** -1 for a null value. */
  valueLength: 4,
  headerCount: 5,
  /** Position of the first header, after the count. */
  headersStart: 6,
  /** Position after the last header. */
  headersEnd: 7,
} as const

export function offsetOf(batch: RecordBatch, index: number): number {
  return batch.baseOffset + batch.columns[index * COLUMNS + Column.offsetDelta]!
}

/** What of a fetch lies below offset `end`; what lies above is let go of. */
export function below(fetched: FetchedRecords, end: number): FetchedRecords {
  if (fetched.nextOffset <= end) return fetched
  const batches: RecordBatch[] = []
  for (const batch of fetched.batches) {
    let { count } = batch
    while (count > 0 && offsetOf(batch, count - 1) >= end) count--
    if (count === 0) batch.lease?.letGo()
    else batches.push(count === batch.count ? batch : { ...batch, count })
  }
  return { ...fetched, batches, nextOffset: end }
}

/** Bytes of `columns` and `timestamps` for one record. */
export const COLUMN_BYTES = COLUMNS * Int32Array.BYTES_PER_ELEMENT + Float64Array.BYTES_PER_ELEMENT

/** Bytes that a batch keeps from being used otherwise: its records and where their parts are. */
export function memoryOf({ bytes, count }: RecordBatch): number {
  return bytes.length + count * COLUMN_BYTES
}

/** The same batch in memory of its own; what `batch` held is let go. */
export function ownCopy(batch: RecordBatch): RecordBatch {
  if (batch.lease === undefined) return batch
  const bytes = Buffer.allocUnsafeSlow(batch.bytes.length)
  bytes.set(batch.bytes)
  const own = {
    ...batch,
    bytes,
    columns: batch.columns.slice(),
    timestamps: batch.timestamps.slice(),
    lease: undefined,
  }
  batch.lease.letGo()
  return own
}

/** The key's bytes, a view, or null. */
export function keyBytes(batch: RecordBatch, index: number): Buffer | null {
  return slice(batch, index * COLUMNS + Column.keyStart)
}

/** The value's bytes, a view, or null. */
export function valueBytes(batch: RecordBatch, index: number): Buffer | null {
  return slice(batch, index * COLUMNS + Column.valueStart)
}

function slice(batch: RecordBatch, at: number): Buffer | null {
  const length = batch.columns[at + 1]!
  const start = batch.columns[at]!
  return length < 0 ? null : batch.bytes.subarray(start, start + length)
}

/** What one fetch brought for one partition. */
export interface FetchedRecords {
  /** In offset order, without control batches and aborted transactions; may be empty though the position moved. */
  readonly batches: readonly RecordBatch[]
  /** Where to read next: past all that was fetched, control records included. A gap in offsets is no loss. */
  readonly nextOffset: number
  /** The end of the log that a read_committed reader could reach, for the lag. */
  readonly endOffset: number
}
