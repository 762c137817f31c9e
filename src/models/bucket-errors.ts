import { messageOf, SluiceError } from '../core/errors.ts'

/** What an answer of the SDK has that is an error: only this much is looked at, and none of it holds a secret. */
interface Answer {
  readonly name: string
  readonly message: string
  readonly status: number | undefined
}

/** Answers that a caller may expect: they are thrown as they are. */
const EXPECTED: ReadonlySet<string> = new Set(['NoSuchKey', 'NotFound'])
const EXPECTED_STATUS: ReadonlySet<number> = new Set([409, 412])

/** Answers below 500 that ask to try again: too many requests, and a content that came too slowly (as a 400). */
const PASSING_STATUS: ReadonlySet<number> = new Set([408, 429])
const PASSING: ReadonlySet<string> = new Set(['RequestTimeout', 'SlowDown', 'Throttling', 'ThrottlingException'])

/** What the SDK throws when it finds no credentials; no request was made then. */
const NO_CREDENTIALS: ReadonlySet<string> = new Set(['CredentialsProviderError', 'TokenProviderError'])

/**
 * The error for people in what the SDK threw: `store-refused` for an answer that says no, `store-unreachable` for one that
 * may be another later, and for none. Answers that a caller may expect, and errors for people, come back as they
 * are. The SDK's error does not become the cause: it holds the request, and that holds session tokens.
 */
export function bucketError(store: string, error: unknown): unknown {
  if (error instanceof SluiceError) return error
  const { name, message, status } = answerOf(error)
  if (EXPECTED.has(name) || EXPECTED_STATUS.has(status ?? 0)) return error
  const said = status === undefined ? message : `${name}: ${message} (HTTP status ${status})`
  if (NO_CREDENTIALS.has(name)) return storeRefused(store, `no credentials were found: ${message}`)
  const passes =
    status === undefined || status < 300 || status >= 500 || PASSING_STATUS.has(status) || PASSING.has(name)
  // A store that lacks conditional requests says 501, and will do so for ever.
  return passes && status !== 501 ? storeUnreachable(store, said) : storeRefused(store, said)
}

export function storeUnreachable(store: string, problem: string): SluiceError {
  return new SluiceError('store-unreachable', `the model store ${store} does not answer: ${problem}`)
}

export function storeRefused(store: string, problem: string): SluiceError {
  return new SluiceError('store-refused', `the model store ${store} refuses: ${problem}`)
}

/** Whether there is no object under the key. A bucket that is missing is another matter. */
export function isNotFound(error: unknown): boolean {
  const { name } = answerOf(error)
  return name === 'NoSuchKey' || name === 'NotFound'
}

/** Whether the condition of a put did not hold. */
export function isPreconditionFailed(error: unknown): boolean {
  return answerOf(error).status === 412
}

/** Whether the store cannot say yet if the condition of a put holds: another put of the key is under way. */
export function isConflict(error: unknown): boolean {
  return answerOf(error).status === 409
}

export function isUnreachable(error: unknown): error is SluiceError {
  return error instanceof SluiceError && error.code === 'store-unreachable'
}

function answerOf(error: unknown): Answer {
  const { name = '', $metadata } = (error ?? {}) as { name?: string; $metadata?: { httpStatusCode?: number } }
  // An address with several IP addresses fails with one error for each, and no message of its own.
  const first = error instanceof AggregateError ? error.errors[0] : error
  return { name, message: messageOf(first), status: $metadata?.httpStatusCode }
}
