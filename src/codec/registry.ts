import type { Clock } from '../core/clock.ts'
import { messageOf, SluiceError } from '../core/errors.ts'
import type { SchemaSource } from './schema-source.ts'
import { UnknownIds } from './unknown-ids.ts'

const CONTENT_TYPE = 'application/vnd.schemaregistry.v1+json'
const SCHEMA_NOT_FOUND = 40403
const SUBJECT_NOT_FOUND = 40401

/** How long an unknown id stays unknown before the registry is asked again. */
const REMEMBER_UNKNOWN_MS = 30_000
/** A stream of garbage has a new id in each record: after the first of them, so many milliseconds for each. */
const UNKNOWN_INTERVAL_MS = 100
const UNKNOWN_BURST = 50

const MAX_QUOTED = 300

export interface RegistryOptions {
  /** Base of the API, with its path. May carry `user:password@`; neither is ever shown. */
  readonly url: string
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** For one request, with its answer. */
  readonly timeoutMs: number
  readonly clock: Clock
}

interface Answer {
  readonly status: number
  /** The JSON object of the body, empty where it is none. */
  readonly body: Readonly<Record<string, unknown>>
  /** The status and what the body says, for people. */
  readonly text: string
}

/**
 * Client of a Confluent-compatible schema registry. Known schemas are kept for ever, because an id never changes its
 * schema; look-ups of one id at the same time share a request; retries are the caller's.
 */
export class SchemaRegistry implements SchemaSource {
  readonly #base: string
  readonly #headers: Record<string, string>
  readonly #timeoutMs: number
  readonly #clock: Clock
  readonly #known = new Map<number, string>()
  readonly #unknown = new UnknownIds(REMEMBER_UNKNOWN_MS)
  readonly #pending = new Map<number, Promise<string | undefined>>()
  /** When unknown ids have been paid for, at one interval each. */
  #paidUntil = Number.NEGATIVE_INFINITY

  constructor({ url, username, password, timeoutMs, clock }: RegistryOptions) {
    const parsed = new URL(url)
    const user = username ?? decodeURIComponent(parsed.username)
    const secret = password ?? decodeURIComponent(parsed.password)
    this.#base = parsed.origin + parsed.pathname.replace(/\/+$/, '')
    this.#headers = { accept: `${CONTENT_TYPE}, application/json`, 'content-type': CONTENT_TYPE }
    if (user !== '') this.#headers.authorization = `Basic ${Buffer.from(`${user}:${secret}`).toString('base64')}`
    this.#timeoutMs = timeoutMs
    this.#clock = clock
  }

  async find(id: number): Promise<string | undefined> {
    const known = this.#known.get(id)
    if (known !== undefined) return known
    if (this.#unknown.has(id, this.#clock.now())) return undefined
    let pending = this.#pending.get(id)
    if (pending === undefined) {
      pending = this.#lookUp(id).finally(() => this.#pending.delete(id))
      this.#pending.set(id, pending)
    }
    return pending
  }

  async #lookUp(id: number): Promise<string | undefined> {
    await this.#clock.sleep(Math.max(0, this.#paidUntil - this.#clock.now()))
    const answer = await this.#request('GET', `/schemas/ids/${id}`)
    const { schema, schemaType = 'AVRO', references = [] } = answer.body
    // A wrong path answers 404 too, and must not turn every record into a dead letter: look for the registry's own code.
    if (answer.status === 404 && answer.body.error_code === SCHEMA_NOT_FOUND) {
      this.#noteUnknown(id)
      return undefined
    }
    if (answer.status !== 200 || typeof schema !== 'string') {
      throw this.#unreachable(`did not give schema ${id}, but answered ${answer.text}`)
    }
    if (schemaType !== 'AVRO') throw unusable(id, `is of type ${String(schemaType)}; expected AVRO`)
    if (Array.isArray(references) && references.length > 0) {
      throw unusable(id, 'refers to other schemas of the registry; expected a schema that is complete in itself')
    }
    this.#known.set(id, schema)
    return schema
  }

  /**
   * The latest schema of a subject, or undefined when the registry has no such subject.
   * @throws SluiceError `registry-unreachable`; `unusable-schema` when it is no Avro
   */
  async latest(subject: string): Promise<{ readonly id: number; readonly schema: string } | undefined> {
    const answer = await this.#request('GET', `/subjects/${encodeURIComponent(subject)}/versions/latest`)
    const { id, schema, schemaType = 'AVRO' } = answer.body
    if (answer.status === 404 && answer.body.error_code === SUBJECT_NOT_FOUND) return undefined
    if (answer.status !== 200 || typeof schema !== 'string' || typeof id !== 'number') {
      throw this.#unreachable(`did not give the schema of ${subject}, but answered ${answer.text}`)
    }
    if (schemaType !== 'AVRO') throw unusable(id, `is of type ${String(schemaType)}; expected AVRO`)
    return { id, schema }
  }

  #noteUnknown(id: number): void {
    const now = this.#clock.now()
    this.#unknown.add(id, now)
    this.#paidUntil = Math.max(this.#paidUntil, now - UNKNOWN_BURST * UNKNOWN_INTERVAL_MS) + UNKNOWN_INTERVAL_MS
  }

  async register(subject: string, schema: string): Promise<number> {
    const path = `/subjects/${encodeURIComponent(subject)}/versions`
    const answer = await this.#request('POST', path, JSON.stringify({ schema }))
    const { id } = answer.body
    if (answer.status < 300 && Number.isInteger(id)) return id as number
    const says = `did not register the schema of ${subject}, but answered ${answer.text}`
    const refused = answer.status >= 400 && answer.status < 500 && answer.status !== 408 && answer.status !== 429
    throw refused ? new SluiceError('registry-refused', `${this.#name} ${says}`) : this.#unreachable(says)
  }

  /** @throws SluiceError `registry-unreachable` when no answer comes in time. */
  async #request(method: string, path: string, body?: string): Promise<Answer> {
    const abort = new AbortController()
    const timer = this.#clock.after(this.#timeoutMs, () => abort.abort())
    try {
      const { signal } = abort
      const response = await fetch(this.#base + path, { method, headers: this.#headers, body: body ?? null, signal })
      return readAnswer(response.status, await response.text())
    } catch (error) {
      const reason = abort.signal.aborted ? `no answer within ${this.#timeoutMs} ms` : reasonOf(error)
      throw this.#unreachable(`cannot be asked: ${reason}`, error)
    } finally {
      timer.cancel()
    }
  }

  get #name(): string {
    return `the schema registry at ${this.#base}`
  }

  #unreachable(problem: string, cause?: unknown): SluiceError {
    return new SluiceError('registry-unreachable', `${this.#name} ${problem}`, { cause })
  }
}

function readAnswer(status: number, text: string): Answer {
  let body: Record<string, unknown> = {}
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null) body = parsed as Record<string, unknown>
  } catch {
    // Some proxy's page, perhaps; it is quoted below.
  }
  const said = typeof body.message === 'string' ? body.message : text.trim()
  const quoted = said.length > MAX_QUOTED ? `${said.slice(0, MAX_QUOTED)}…` : said
  return { status, body, text: quoted === '' ? `${status}` : `${status}: ${quoted}` }
}

function unusable(id: number, problem: string): SluiceError {
  return new SluiceError('unusable-schema', `schema ${id} ${problem}`)
}

/** fetch says "fetch failed", and its cause says why. */
function reasonOf(error: unknown): string {
  return error instanceof Error && error.cause !== undefined
    ? messageOf(error.cause) || error.message
    : messageOf(error)
}
