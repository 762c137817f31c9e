import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { JsonNumbers } from '../../src/codec/json-number.ts'
import { seeded } from './support.ts'

const SUFFIXES = [',', ']', ' ', '}', '\n']

/** Behind a number and its suffix there are bytes of the next record; these are good at misleading. */
const NEXT = '1234'

/**
 * Reads `text` from between other bytes, as an element of a list, and says how its bits differ from those that
 * JSON.parse leads to. That it is left to JSON.parse is no difference; an infinite number must be left.
 */
function difference(text: string, suffix = ','): string | undefined {
  const bytes = Buffer.from(`-0.5 , ${text}${suffix}${NEXT}`)
  const expectedEnd = 7 + text.length
  for (const [got, expected] of [
    [new Float32Array(3), new Float32Array(3)],
    [new Float64Array(3), new Float64Array(3)],
  ] as const) {
    expected[1] = -0.5
    expected[2] = JSON.parse(text)
    const end = new JsonNumbers(bytes).read(0, got, 1, 2)
    if (end < 0) continue
    if (!Number.isFinite(expected[2])) return `${text} is infinite`
    if (end !== expectedEnd) return `${text}: ends at ${end}, expected ${expectedEnd}`
    if (!Buffer.from(got.buffer).equals(Buffer.from(expected.buffer))) {
      return `${text} as ${got.BYTES_PER_ELEMENT} bytes: ${got[2]}, expected ${expected[2]}`
    }
  }
  return undefined
}

/** The number of the same sign with the next larger or smaller magnitude, by its bits. */
function neighbour(value: number, step: 1 | -1, array: Float32Array | Float64Array): number {
  array[0] = value
  if (array instanceof Float32Array) new Int32Array(array.buffer)[0]! += step
  else new BigInt64Array(array.buffer)[0]! += BigInt(step)
  return array[0]!
}

/** All digits of a double, without an exponent. */
function exactly(value: number): string {
  const [digits, exponent] = value.toExponential(100).split('e')
  return `${digits!.replace(/0+$/, '').replace(/\.$/, '.0')}e${Number(exponent)}`
}

const digits = (minLength: number, maxLength: number) =>
  fc.array(fc.nat(9), { minLength, maxLength }).map(list => list.join(''))
const integer = fc.oneof(
  fc.constant('0'),
  fc.tuple(fc.integer({ min: 1, max: 9 }), digits(0, 25)).map(([first, rest]) => `${first}${rest}`),
)
const fraction = fc.oneof(
  fc.constant(''),
  digits(1, 30).map(text => `.${text}`),
  fc.tuple(fc.nat(60), digits(1, 25)).map(([zeros, text]) => `.${'0'.repeat(zeros)}${text}`),
)
const exponent = fc.oneof(
  { weight: 3, arbitrary: fc.constant('') },
  fc
    .tuple(
      fc.constantFrom('e', 'E'),
      fc.constantFrom('', '+', '-', '+0', '-00'),
      fc.oneof(fc.nat(25), fc.nat(70), fc.nat(400)),
    )
    .map(parts => parts.join('')),
)
const numberText = fc
  .tuple(fc.constantFrom('', '-'), integer, fraction, exponent)
  .map(([sign, ...parts]) => sign + parts.join(''))

test('any JSON number becomes the bits that JSON.parse leads to, as float32 and as float64', () => {
  const property = fc.property(numberText, fc.constantFrom(...SUFFIXES), (text, suffix) => {
    assert.equal(difference(text, suffix), undefined)
  })
  fc.assert(property, seeded(40_000))
})

test('what languages write for floats and doubles reads back', () => {
  const single = fc.float({ noNaN: true, noDefaultInfinity: true })
  const double = fc.double({ noNaN: true, noDefaultInfinity: true })
  const texts = fc.oneof(
    single.map(value => `${Number(value.toPrecision(9))}`),
    single.map(value => value.toPrecision(9)),
    single.map(String),
    double.map(String),
    double.map(value => value.toPrecision(17)),
    fc.double({ min: 0, max: 1, noNaN: true }).map(value => value.toFixed(8)),
    fc.maxSafeInteger().map(String),
    fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(String),
  )
  const property = fc.property(texts, text => assert.equal(difference(text), undefined))
  fc.assert(property, seeded(40_000))
})

test('numbers half-way between two floats or doubles, and a little beside it, are rounded as by JSON.parse', () => {
  const single = fc.float({ noNaN: true, min: 0, max: 2 ** 127 })
  const half = single.map(value => (value + neighbour(value, 1, new Float32Array(1))) / 2)
  // A double cannot hold the middle of two doubles; their decimals can be averaged as integers.
  const wide = fc.double({ noNaN: true, min: 2 ** 54, max: 2 ** 80 }).map(value => {
    const next = neighbour(value, 1, new Float64Array(1))
    return (BigInt(value) + BigInt(next)) / 2n
  })
  const texts = fc.oneof(
    half.map(exactly),
    half.map(value => exactly(value).replace('e', '00000000000001e')),
    half.map(value => String(neighbour(value, -1, new Float64Array(1)))),
    half.map(value => String(neighbour(value, 1, new Float64Array(1)))),
    wide.map(String),
    wide.map(value => `${value + 1n}`),
    wide.map(value => `${value}.${'0'.repeat(30)}1`),
  )
  const property = fc.property(texts, text => assert.equal(difference(text), undefined))
  fc.assert(property, seeded(20_000))
})

test('numbers at the edges', () => {
  const texts = ['0', '-0', '0.0', '-0.0', '0e0', '-0E+5', '0e999', '0.000e-999', '1E+5', '1e400', '-1e400', '1e-400']
  texts.push('4.9e-324', '2.4e-324', '1.4e-45', '7e-46', '7.1e-46', '1.1754943e-38', '3.4028235e38', '3.4028236e38')
  texts.push(
    '340282356779733661637539395458142568447',
    '340282356779733661637539395458142568448',
    '1.7976931348623159e308',
  )
  texts.push('9007199254740991', '9007199254740992', '9007199254740993', '9007199254740993.0000000000000000001')
  texts.push('999999999', '9999999999', '4294967296', '2147483648', '0.999999999', '0.9999999999', '12345678.9')
  texts.push(`1e${'0'.repeat(500)}5`, `1e${'9'.repeat(500)}`, `1e-${'9'.repeat(500)}`, `0.${'0'.repeat(5_000)}1e5001`)
  texts.push(`${'9'.repeat(400)}`, `1${'0'.repeat(800)}e-800`, `0.${'1'.repeat(5_000)}`, `0.${'0'.repeat(99)}1e100`)
  assert.deepEqual(
    texts.flatMap(text => SUFFIXES.map(suffix => difference(text, suffix))).filter(found => found !== undefined),
    [],
  )
})

test('few are left to JSON.parse: none with up to 15 digits, and as float32 next to none', () => {
  const left = (texts: readonly string[], target: Float32Array | Float64Array) =>
    texts.filter(text => new JsonNumbers(Buffer.from(`${text},   `)).read(0, target, 0, 1) < 0)
  const { seed } = seeded(0)
  // Evenly drawn: fast-check's own floats and doubles like the extremes.
  const word = fc.noBias(fc.integer())
  const value = fc.tuple(word, word, fc.integer({ min: 0, max: 8 }))
  const doubles = fc.sample(value, { seed, numRuns: 10_000 }).map(([high, low, e]) => (high + low / 2 ** 32) / 10 ** e)
  const short = doubles.map(double => String(Number(double.toPrecision(15))))
  const singles = doubles.map(double => String(Number(Math.fround(double).toPrecision(9))))
  assert.deepEqual(left(short, new Float64Array(1)), [])
  assert.deepEqual(left([...singles, ...short, ...doubles.map(Math.fround).map(String)], new Float32Array(1)), [])
  assert.ok(left(doubles.map(String), new Float32Array(1)).length < 10)
})

test('a list ends where it should, and never beyond the bytes', () => {
  const end = (text: string, count: number) => new JsonNumbers(Buffer.from(text)).read(0, new Float32Array(9), 0, count)
  assert.equal(end('1, 2 ,\n3 ]    ', 3), 8)
  assert.equal(end('1, 2 ,\n3 ]    ', 2), 4)
  assert.equal(end('1, 2 ,\n3 ]    ', 4), -1)
  assert.equal(end('1 2    ', 2), -1)
  for (const text of ['0.1', '0.1234', '0.1,0.', '0.12345678', '0', '-', '1e', '1e1', '0.1e']) {
    for (let cut = 0; cut <= text.length; cut++) assert.ok(end(text.slice(0, cut), 2) <= cut)
  }
})

test('what is no number is none, or ends before what is wrong', () => {
  const end = (text: string) => new JsonNumbers(Buffer.from(`${text}    `)).read(0, new Float32Array(1), 0, 1)
  for (const text of [
    '',
    '-',
    '+1',
    '.5',
    '-.5',
    'x',
    'NaN',
    'Infinity',
    '-Infinity',
    '1.',
    '1.e5',
    '1e',
    '1e+',
    '1.5e-',
  ]) {
    assert.equal(end(text), -1, text)
  }
  for (const [text, position] of [
    ['01', 1],
    ['-012345678901', 2],
    ['1.5.5', 3],
    ['1.50000000000.5', 13],
    ['1e5e5', 3],
    ['1e5.5', 3],
    ['0x10', 1],
    ['1_000', 1],
    ['5n', 1],
  ] as const) {
    assert.equal(end(text), position, text)
  }
})

test('a number ends before every byte that is no digit', () => {
  for (const digits of ['7', '12', '0.1', '0.12', '0.123', '0.1234', '0.12345', '1e1']) {
    for (let byte = 0; byte < 256; byte++) {
      const isMore = /[0-9.eE]/.test(String.fromCharCode(byte))
      if (isMore) continue
      const bytes = Buffer.concat([Buffer.from(digits), Buffer.of(byte), Buffer.from('234567')])
      assert.equal(new JsonNumbers(bytes).read(0, new Float32Array(1), 0, 1), digits.length, `${digits}, ${byte}`)
    }
  }
})
