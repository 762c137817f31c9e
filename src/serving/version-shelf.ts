import type { ServedModel } from './serving.ts'

export interface VersionShelfOptions {
  /** Loads a version, verifies it, warms it, and makes it ready to answer; leaves nothing open when it throws. */
  readonly open: (version: string) => Promise<ServedModel>
  /** The version is of no plan any more; `left` is called, in its own time, when nothing waits for it. */
  readonly retire: (version: string) => void
}

interface Shelved {
  readonly model: Promise<ServedModel>
  /** What that has resolved to. */
  opened: ServedModel | undefined
  /** Set when it is retired; resolves when it is closed. */
  leaving: PromiseWithResolvers<void> | undefined
}

/**
 * The versions of one model that a worker has open, each once, however often it is asked for.
 *
 *   open ─▶ OPENING ─▶ READY ── retire ──▶ LEAVING ── left ──▶ closed, and may be opened anew
 *              └─ it fails: gone
 */
export class VersionShelf {
  readonly #options: VersionShelfOptions
  readonly #shelved = new Map<string, Shelved>()

  constructor(options: VersionShelfOptions) {
    this.#options = options
  }

  /** Those that are open, being opened, or leaving. */
  get versions(): string[] {
    return [...this.#shelved.keys()]
  }

  /** A version that is ready, also while it is leaving. */
  opened(version: string): ServedModel | undefined {
    return this.#shelved.get(version)?.opened
  }

  /**
   * A version, ready to answer. One that is leaving is closed first.
   * @throws what opening throws; the next call tries again
   */
  async open(version: string): Promise<ServedModel> {
    await this.#shelved.get(version)?.leaving?.promise
    const there = this.#shelved.get(version)
    if (there !== undefined) return there.model
    const model = this.#options.open(version)
    const shelved: Shelved = { model, opened: undefined, leaving: undefined }
    this.#shelved.set(version, shelved)
    try {
      shelved.opened = await model
      return shelved.opened
    } catch (error) {
      this.#forget(version)
      throw error
    }
  }

  /** Closes a version as soon as nothing waits for it, or as soon as it is open. */
  retire(version: string): void {
    const shelved = this.#shelved.get(version)
    if (shelved === undefined || shelved.leaving !== undefined) return
    shelved.leaving = Promise.withResolvers()
    const retire = () => this.#options.retire(version)
    shelved.model.then(retire, () => {})
  }

  /** Closes a version that was opened and never answered. Never rejects. */
  async discard(version: string): Promise<void> {
    const shelved = this.#shelved.get(version)
    this.#forget(version)
    await shelved?.model.then(model => model.close()).catch(() => {})
  }

  /** Nothing waits for a version that was retired. Never rejects. */
  async left(version: string): Promise<void> {
    const shelved = this.#shelved.get(version)
    if (shelved?.leaving === undefined) return
    await shelved.model.then(model => model.close()).catch(() => {})
    this.#forget(version)
  }

  /** Closes all, whatever waits. One that is still being opened is closed once it is open. Never rejects. */
  async close(): Promise<void> {
    const all = [...this.#shelved.values()]
    await Promise.all(all.map(({ model }) => model.then(opened => opened.close()).catch(() => {})))
  }

  #forget(version: string): void {
    const shelved = this.#shelved.get(version)
    this.#shelved.delete(version)
    shelved?.leaving?.resolve()
  }
}
