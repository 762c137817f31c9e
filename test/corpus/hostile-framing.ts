import { cluttered } from './clutter.ts'
import { BASKET, COUNT, type Collection, frame, PURCHASE, REST } from './collection.ts'
import { bytes, type Content, long, repeat, text } from './parts.ts'

export function framing(all: Collection, random: (below: number) => number): void {
  all.add('avro', 'null-value', 'tombstone', 'a record without a value', null)
  all.add('avro', 'truncated-message', 'empty value', 'zero bytes', [])
  for (const magic of [1, 2, 0x7b, 0x7f, 0xff]) {
    all.add('avro', 'wrong-magic-byte', `magic ${magic}`, 'another framing', [
      bytes(magic),
      ...frame(1, ...PURCHASE).slice(1),
      ...PURCHASE,
    ])
  }
  for (let i = 0; i < 10; i++) {
    const noise = Array.from({ length: 1 + random(64) }, () => random(256))
    all.add('avro', 'wrong-magic-byte', `noise ${i}`, 'random bytes', [bytes(1 + random(255), ...noise)])
  }
  for (const id of [0, -1, -(2 ** 31), 99, 2 ** 31 - 1, 0x0100_0000]) {
    all.add('avro', 'unknown-schema-id', `id ${id}`, 'an id that no schema has', frame(id, ...PURCHASE))
  }
  all.add('avro', 'unusable-schema', 'no record', 'the schema is an array', frame(3, ...PURCHASE))
  all.add('avro', 'unusable-schema', 'no schema', 'the schema is no JSON', frame(4, ...PURCHASE))
  all.add(
    'avro',
    'feature-missing',
    'without member',
    'the schema lacks a feature',
    frame(5, COUNT, ...REST.slice(1), ...BASKET),
  )
  all.add('avro', 'feature-missing', 'id of another model', 'a schema of words', frame(7, text('a'), long(0n)))
  all.add('avro', 'trailing-bytes', 'a byte more', 'the value goes on', frame(1, ...PURCHASE, bytes(0)))
  all.add('avro', 'trailing-bytes', 'twice', 'two values in one record', frame(1, ...PURCHASE, ...PURCHASE))
  all.add('avro', 'trailing-bytes', 'padding', 'sixty thousand bytes more', frame(1, ...PURCHASE, repeat([0], 60_000)))
}

export function truncation(all: Collection): void {
  for (const [what, whole] of [
    ['plain', frame(1, ...PURCHASE)],
    ['cluttered', cluttered()],
  ] as const) {
    const { length } = flat(whole)
    for (let cut = 1; cut < length; cut++) {
      all.add('avro', 'truncated-message', `${what} cut to ${cut}`, 'the value ends early', [
        flat(whole).subarray(0, cut),
      ])
    }
  }
}

const flat = (content: Content) =>
  Buffer.concat(content.map(part => (part instanceof Uint8Array ? part : Buffer.alloc(0))))
