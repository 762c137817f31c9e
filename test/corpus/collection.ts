import type { StoredMessage, Suite } from './corpus.ts'
import { bytes, type Content, double, long, parts } from './parts.ts'

/** See `StoredMessage`. */
export type Expected = StoredMessage['expected']

/** Collects the messages of one suite. */
export class Collection {
  readonly messages: StoredMessage[] = []

  add(
    suite: Suite,
    expected: Expected,
    name: string,
    why: string,
    value: Content | null,
    rest: Partial<StoredMessage> = {},
  ) {
    this.messages.push({ name, suite, value: value === null ? null : parts(value), ...rest, expected, why })
  }
}

/** Confluent's framing. */
export const frame = (id: number, ...body: Content) => [bytes(0, id >> 24, id >> 16, id >> 8, id), ...body]

/** The fields of the schema Purchase. */
export const COUNT = long(7n)
export const REST = [bytes(1), double(2.5), double(0)]
export const BASKET = [long(3n), long(1n), long(2n), long(3n), long(0n)]
export const PURCHASE: Content = [COUNT, ...REST, ...BASKET]

/** The same purchase in JSON. */
export const OBJECT = '{"count":7,"member":true,"price":2.5,"discount":0,"basket":[1,2,3]}'
export const utf8 = (content: string): Content => [Buffer.from(content)]
