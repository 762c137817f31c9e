import type { InputSpec } from '../../src/core/model.ts'
import { feature, input } from '../codec/support.ts'
import type { Suite } from './corpus.ts'
import { bytes, double, long, text } from './parts.ts'

/** The inputs of the suite's model, as its model.json gives them. */
export function inputsOf(suite: Suite): InputSpec[] {
  if (suite.endsWith('words')) return [input('string', feature('first'), feature('second'))]
  return [
    input('int64', feature('count')),
    input('bool', feature('member')),
    input('float64', feature('price'), feature('discount')),
    input('int32', feature('basket', { length: 3 })),
  ]
}

/** A message that nothing is wrong with, another one for each `n`. */
export function goodValue(suite: Suite, n: number): Buffer {
  switch (suite) {
    case 'avro':
      return Buffer.concat([
        bytes(0, 0, 0, 0, 1, ...long(BigInt(n)), 1, ...double(n / 2), ...double(0)),
        bytes(...long(3n), ...long(1n), ...long(2n), ...long(BigInt(n)), 0),
      ])
    case 'json':
      return Buffer.from(JSON.stringify({ count: n, member: true, price: n / 2, discount: 0, basket: [1, 2, n] }))
    case 'avro-words':
      return Buffer.concat([bytes(0, 0, 0, 0, 7), text(`word ${n}`), long(1n), long(1n)])
    case 'json-words':
      return Buffer.from(JSON.stringify({ first: `word ${n}`, second: 'two' }))
  }
}
