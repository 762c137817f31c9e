import { readFileSync } from 'node:fs'
import type { ErrorCode } from '../../src/core/errors.ts'
import { type FixtureModel, STRINGS, TYPES } from '../faults/bundles.ts'

/** Bytes in base64, or bytes that are repeated: bombs are small here. */
type Parts = readonly (string | readonly [base64: string, times: number])[]

/** What a message is decoded as, and for which model: `avro` and `json` for TYPES, the others for STRINGS. */
export type Suite = 'avro' | 'json' | 'avro-words' | 'json-words'

/** A hostile message as it lies in `messages.jsonl`. */
export interface StoredMessage {
  readonly name: string
  readonly suite: Suite
  readonly value: Parts | null
  readonly key?: Parts | null
  readonly headers?: readonly (readonly [name: Parts, value: Parts | null])[]
  /** The error code of its dead letter, or that it is none. */
  readonly expected: ErrorCode | 'prediction'
  readonly why: string
}

/** The answer to a fetch from offset 0 as it lies in `batches.jsonl`. */
export interface StoredBatch {
  readonly name: string
  readonly bytes: Parts
  /** How many records may be read, or that the batch is refused. */
  readonly expected: 'corrupt-batch' | number
  readonly why: string
}

/** Values of the corpus may have this many bytes. */
export const MAX_RECORD_BYTES = 65_536

export const MODELS: Readonly<Record<Suite, FixtureModel>> = {
  avro: TYPES,
  json: TYPES,
  'avro-words': STRINGS,
  'json-words': STRINGS,
}

const junk = [
  { name: 'text', type: 'string' },
  { name: 'tags', type: { type: 'map', values: 'string' } },
  {
    name: 'node',
    type: { type: 'record', name: 'Node', fields: [{ name: 'next', type: ['null', 'Node'] }] },
  },
  { name: 'colour', type: { type: 'enum', name: 'Colour', symbols: ['RED', 'GREEN'] } },
  { name: 'maybe', type: ['null', 'string', 'int'] },
  { name: 'lists', type: { type: 'array', items: { type: 'array', items: 'long' } } },
  { name: 'nothing', type: { type: 'array', items: 'null' } },
  { name: 'ratios', type: { type: 'array', items: 'double' } },
  { name: 'hash', type: { type: 'fixed', name: 'Hash', size: 4 } },
]
const count = { name: 'count', type: 'long' }
const member = { name: 'member', type: 'boolean' }
const price = { name: 'price', type: 'double' }
const discount = { name: 'discount', type: 'double' }
const basket = { name: 'basket', type: { type: 'array', items: 'int' } }
const record = (name: string, fields: readonly object[]) => ({ type: 'record', name, fields })

/** The schemas that the messages name, by id; a string is no JSON. */
export const SCHEMAS: Readonly<Record<number, unknown>> = {
  1: record('Purchase', [count, member, price, discount, basket]),
  2: record('Cluttered', [...junk, count, member, price, discount, basket]),
  3: { type: 'array', items: 'float' },
  4: '{"type": "record", ',
  5: record('WithoutMember', [count, price, discount, basket]),
  6: record('Optional', [
    { name: 'count', type: ['null', 'long', 'string'] },
    member,
    price,
    discount,
    { name: 'basket', type: { type: 'array', items: ['null', 'int'] } },
  ]),
  7: record('Words', [
    { name: 'first', type: 'string' },
    { name: 'second', type: ['null', { type: 'enum', name: 'Word', symbols: ['one', 'two'] }, 'string', 'bytes'] },
  ]),
  8: record('Endless', [{ name: 'self', type: 'Endless' }, count, member, price, discount, basket]),
  9: record('Wide', [count, member, price, discount, { name: 'basket', type: { type: 'array', items: 'long' } }]),
}

export function bytesOf(parts: Parts): Buffer {
  return Buffer.concat(
    parts.map(part => {
      if (typeof part === 'string') return Buffer.from(part, 'base64')
      const bytes = Buffer.from(part[0], 'base64')
      return Buffer.alloc(bytes.length * part[1], bytes)
    }),
  )
}

function linesOf<T>(file: string): T[] {
  const text = readFileSync(new URL(file, import.meta.url), 'utf8')
  return text
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as T)
}

export const readMessages = () => linesOf<StoredMessage>('messages.jsonl')
export const readBatches = () => linesOf<StoredBatch>('batches.jsonl')
