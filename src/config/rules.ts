import type { SettingKey, Settings } from './settings.ts'

/** What must hold between settings. `sentence` is for the docs and for the error. */
interface Rule {
  /** The settings that the error shows. */
  readonly keys: readonly SettingKey[]
  readonly sentence: string
  holds(settings: Settings): boolean
}

const rule = (keys: readonly SettingKey[], sentence: string, holds: (settings: Settings) => boolean): Rule => ({
  keys,
  sentence,
  holds,
})

/** Whether all are set, or none. */
const together = (...values: readonly unknown[]) =>
  values.every(value => value === undefined) || values.every(value => value !== undefined)

const differ = (a: string | undefined, b: string | undefined) => a === undefined || a !== b

export const RULES: readonly Rule[] = [
  rule(
    ['kafkaSaslMechanism', 'kafkaSaslUsername', 'kafkaSaslPassword'],
    'KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD must both be set with a KAFKA_SASL_MECHANISM, and neither without one.',
    s => together(s.kafkaSaslMechanism === 'none' ? undefined : true, s.kafkaSaslUsername, s.kafkaSaslPassword),
  ),
  rule(['kafkaSslCert', 'kafkaSslKey'], 'KAFKA_SSL_CERT and KAFKA_SSL_KEY must be set together.', s =>
    together(s.kafkaSslCert, s.kafkaSslKey),
  ),
  rule(
    ['kafkaSsl', 'kafkaSslCa', 'kafkaSslCert', 'kafkaSslKey'],
    'KAFKA_SSL_CA, KAFKA_SSL_CERT and KAFKA_SSL_KEY need KAFKA_SSL=true: without it nothing is encrypted.',
    s => s.kafkaSsl || (s.kafkaSslCa ?? s.kafkaSslCert ?? s.kafkaSslKey) === undefined,
  ),
  rule(
    ['inputTopic', 'outputTopic'],
    'OUTPUT_TOPIC must not be INPUT_TOPIC: the worker would read its own predictions.',
    s => differ(s.outputTopic, s.inputTopic),
  ),
  rule(
    ['inputTopic', 'deadLetterTopic'],
    'DEAD_LETTER_TOPIC must not be INPUT_TOPIC: a bad record would come back for ever.',
    s => differ(s.deadLetterTopic, s.inputTopic),
  ),
  rule(
    ['outputTopic', 'deadLetterTopic'],
    'DEAD_LETTER_TOPIC must not be OUTPUT_TOPIC: readers take every record there for a prediction.',
    s => differ(s.deadLetterTopic, s.outputTopic),
  ),
  rule(
    ['inputFormat', 'inputSchema'],
    'INPUT_FORMAT=avro-raw needs INPUT_SCHEMA: the records do not say what they were written with.',
    s => s.inputFormat !== 'avro-raw' || s.inputSchema !== undefined,
  ),
  rule(
    ['schemaRegistryUsername', 'schemaRegistryPassword'],
    'SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD must be set together.',
    s => together(s.schemaRegistryUsername, s.schemaRegistryPassword),
  ),
  rule(
    ['sessionTimeoutMs', 'transactionTimeoutMs'],
    'SESSION_TIMEOUT_MS must be below TRANSACTION_TIMEOUT_MS: a lost partition is fenced by its new owner, not by a time-out.',
    s => s.sessionTimeoutMs < s.transactionTimeoutMs,
  ),
  rule(
    ['requestTimeoutMs', 'transactionTimeoutMs'],
    'REQUEST_TIMEOUT_MS must be below TRANSACTION_TIMEOUT_MS, or the broker could abort what a request still waits for.',
    s => s.requestTimeoutMs < s.transactionTimeoutMs,
  ),
  rule(
    ['fetchMaxWaitMs', 'requestTimeoutMs'],
    'FETCH_MAX_WAIT_MS must be below REQUEST_TIMEOUT_MS, or a quiet topic would look like a dead broker.',
    s => s.fetchMaxWaitMs < s.requestTimeoutMs,
  ),
  rule(
    ['apiMaxBodyBytes', 'apiMaxWaitingBytes'],
    'API_MAX_BODY_BYTES must not be above API_MAX_WAITING_BYTES, or the largest request could never be taken.',
    s => s.apiMaxBodyBytes <= s.apiMaxWaitingBytes,
  ),
]
