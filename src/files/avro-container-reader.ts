import { messageOf, type RecordFault, type SluiceError } from '../core/errors.ts'
import type { FileColumn, FileRow, RecordDecoder, RowChunk, RowReader } from '../core/files.ts'
import type { TensorColumn } from '../core/tensor.ts'
import {
  type ContainerHeader,
  decompressAt,
  decompressorOf,
  MAX_BLOCK_BYTES,
  parseHeader,
  readVarint,
} from './avro-blocks.ts'
import { invalid } from './errors.ts'
import { FileWindows, type Window } from './file-window.ts'

/** Blocks that are decompressed at once, on the threads that Node has for it. */
const BLOCKS_AT_ONCE = 8
const SYNC_BYTES = 16
/** Of a position of each row. */
const ROW_BYTES = 4

/** The records of one block, decompressed or not: the bytes [from, to). */
interface Block {
  readonly bytes: Buffer
  readonly from: number
  readonly to: number
  readonly rows: number
  /** Where it begins in the file. */
  readonly position: number
}

/** Reads an Avro container file block by block. Records are decoded where they lie: nothing is made of those that are good. */
export class AvroContainerReader implements RowReader {
  readonly columns: readonly FileColumn[]
  readonly #windows: FileWindows
  readonly #header: ContainerHeader
  readonly #decompress: ReturnType<typeof decompressorOf>
  readonly #decoder: RecordDecoder
  readonly #chunks: AsyncGenerator<RowChunk>

  private constructor(windows: FileWindows, header: ContainerHeader, decoder: RecordDecoder) {
    this.#windows = windows
    this.#header = header
    this.#decoder = decoder
    this.#decompress = decompressorOf(header.codec)
    this.columns = decoder.columns
    this.#chunks = this.#read()
  }

  /**
   * @param createDecoder is given the writer schema of the file
   * @throws SluiceError `file-unusable`, `file-invalid`, and what `createDecoder` throws
   */
  static async open(path: string, createDecoder: (schema: string) => RecordDecoder): Promise<AvroContainerReader> {
    const windows = await FileWindows.open(path)
    try {
      const header = await readHeader(windows)
      const decoder = createDecoder(header.schema)
      return await problemsOf(windows, async () => new AvroContainerReader(windows, header, decoder))
    } catch (error) {
      await windows.close()
      throw error
    }
  }

  get size(): number {
    return this.#windows.size
  }

  get position(): number {
    return this.#windows.position
  }

  async next(): Promise<RowChunk | undefined> {
    const { done, value } = await problemsOf(this.#windows, () => this.#chunks.next())
    return done ? undefined : value
  }

  async close(): Promise<void> {
    await this.#windows.close()
  }

  async *#read(): AsyncGenerator<RowChunk> {
    for (let least = 1; ; ) {
      const window = await this.#windows.next(least)
      const { blocks, end, missing } = this.#blocksOf(window)
      this.#windows.keep(window.bytes.subarray(end))
      least = missing
      if (blocks.length === 0) window.release()
      else if (this.#decompress === undefined) yield new BlockChunk(blocks, this.#decoder, window.release)
      else yield* this.#decompressed(blocks, window)
      if (!window.last) continue
      if (end < window.bytes.length) throw new Error('ends within a block: it was cut off')
      return
    }
  }

  /** The whole blocks of a window, where they end, and how many bytes the next one lacks. */
  #blocksOf({ bytes }: Window): { blocks: Block[]; end: number; missing: number } {
    const blocks: Block[] = []
    const start = this.#windows.position - bytes.length
    let end = 0
    for (;;) {
      const count = readVarint(bytes, end)
      const size = count === undefined ? undefined : readVarint(bytes, count.end)
      if (count === undefined || size === undefined) return { blocks, end, missing: 1 }
      const position = start + end
      if (!(count.value >= 0 && size.value >= 0 && size.value <= MAX_BLOCK_BYTES)) {
        throw new Error(`has no block at byte ${position}, where one should begin`)
      }
      const to = size.end + size.value
      if (to + SYNC_BYTES > bytes.length) return { blocks, end, missing: to + SYNC_BYTES - bytes.length }
      if (this.#header.sync.compare(bytes, to, to + SYNC_BYTES) !== 0) {
        throw new Error(`has a block at byte ${position} that does not end where it says`)
      }
      const block = { bytes, from: size.end, to, rows: count.value, position }
      if (this.#decompress === undefined) checkRows(block)
      if (count.value > 0) blocks.push(block)
      end = to + SYNC_BYTES
    }
  }

  async *#decompressed(blocks: readonly Block[], window: Window): AsyncGenerator<RowChunk> {
    for (let first = 0; first < blocks.length; first += BLOCKS_AT_ONCE) {
      const group = blocks.slice(first, first + BLOCKS_AT_ONCE)
      const plain = await Promise.all(group.map(block => this.#decompressBlock(block)))
      yield new BlockChunk(plain, this.#decoder, () => {})
    }
    window.release()
  }

  async #decompressBlock({ bytes, from, to, rows, position }: Block): Promise<Block> {
    const all = await decompressAt(this.#decompress!, bytes.subarray(from, to), position)
    const block = { bytes: all, from: 0, to: all.length, rows, position }
    checkRows(block)
    return block
  }
}

/** Records without any bytes have nothing to predict from, and a false count of them would cost memory. */
function checkRows({ from, to, rows, position }: Block): void {
  if (rows > to - from) throw new Error(`has a block at byte ${position} with ${rows} records in ${to - from} bytes`)
}

async function readHeader(windows: FileWindows): Promise<ContainerHeader> {
  return problemsOf(windows, async () => {
    for (let least = 1; ; least *= 2) {
      const { bytes, last, release } = await windows.next(least)
      const header = parseHeader(bytes)
      if (header !== 'more') {
        windows.keep(bytes.subarray(header.end))
        release()
        return header
      }
      if (last) throw new Error('ends within its header')
      windows.keep(bytes)
      least = bytes.length
      release()
    }
  })
}

/** What is wrong with the file, with its name. */
async function problemsOf<T>(windows: FileWindows, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (isKnown(error)) throw error
    throw invalid(windows.path, messageOf(error))
  }
}

function isKnown(error: unknown): error is SluiceError {
  return error instanceof Error && 'code' in error && error.name === 'SluiceError'
}

/** Some blocks of a file. */
class BlockChunk implements RowChunk {
  readonly rows: number
  readonly memory: number
  readonly #blocks: readonly Block[]
  readonly #decoder: RecordDecoder
  readonly #release: () => void
  /** Where each decoded row begins in the bytes of its block; -1 where that is not known. */
  readonly #starts: Int32Array
  /** The first row of each block. */
  readonly #firstRows: readonly number[]
  #block = -1
  #at = 0
  /** Rows of the block that are not decoded yet. */
  #left = 0

  constructor(blocks: readonly Block[], decoder: RecordDecoder, release: () => void) {
    let rows = 0
    let bytes = 0
    this.#firstRows = blocks.map(block => {
      rows += block.rows
      bytes += block.to - block.from
      return rows - block.rows
    })
    this.rows = rows
    this.memory = bytes + ROW_BYTES * rows
    this.#blocks = blocks
    this.#decoder = decoder
    this.#release = release
    this.#starts = new Int32Array(rows)
  }

  decode(index: number, row: number, inputs: readonly TensorColumn[]): RecordFault | undefined {
    if (this.#left === 0) this.#enterBlock()
    this.#left--
    this.#starts[index] = this.#at
    if (this.#at < 0) return LOST
    const { bytes, to } = this.#blocks[this.#block]!
    const fault = this.#decoder.decode(bytes, this.#at, to, row, inputs)
    this.#at = this.#decoder.end
    if (this.#left === 0 && this.#at >= 0 && this.#at !== to && fault === undefined) return trailing(to - this.#at)
    return fault
  }

  values(index: number): FileRow {
    const start = this.#starts[index]!
    if (start < 0) return null
    const { bytes, to } = this.#blockOf(index)
    return this.#decoder.values(bytes, start, to)
  }

  pick(index: number, names: readonly string[]): readonly unknown[] {
    const { bytes, to } = this.#blockOf(index)
    return this.#decoder.pick(bytes, this.#starts[index]!, to, names)
  }

  release(): void {
    this.#release()
  }

  #enterBlock(): void {
    this.#block++
    const block = this.#blocks[this.#block]!
    this.#at = block.from
    this.#left = block.rows
  }

  #blockOf(index: number): Block {
    return this.#blocks[this.#firstRows.findLastIndex(first => first <= index)]!
  }
}

const LOST: RecordFault = {
  code: 'invalid-avro',
  message: 'a record before this one in its block makes no sense, so nobody knows where this one begins',
}

function trailing(bytes: number): RecordFault {
  return { code: 'trailing-bytes', message: `the last record of the block ends ${bytes} bytes before the block does` }
}
