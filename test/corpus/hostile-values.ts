import { cluttered } from './clutter.ts'
import { BASKET, COUNT, type Collection, frame, REST } from './collection.ts'
import { bytes, type Content, double, long, repeat, text } from './parts.ts'

const HUGE = 2n ** 60n

export function choices(all: Collection): void {
  for (const index of [3n, -1n, 2n ** 31n, HUGE, -HUGE]) {
    all.add(
      'avro',
      'invalid-avro',
      `branch ${index}`,
      'a union has three branches',
      cluttered({ maybe: [long(index), text('m')] }),
    )
    all.add(
      'avro',
      'invalid-avro',
      `node branch ${index}`,
      'a union has two branches',
      cluttered({ node: [long(index)] }),
    )
  }
  all.add(
    'avro',
    'invalid-avro',
    'count branch 3',
    'a feature of a branch that is not there',
    frame(6, long(3n), ...REST, ...BASKET),
  )
  all.add('avro', 'feature-null', 'null count', 'a feature without a default', frame(6, long(0n), ...REST, long(0n)))
  all.add(
    'avro',
    'feature-type',
    'text for count',
    'a branch that no tensor takes',
    frame(6, long(2n), text('7'), ...REST, long(0n)),
  )
  const items = (second: Content) =>
    frame(6, long(1n), COUNT, ...REST, long(3n), long(1n), long(1n), ...second, long(1n), long(3n), long(0n))
  all.add('avro', 'prediction', 'items in branches', 'each item says its branch', items([long(1n), long(2n)]))
  all.add('avro', 'feature-null', 'null item', 'the second is null', items([long(0n)]))
  all.add('avro', 'invalid-avro', 'item branch 2', 'a branch that is not there', items([long(2n)]))
  for (const value of [2, 0x7f, 0xff]) {
    all.add(
      'avro',
      'invalid-avro',
      `boolean ${value}`,
      'neither 0 nor 1',
      frame(1, COUNT, bytes(value), ...REST.slice(1), ...BASKET),
    )
  }
}

export function numbers(all: Collection): void {
  const priced = (...price: Content) => frame(1, COUNT, bytes(1), ...price, double(0), ...BASKET)
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    all.add('avro', 'feature-not-finite', `${value}`, 'ALLOW_NON_FINITE is off', priced(double(value)))
  }
  all.add(
    'avro',
    'feature-not-finite',
    'NaN with a payload',
    'another pattern of bits',
    priced(bytes(1, 0, 0, 0, 0, 0, 0xf0, 0xff)),
  )
  for (const value of [-0, 5e-324, Number.MAX_VALUE, -Number.MAX_VALUE]) {
    all.add('avro', 'prediction', `${Object.is(value, -0) ? '-0' : value}`, 'odd, but finite', priced(double(value)))
  }
}

export function words(all: Collection): void {
  const first = (...content: Content) => frame(7, ...content, long(1n), long(0n))
  const raw = (...values: number[]): Content => [long(BigInt(values.length)), bytes(...values)]
  for (const [name, ...values] of [
    ['lone continuation', 0x80],
    ['over-long slash', 0xc0, 0xaf],
    ['surrogate', 0xed, 0xa0, 0x80],
    ['beyond U+10FFFF', 0xf4, 0x90, 0x80, 0x80],
    ['cut', 0xe2, 0x82],
    ['Latin-1', 0x67, 0x72, 0xfc, 0x6e],
    ['UTF-16', 0xff, 0xfe, 0x61, 0],
  ] as [string, ...number[]][]) {
    all.add('avro-words', 'invalid-avro', `UTF-8: ${name}`, 'a string that is not UTF-8', first(...raw(...values)))
  }
  all.add('avro-words', 'prediction', 'empty text', 'no characters', first(text('')))
  all.add('avro-words', 'prediction', 'NUL', 'a character like others', first(text('a\0b')))
  all.add('avro-words', 'prediction', 'BOM', 'a character like others', first(text('\ufeffone')))
  all.add('avro-words', 'prediction', 'U+FFFD', 'the replacement character, sent by intent', first(text('\ufffd')))
  all.add('avro-words', 'prediction', 'emoji', 'beyond the basic plane', first(text('👩‍🚀')))
  all.add(
    'avro-words',
    'prediction',
    '60,000 characters',
    'long, but allowed',
    first(long(60_000n), repeat([0x61], 60_000)),
  )
  all.add('avro-words', 'truncated-message', 'string of 2^53', 'a length beyond the value', first(long(2n ** 53n)))
  for (const index of [2n, -1n, HUGE]) {
    all.add(
      'avro-words',
      'invalid-avro',
      `symbol ${index}`,
      'the enum has two',
      frame(7, text('one'), long(1n), long(index)),
    )
  }
  all.add('avro-words', 'feature-null', 'null word', 'a feature without a default', frame(7, text('one'), long(0n)))
  all.add(
    'avro-words',
    'feature-type',
    'bytes for a word',
    'a branch that no tensor takes',
    frame(7, text('one'), long(3n), text('two')),
  )
}
