import protocol from 'kafkajs/src/protocol/error.js'
import { type ErrorCode, messageOf, SluiceError } from '../core/errors.ts'
import { FencedError } from '../core/transaction.ts'

/**
 * The broker's name for an error (`NOT_COORDINATOR`), or undefined when the answer never came or is none of the
 * broker's. Looks through the errors that kafkajs wraps around it.
 */
export function protocolType(error: unknown): string | undefined {
  const found = findCause(error, candidate => typeof candidate.type === 'string')
  return found?.type
}

/** Newer than kafkajs's table, or at its end. */
const NEWER_TYPES: Readonly<Record<number, string>> = {
  90: 'PRODUCER_FENCED', // to the request versions that kafkajs speaks brokers send INVALID_PRODUCER_EPOCH instead
  100: 'UNKNOWN_TOPIC_ID',
  103: 'INCONSISTENT_TOPIC_ID',
  105: 'TRANSACTIONAL_ID_NOT_FOUND',
}

/** The broker's name for a numeric error code, or undefined for 0. */
export function typeOfCode(code: number): string | undefined {
  return code === 0 ? undefined : (NEWER_TYPES[code] ?? protocol.createErrorFromCode(code).type)
}

/** A numeric error code other than 0 as an error, as kafkajs throws it. */
export function errorOfCode(code: number): Error {
  return Object.assign(protocol.createErrorFromCode(code), { type: typeOfCode(code) })
}

/** The epoch has moved on, or the id was taken over: somebody else owns the partition. */
const FENCED = new Set(['INVALID_PRODUCER_EPOCH', 'PRODUCER_FENCED'])

/** A clear refusal: the request was not carried out, and the same request may be sent again once things settle. */
const REFUSED = new Set([
  'CONCURRENT_TRANSACTIONS',
  'COORDINATOR_LOAD_IN_PROGRESS',
  'COORDINATOR_NOT_AVAILABLE',
  'NOT_COORDINATOR',
  'GROUP_LOAD_IN_PROGRESS',
  'GROUP_COORDINATOR_NOT_AVAILABLE',
  'NOT_COORDINATOR_FOR_GROUP',
])

const STALE_COORDINATOR = new Set([
  'NOT_COORDINATOR',
  'COORDINATOR_NOT_AVAILABLE',
  'NOT_COORDINATOR_FOR_GROUP',
  'GROUP_COORDINATOR_NOT_AVAILABLE',
])

export const isFenced = (type: string | undefined) => type !== undefined && FENCED.has(type)
export const isRefused = (type: string | undefined) => type !== undefined && REFUSED.has(type)
export const isStaleCoordinator = (type: string | undefined) => type !== undefined && STALE_COORDINATOR.has(type)

/** The membership is gone: the coordinator has forgotten this member or moved to another generation. */
export const isLostMembership = (type: string | undefined) =>
  type === 'UNKNOWN_MEMBER_ID' || type === 'ILLEGAL_GENERATION' || type === 'FENCED_INSTANCE_ID'

/** A member may not commit now: the group is between two generations, or has moved on to one that it has not joined. */
export const isRebalancing = (type: string | undefined) => type === 'REBALANCE_IN_PROGRESS' || isLostMembership(type)

/** What each refusal of the broker means to a person. Everything else is `fallback`. */
const CODES: Record<string, ErrorCode> = {
  TOPIC_AUTHORIZATION_FAILED: 'not-authorised',
  GROUP_AUTHORIZATION_FAILED: 'not-authorised',
  CLUSTER_AUTHORIZATION_FAILED: 'not-authorised',
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: 'not-authorised',
  UNKNOWN_TOPIC_OR_PARTITION: 'topic-missing',
  INVALID_TRANSACTION_TIMEOUT: 'transaction-timeout-refused',
  INVALID_SESSION_TIMEOUT: 'invalid-config',
  INCONSISTENT_GROUP_PROTOCOL: 'invalid-config',
  SASL_AUTHENTICATION_FAILED: 'authentication-failed',
  UNSUPPORTED_SASL_MECHANISM: 'authentication-failed',
  ILLEGAL_SASL_STATE: 'authentication-failed',
  MESSAGE_TOO_LARGE: 'output-refused',
  RECORD_LIST_TOO_LARGE: 'output-refused',
  INVALID_RECORD: 'output-refused',
  NOT_ENOUGH_REPLICAS: 'output-refused',
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: 'output-refused',
  KAFKA_STORAGE_ERROR: 'output-refused',
  OFFSET_OUT_OF_RANGE: 'offset-out-of-range',
}

/**
 * Says an error of kafkajs or of the broker in Sluice's terms. `doing` completes "while …".
 * @param fallback the code of an answer with no row of its own; connection trouble is `broker-unreachable`
 */
export function translate(error: unknown, doing: string, fallback: ErrorCode): Error {
  if (error instanceof SluiceError || error instanceof FencedError) return error
  const type = protocolType(error)
  if (isFenced(type)) return new FencedError(`Another owner took over while ${doing} (${type}).`, { cause: error })
  const code = type !== undefined ? (CODES[type] ?? fallback) : connectionCode(error, fallback)
  const reason = type === undefined ? messageOf(error) : `the broker answered ${type}${topicOf(error)}`
  return new SluiceError(code, `While ${doing}: ${reason}.`, { cause: error })
}

/** Metadata is asked for all topics at once: the one that is refused need not be the one that is worked on. */
function topicOf(error: unknown): string {
  const topic = findCause(error, candidate => typeof candidate.topic === 'string')?.topic
  return topic === undefined ? '' : ` for topic ${topic}`
}

function connectionCode(error: unknown, fallback: ErrorCode): ErrorCode {
  if (findCause(error, isUntrusted) !== undefined) return 'authentication-failed'
  return isConnectionTrouble(error) && fallback !== 'transaction-unknown' ? 'broker-unreachable' : fallback
}

/** Credentials that were refused, or a certificate that is not trusted: waiting mends neither. */
function isUntrusted({ name, code }: Candidate): boolean {
  return name.startsWith('KafkaJSSASL') || (typeof code === 'string' && /CERT|UNABLE_TO_VERIFY/.test(code))
}

/** The answer never came: nothing is known about whether the request was carried out. */
export function isConnectionTrouble(error: unknown): boolean {
  const trouble =
    /^KafkaJS(Connection|RequestTimeout|BrokerNotFound|LockTimeout|GroupCoordinatorNotFound|(Topic)?MetadataNotLoaded)/
  return findCause(error, candidate => trouble.test(candidate.name)) !== undefined
}

interface Candidate {
  readonly name: string
  readonly type?: string
  readonly topic?: string
  /** Of a system or TLS error: `ECONNREFUSED`, `DEPTH_ZERO_SELF_SIGNED_CERT`. */
  readonly code?: unknown
  readonly cause?: unknown
}

function findCause(error: unknown, matches: (candidate: Candidate) => boolean): Candidate | undefined {
  for (let current = error, depth = 0; current instanceof Error && depth < 8; depth++) {
    const candidate = current as Candidate
    if (matches(candidate)) return candidate
    current = candidate.cause
  }
  return undefined
}
