import assert from 'node:assert/strict'
import type { Message } from 'kafkajs'
import { frame, type Golden, goldenSamples, IRIS_SCHEMA_ID } from './models.ts'
import { headerText, type LogRecord, sourceOf } from './record-log.ts'

/** Iris rows whose predictions are known, and bad records whose error codes are. */
export interface Workload {
  readonly messages: readonly Message[]
  /** How many of them are bad. */
  readonly poisoned: number
  /** What the trainer's library predicts for a record of the workload; undefined for a bad one. */
  expected(record: LogRecord): Golden['output'] | undefined
}

export interface WorkloadOptions {
  readonly model?: string
  /** Messages go to these in turn; where it is not given, by their key. */
  readonly partitions?: number
  /** Every so many messages one is bad; 0 for none. */
  readonly poisonEvery?: number
}

/** The header of a bad record that names the error code of its dead letter. */
export const POISON_HEADER = 'poison'

const GOOD = frame(IRIS_SCHEMA_ID, goldenSamples('iris-classifier')[0]!.input)

/** Values that no row can be read from, by the error code of their dead letters. */
const POISON: readonly (readonly [code: string, value: Buffer | null])[] = [
  ['wrong-magic-byte', Buffer.concat([Buffer.from([1]), GOOD.subarray(1)])],
  ['unknown-schema-id', Buffer.concat([Buffer.from([0, 0x7f, 0, 0, 0]), GOOD.subarray(5)])],
  ['truncated-message', GOOD.subarray(0, -1)],
  ['trailing-bytes', Buffer.concat([GOOD, Buffer.from([0])])],
  ['null-value', null],
  [
    'feature-not-finite',
    frame(IRIS_SCHEMA_ID, { sepal_length: Number.NaN, sepal_width: 1, petal_length: 1, petal_width: 1 }),
  ],
]

/** The recent past: what is older than a topic's retention, the broker deletes. */
const FIRST_TIMESTAMP = Date.now() - 3_600_000

/**
 * `count` messages: golden rows of an iris model in turn, with all that must be passed through. Keys are null, empty,
 * text or binary; timestamps go back and forth; headers are none, repeated, empty or binary.
 */
export function irisWorkload(count: number, options: WorkloadOptions = {}): Workload {
  const { model = 'iris-classifier', partitions, poisonEvery = 97 } = options
  const samples = goldenSamples(model)
  const values = samples.map(({ input }) => frame(IRIS_SCHEMA_ID, input))
  const outputs = new Map(values.map((value, i) => [value.toString('latin1'), samples[i]!.output]))
  let poisoned = 0
  const messages = Array.from({ length: count }, (_, i): Message => {
    const bad = poisonEvery > 0 && i % poisonEvery === poisonEvery - 1 ? POISON[poisoned++ % POISON.length] : undefined
    return {
      key: keyOf(i),
      value: bad === undefined ? values[i % values.length]! : bad[1],
      timestamp: String(FIRST_TIMESTAMP + ((i * 7919) % 100_003)),
      headers: { ...headersOf(i), ...(bad === undefined ? {} : { [POISON_HEADER]: bad[0] }) },
      ...(partitions === undefined ? {} : { partition: i % partitions }),
    }
  })
  const expected = ({ value }: LogRecord) => (value === null ? undefined : outputs.get(value.toString('latin1')))
  return { messages, poisoned, expected }
}

/** Fails unless each dead letter carries the error code that its input foretells, and every bad input has one. */
export function assertDeadLetters(workload: Workload, deadLetters: readonly LogRecord[]): void {
  assert.equal(deadLetters.length, workload.poisoned, 'dead letters')
  for (const record of deadLetters) {
    assert.equal(headerText(record, 'error-code'), headerText(record, POISON_HEADER), sourceOf(record))
    assert.equal(headerText(record, 'error-stage'), 'decode')
  }
}

function keyOf(i: number): Buffer | string | null {
  if (i % 5 === 0) return null
  if (i % 5 === 1) return Buffer.from([0xff, 0, i & 0xff, (i >> 8) & 0xff])
  return i % 1000 === 2 ? '' : `flower-${i}`
}

function headersOf(i: number): NonNullable<Message['headers']> {
  if (i % 4 === 0) return {}
  const trace = `00-${i.toString(16).padStart(32, '0')}-b7ad6b7169203331-01`
  if (i % 4 === 1) return { traceparent: trace }
  return { zeta: ['1', Buffer.from([0xff, 0x00])], traceparent: trace, ключ: '', alpha: String(i) }
}
