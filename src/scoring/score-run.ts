import { SluiceError } from '../core/errors.ts'
import type { PredictionWriter, RowReader } from '../core/files.ts'
import type { ModelIdentity } from '../core/transaction.ts'
import type { DeadLetterFile } from '../files/dead-letter-file.ts'
import type { Batcher } from '../pipeline/batcher.ts'
import { type FilePart, FileRows } from '../pipeline/file-rows.ts'

/** Bytes of output that wait for the disk before it is written to. */
const FLUSH_BYTES = 1 << 20

interface ScoreRunOptions {
  readonly reader: RowReader
  readonly writer: PredictionWriter
  readonly deadLetters: DeadLetterFile
  readonly batcher: Batcher
  /** Input columns that are kept; `whole`: the row itself. */
  readonly sources: readonly string[] | 'whole'
  /** Rows that are read and not written may take so much memory. */
  readonly maxBytes: number
  readonly maxDeadLetters: number
  readonly model: Omit<ModelIdentity, 'provider'>
  readonly onProgress: (run: ScoreRun) => void
}

/**
 * One file on its way: one loop reads while there is room, the other writes what is done, in the order of the input. What is
 * slow holds the others back: rows wait in memory for the sessions and for the disk, and nothing is read until they are out.
 */
export class ScoreRun {
  /** Rows that are out, either way. */
  rows = 0
  predictions = 0
  readonly providers = new Set<string>()
  readonly #options: ScoreRunOptions
  readonly #source = new FileRows()
  /** Wakes the reader: there may be room. */
  #room = Promise.withResolvers<void>()
  #readAll = false
  #failure: unknown

  constructor(options: ScoreRunOptions) {
    this.#options = options
  }

  /** Resolves when every row is out, in the writer or among the dead letters. @throws SluiceError */
  async run(): Promise<void> {
    await Promise.all([this.#guard(this.#read()), this.#guard(this.#write())])
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Ends both loops; `run` throws the first of the reasons. */
  fail(reason: unknown): void {
    this.#failure ??= reason
    this.#wake()
  }

  async #guard(loop: Promise<void>): Promise<void> {
    try {
      await loop
    } catch (error) {
      this.fail(error)
    }
  }

  #wake(): void {
    this.#room.resolve()
    this.#source.settled.notify()
  }

  get #over(): boolean {
    return this.#failure !== undefined
  }

  async #read(): Promise<void> {
    const { reader, batcher, maxBytes } = this.#options
    while (!this.#over) {
      const chunk = await reader.next()
      if (chunk === undefined) break
      this.#source.put(chunk)
      batcher.offer(this.#source)
      while (this.#source.memory >= maxBytes && !this.#over) {
        this.#room = Promise.withResolvers()
        await this.#room.promise
      }
    }
    this.#readAll = true
    this.#source.settled.notify()
  }

  async #write(): Promise<void> {
    const { writer, deadLetters, onProgress } = this.#options
    while (!this.#over && !(this.#readAll && this.#source.empty)) {
      await this.#source.settled.wait()
      for (let part = this.#source.takeDone(); part !== undefined && !this.#over; part = this.#source.takeDone()) {
        this.#emit(part)
        this.#source.out(part)
        if (this.#source.memory < this.#options.maxBytes) this.#room.resolve()
        if (writer.pending >= FLUSH_BYTES) await writer.flush()
        if (deadLetters.pending >= FLUSH_BYTES) await deadLetters.flush()
        onProgress(this)
      }
    }
  }

  #emit(part: FilePart): void {
    const { writer, model, deadLetters, maxDeadLetters, sources } = this.#options
    const { chunk, microBatch, firstNumber } = part
    if (microBatch?.model !== undefined) this.providers.add(microBatch.model.provider)
    let row = part.firstRow
    for (let index = part.from; index < part.to; index++) {
      const number = firstNumber + index
      const undecodable = part.faults?.get(index)
      const fault = undecodable ?? microBatch!.faults?.get(row)
      if (fault !== undefined) {
        deadLetters.add(number, fault, chunk.values(index), undecodable === undefined ? model : undefined)
      } else {
        const kept =
          sources === 'whole' ? [chunk.values(index)] : sources.length > 0 ? chunk.pick(index, sources) : NONE
        writer.write(number, kept, row, microBatch!.slot.outputs)
        this.predictions++
      }
      if (undecodable === undefined) row++
      this.rows++
    }
    if (deadLetters.total > maxDeadLetters) throw tooMany(deadLetters, maxDeadLetters)
  }
}

const NONE: readonly unknown[] = []

function tooMany({ total, partial }: DeadLetterFile, most: number): SluiceError {
  const message = `${total} rows could not be predicted, and --max-dead-letters allows ${most}; they are in ${partial}`
  return new SluiceError('too-many-dead-letters', message)
}
