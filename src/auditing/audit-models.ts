import type { SchemaSource } from '../codec/schema-source.ts'
import type { Settings } from '../config/settings.ts'
import type { Clock } from '../core/clock.ts'
import { messageOf, SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { ModelRerun } from './model-rerun.ts'

/** Around a change of version predictions of both come by turns, and input partitions change at different times. */
const MAX_OPEN = 3

/** A model version, as the headers of a prediction name it. */
export interface NamedVersion {
  readonly name: string
  readonly version: string
  /** The first digits of the hash, or all. */
  readonly sha256: string
}

export interface AuditModelsOptions {
  readonly settings: Settings
  readonly schemas: SchemaSource | undefined
  readonly log: Log
  readonly clock: Clock
}

/**
 * The model versions that predict again. Each is a pool of sessions, with the memory and the threads of one: at most
 * {@link MAX_OPEN} are open, and the one that has not been asked for the longest makes room for another.
 */
export class AuditModels {
  readonly #options: AuditModelsOptions
  /** In the order in which they were asked for: the latest last. */
  readonly #open = new Map<string, ModelRerun>()
  /** Why a version cannot be had, in words: it is not tried again. */
  readonly #refused = new Map<string, string>()

  constructor(options: AuditModelsOptions) {
    this.#options = options
  }

  /** How many versions are open. */
  get size(): number {
    return this.#open.size
  }

  /**
   * Opens a version, unless it is open; a text says why it cannot be had. One call at a time: what was returned before
   * may be closed by it.
   */
  async get(named: NamedVersion): Promise<ModelRerun | string> {
    const key = [named.name, named.version, named.sha256].join('\n')
    const refusal = this.#refused.get(key)
    if (refusal !== undefined) return refusal
    let rerun: ModelRerun | string | undefined = this.#open.get(key)
    if (rerun === undefined) {
      // Before the next one takes its memory.
      while (this.#open.size >= MAX_OPEN) await this.#close(this.#open.keys().next().value!)
      rerun = await this.#load(named)
    }
    if (typeof rerun === 'string') {
      this.#refused.set(key, rerun)
    } else {
      this.#open.delete(key)
      this.#open.set(key, rerun)
    }
    return rerun
  }

  /** Closes all. A version that is asked for afterwards is opened again. */
  async close(): Promise<void> {
    for (const key of [...this.#open.keys()]) await this.#close(key)
  }

  async #close(key: string): Promise<void> {
    const rerun = this.#open.get(key)
    this.#open.delete(key)
    await rerun?.close()
  }

  async #load({ name, version, sha256 }: NamedVersion): Promise<ModelRerun | string> {
    const { settings, schemas, log, clock } = this.#options
    if (name === '' || version === '') return 'they do not name a model and its version'
    try {
      const rerun = await ModelRerun.open({ ...settings, modelName: name, modelVersion: version }, schemas, log, clock)
      if (rerun.sha256.startsWith(sha256)) return rerun
      await rerun.close()
      return `model "${name}", version "${version}" in the store has another hash than ${sha256}`
    } catch (error) {
      if (error instanceof SluiceError && error.response === 'exit') return messageOf(error)
      throw error
    }
  }
}
