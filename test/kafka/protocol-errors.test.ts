import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { type ErrorCode, SluiceError } from '../../src/core/errors.ts'
import { FencedError } from '../../src/core/transaction.ts'
import {
  isConnectionTrouble,
  isFenced,
  isLostMembership,
  isRebalancing,
  isRefused,
  isStaleCoordinator,
  protocolType,
  translate,
  typeOfCode,
} from '../../src/kafka/protocol-errors.ts'

const require = createRequire(import.meta.url)
const kafkajs = require('kafkajs/src/errors')
const { createErrorFromCode, errorCodes } = require('kafkajs/src/protocol/error')

const answer = (type: string): Error =>
  createErrorFromCode(errorCodes.find((row: { type: string }) => row.type === type).code)
/** As kafkajs's retry wraps what it gives up on. */
const exhausted = (error: Error) => new kafkajs.KafkaJSNumberOfRetriesExceeded(error, { retryCount: 3, retryTime: 500 })
const nonRetriable = (error: Error) => new kafkajs.KafkaJSNonRetriableError(error, { cause: error })
const connectionClosed = () => new kafkajs.KafkaJSConnectionClosedError('Closed connection', { host: 'h', port: 1 })
const requestTimeout = () =>
  new kafkajs.KafkaJSRequestTimeoutError('Request EndTxn timed out', {
    broker: 'h:1',
    clientId: 'sluice',
    correlationId: 1,
    createdAt: 0,
    sentAt: 0,
    pendingDuration: 0,
  })

function codeOf(error: Error): ErrorCode | undefined {
  return error instanceof SluiceError ? error.code : undefined
}

const MEANINGS: [type: string, code: ErrorCode][] = [
  ['TOPIC_AUTHORIZATION_FAILED', 'not-authorised'],
  ['GROUP_AUTHORIZATION_FAILED', 'not-authorised'],
  ['CLUSTER_AUTHORIZATION_FAILED', 'not-authorised'],
  ['TRANSACTIONAL_ID_AUTHORIZATION_FAILED', 'not-authorised'],
  ['UNKNOWN_TOPIC_OR_PARTITION', 'topic-missing'],
  ['INVALID_TRANSACTION_TIMEOUT', 'transaction-timeout-refused'],
  ['SASL_AUTHENTICATION_FAILED', 'authentication-failed'],
  ['UNSUPPORTED_SASL_MECHANISM', 'authentication-failed'],
  ['ILLEGAL_SASL_STATE', 'authentication-failed'],
  ['MESSAGE_TOO_LARGE', 'output-refused'],
  ['RECORD_LIST_TOO_LARGE', 'output-refused'],
  ['INVALID_RECORD', 'output-refused'],
  ['NOT_ENOUGH_REPLICAS', 'output-refused'],
  ['NOT_ENOUGH_REPLICAS_AFTER_APPEND', 'output-refused'],
  ['KAFKA_STORAGE_ERROR', 'output-refused'],
  ['OFFSET_OUT_OF_RANGE', 'offset-out-of-range'],
]

test('every refusal that means something to people is said so, bare and wrapped by kafkajs', () => {
  for (const [type, code] of MEANINGS) {
    for (const error of [answer(type), exhausted(answer(type)), nonRetriable(exhausted(answer(type)))]) {
      const translated = translate(error, 'asking', 'transaction-unknown')
      assert.equal(codeOf(translated), code, type)
      assert.equal(translated.message, `While asking: the broker answered ${type}.`)
      assert.equal(translated.cause, error)
    }
  }
})

test('any other refusal is the fallback, and named', () => {
  const translated = translate(answer('INVALID_TXN_STATE'), 'committing', 'transaction-unknown')
  assert.equal(codeOf(translated), 'transaction-unknown')
  assert.match(translated.message, /INVALID_TXN_STATE/)
  assert.equal(codeOf(translate(new Error('odd'), 'asking', 'broker-unreachable')), 'broker-unreachable')
})

test('an epoch that has moved on is a fence, however deep it lies', () => {
  const translated = translate(nonRetriable(exhausted(answer('INVALID_PRODUCER_EPOCH'))), 'committing', 'internal')
  assert.ok(translated instanceof FencedError)
  assert.ok(isFenced('PRODUCER_FENCED'))
  assert.ok(!isFenced('INVALID_PRODUCER_ID_MAPPING'), 'the id expired: nobody else has it')
  assert.ok(!isFenced(undefined))
})

test('what is translated already passes through', () => {
  for (const error of [new SluiceError('internal', 'x'), new FencedError('x')]) {
    assert.equal(translate(error, 'asking', 'broker-unreachable'), error)
  }
})

test('connection trouble is an unreachable broker, unless a transaction was under way', () => {
  for (const trouble of [connectionClosed(), requestTimeout(), exhausted(connectionClosed())]) {
    assert.ok(isConnectionTrouble(trouble))
    assert.equal(protocolType(trouble), undefined)
    assert.equal(codeOf(translate(trouble, 'asking', 'offset-missing')), 'broker-unreachable')
    assert.equal(codeOf(translate(trouble, 'committing', 'transaction-unknown')), 'transaction-unknown')
  }
})

test('each kind of connection trouble is known by its name', () => {
  const troubles = [
    new kafkajs.KafkaJSConnectionError('refused'),
    new kafkajs.KafkaJSBrokerNotFound('node 3'),
    new kafkajs.KafkaJSLockTimeout('connect'),
    new kafkajs.KafkaJSGroupCoordinatorNotFound('no coordinator'),
    new kafkajs.KafkaJSMetadataNotLoaded('no metadata'),
  ]
  for (const trouble of troubles) assert.ok(isConnectionTrouble(trouble), trouble.name)
  for (const other of [answer('NOT_LEADER_FOR_PARTITION'), new Error('x'), undefined, 'text']) {
    assert.ok(!isConnectionTrouble(other))
  }
})

test('a failed login is no broker that is away', () => {
  const login = new kafkajs.KafkaJSSASLAuthenticationError('wrong password')
  assert.equal(codeOf(translate(exhausted(login), 'connecting', 'broker-unreachable')), 'authentication-failed')
  assert.equal(codeOf(translate(login, 'committing', 'transaction-unknown')), 'authentication-failed')
})

test('only clear refusals may be sent again', () => {
  const again = errorCodes.map(({ type }: { type: string }) => type).filter(isRefused)
  assert.deepEqual(again.toSorted(), [
    'CONCURRENT_TRANSACTIONS',
    'GROUP_COORDINATOR_NOT_AVAILABLE',
    'GROUP_LOAD_IN_PROGRESS',
    'NOT_COORDINATOR_FOR_GROUP',
  ])
  assert.ok(!isRefused('REQUEST_TIMED_OUT'))
  assert.ok(!isRefused(undefined))
})

test('a coordinator that is none must be looked up again, one that loads must not', () => {
  assert.ok(isStaleCoordinator('NOT_COORDINATOR_FOR_GROUP'))
  assert.ok(isStaleCoordinator('GROUP_COORDINATOR_NOT_AVAILABLE'))
  assert.ok(!isStaleCoordinator('GROUP_LOAD_IN_PROGRESS'))
  assert.ok(!isStaleCoordinator(undefined))
})

test('what the group says about a member', () => {
  for (const type of ['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'FENCED_INSTANCE_ID']) {
    assert.ok(isLostMembership(type) && isRebalancing(type), type)
  }
  assert.ok(isRebalancing('REBALANCE_IN_PROGRESS') && !isLostMembership('REBALANCE_IN_PROGRESS'))
  assert.ok(!isRebalancing('NOT_COORDINATOR_FOR_GROUP') && !isRebalancing(undefined))
})

test('numeric codes have the names of the protocol; success has none', () => {
  assert.equal(typeOfCode(0), undefined)
  assert.equal(typeOfCode(1), 'OFFSET_OUT_OF_RANGE')
  assert.equal(typeOfCode(47), 'INVALID_PRODUCER_EPOCH')
  assert.equal(typeOfCode(-1), 'UNKNOWN')
})

test('causes that go round in circles end', () => {
  const a: Error & { cause?: unknown } = new Error('a')
  const b = new Error('b', { cause: a })
  a.cause = b
  assert.equal(protocolType(a), undefined)
  assert.equal(isConnectionTrouble(b), false)
})

test('a topic that metadata refuses is named, whatever topic was worked on', () => {
  const refusal = Object.assign(new Error('x'), { type: 'UNKNOWN_TOPIC_OR_PARTITION', topic: 'features.dlq' })
  const { message } = translate(refusal, 'fetching from features', 'broker-unreachable')
  assert.equal(
    message,
    'While fetching from features: the broker answered UNKNOWN_TOPIC_OR_PARTITION for topic features.dlq.',
  )
})
