import { open, rm } from 'node:fs/promises'
import { ERRORS, type RecordFault } from '../core/errors.ts'
import type { FileRow } from '../core/files.ts'
import { plainJson } from '../core/plain-json.ts'
import type { ModelIdentity } from '../core/transaction.ts'
import { using } from './errors.ts'
import { PartialFile, partialOf } from './partial-file.ts'

/** How a line begins, and within how many bytes. Lines of an output may begin with the row, too. */
const BEGINNING = /^\{"row":\d+,"error-code":"/
const BEGINNING_BYTES = 64

/** The rows that could not be predicted, a JSON object a line; the file is made for the first one. */
export class DeadLetterFile {
  readonly path: string
  readonly counts = new Map<string, number>()
  total = 0
  #file: PartialFile | undefined
  #lines: string[] = []
  #pending = 0

  private constructor(path: string) {
    this.path = path
  }

  /**
   * Nothing is written yet; what a killed run left behind is removed.
   * @param named whether that has its name already
   * @throws SluiceError `file-unusable`
   */
  static async create(path: string, named = false): Promise<DeadLetterFile> {
    if (named) await using(path, 'removed', () => rm(path, { force: true }))
    await PartialFile.remove(path)
    return new DeadLetterFile(path)
  }

  /** Whether a file begins as one of dead letters does, so that it may be what a run left behind. */
  static async is(path: string): Promise<boolean> {
    return using(path, 'read', async () => {
      const handle = await open(path, 'r')
      try {
        const { buffer } = await handle.read(Buffer.alloc(BEGINNING_BYTES), 0, BEGINNING_BYTES, 0)
        return BEGINNING.test(buffer.toString('latin1'))
      } finally {
        await handle.close()
      }
    })
  }

  /** Where they are until all is done. */
  get partial(): string {
    return partialOf(this.path)
  }

  /** Characters that wait. */
  get pending(): number {
    return this.#pending
  }

  /** @param model where the row reached one */
  add(number: number, fault: RecordFault, input: FileRow, model?: Omit<ModelIdentity, 'provider'>): void {
    const { code, message } = fault
    const letter: Record<string, unknown> = {
      row: number,
      'error-code': code,
      'error-message': message,
      'error-stage': ERRORS[code].stage,
    }
    if (model !== undefined) Object.assign(letter, { 'model-name': model.name, 'model-version': model.version })
    const line = `${plainJson({ ...letter, input })}\n`
    this.#lines.push(line)
    this.#pending += line.length
    this.counts.set(code, (this.counts.get(code) ?? 0) + 1)
    this.total++
  }

  /** @throws SluiceError `file-unusable` */
  async flush(): Promise<void> {
    if (this.#lines.length === 0) return
    this.#file ??= await PartialFile.create(this.path)
    this.#file.append(Buffer.from(this.#lines.join('')))
    this.#lines = []
    this.#pending = 0
    await this.#file.flush()
  }

  /** Puts all of them on the disk. @throws SluiceError `file-unusable` */
  async seal(): Promise<void> {
    await this.flush()
    await this.#file?.seal()
  }

  /**
   * Gives the sealed file its name, if there is anything in it.
   * @param replace whether a file that has the name already goes, in either case
   * @throws SluiceError `file-exists`, `file-unusable`
   */
  async publish(replace: boolean): Promise<void> {
    if (this.#file !== undefined) await this.#file.publish(replace)
    else if (replace) await using(this.path, 'removed', () => rm(this.path, { force: true }))
  }

  /** Leaves what is there for people to look at. */
  async close(): Promise<void> {
    await this.flush().catch(() => {})
    await this.#file?.close()
  }
}
