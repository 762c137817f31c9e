import assert from 'node:assert/strict'
import { test } from 'node:test'
import avro from 'avsc'
import fc from 'fast-check'
import { createPredictionEncoder } from '../../src/codec/prediction-encoder.ts'
import { predictionSchema } from '../../src/codec/prediction-schema.ts'
import type { ModelSpec, OutputSpec } from '../../src/core/model.ts'
import { unpackRow } from '../../src/core/rows.ts'
import type { ElementType, TensorColumn } from '../../src/core/tensor.ts'
import { columnsFor, seeded } from './support.ts'

function output(field: string, type: ElementType, rowShape: number[]): OutputSpec {
  const width = rowShape.reduce((product, dimension) => product * dimension, 1)
  return { tensor: `t_${field}`, field, type, rowShape, width }
}

const OUTPUTS = [
  output('label', 'int64', []),
  output('probabilities', 'float32', [3]),
  output('score', 'float32', [1]),
  output('wide', 'float64', [4, 8]),
  output('count', 'int32', [2]),
  output('exact', 'float64', []),
  output('flag', 'bool', []),
  output('flags', 'bool', [3]),
  output('name', 'string', [1, 1]),
  output('names', 'string', [2]),
  output('ids', 'int64', [2]),
  output('half', 'float16', [1]),
  output('halves', 'float16', [5]),
  output('none', 'float32', [0]),
]

const MODEL: ModelSpec = {
  name: 'iris-classifier',
  version: '3',
  sha256: '0'.repeat(64),
  inputs: [],
  outputs: OUTPUTS,
  fixedBatch: null,
  tolerance: { absolute: 0, relative: 0 },
  training: {},
}

const ELEMENTS: Record<ElementType, fc.Arbitrary<unknown>> = {
  float16: fc.integer({ min: 0, max: 0xffff }).map(bits => new Float16Array(Uint16Array.of(bits).buffer)[0]),
  float32: fc.float(),
  float64: fc.double(),
  int64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  int32: fc.integer(),
  bool: fc.constantFrom(0, 1),
  string: fc.string({ unit: 'binary' }),
}
const row = fc.tuple(
  ...OUTPUTS.map(({ type, width }) => fc.array(ELEMENTS[type], { minLength: width, maxLength: width })),
)

function fill(columns: readonly TensorColumn[], at: number, values: readonly unknown[][]): void {
  for (const [i, elements] of values.entries()) {
    for (const [e, element] of elements.entries()) (columns[i]!.data as unknown[])[at * OUTPUTS[i]!.width + e] = element
  }
}

/** avsc, with longs as bigints, as the reference reader. */
const long = avro.types.LongType.__with({
  fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64LE(value)
    return bytes
  },
  fromJSON: BigInt,
  toJSON: Number,
  isValid: (value: unknown) => typeof value === 'bigint',
  compare: (a: bigint, b: bigint) => Number(a - b),
})
const reader = avro.Type.forSchema(JSON.parse(predictionSchema(MODEL, 'iris-predictions')), { registry: { long } })

test('avsc reads every prediction as the tensors have it', () => {
  const framed = createPredictionEncoder('avro', OUTPUTS, 16777299)
  const raw = createPredictionEncoder('avro-raw', OUTPUTS, 16777299)
  const columns = columnsFor(OUTPUTS, 2)
  fc.assert(
    fc.property(row, values => {
      fill(columns, 1, values)
      const target = Buffer.alloc(7 + framed.maxBytes(1, columns), 0xee)
      const end = framed.encode(1, columns, target, 7)
      assert.ok(end <= target.length)
      assert.deepEqual([...target.subarray(0, 12)], [...Buffer.alloc(7, 0xee), 0, 1, 0, 0, 83])
      const bare = Buffer.alloc(raw.maxBytes(1, columns))
      const bareEnd = raw.encode(1, columns, bare, 0)
      assert.deepEqual(bare.subarray(0, bareEnd), target.subarray(12, end))

      const expected = OUTPUTS.map(({ field, type, rowShape }, i) => {
        // Text is UTF-8: half of a surrogate pair cannot be written.
        const plain = values[i]!.map(element =>
          type === 'bool' ? element === 1 : typeof element === 'string' ? element.toWellFormed() : element,
        )
        return [field, rowShape.every(dimension => dimension === 1) ? plain[0] : plain]
      })
      assert.deepEqual({ ...reader.fromBuffer(bare.subarray(0, bareEnd)) }, Object.fromEntries(expected))
    }),
    seeded(1000),
  )
})

test('JSON.parse reads every prediction, but for what JSON cannot say', () => {
  const encoder = createPredictionEncoder('json', OUTPUTS, 0)
  const columns = columnsFor(OUTPUTS, 2)
  fc.assert(
    fc.property(row, values => {
      fill(columns, 1, values)
      const target = Buffer.alloc(encoder.maxBytes(1, columns) + 3)
      const end = encoder.encode(1, columns, target, 3)
      assert.ok(end < target.length)
      // All digits of a number, because JSON.parse would round those of an int64.
      const digits = (_: string, value: unknown, context?: { source?: string }) =>
        typeof value === 'number' ? `#${context?.source}` : value
      const parsed = JSON.parse(target.toString('utf8', 3, end), digits)
      for (const { field, type } of OUTPUTS) {
        const found = [parsed[field]].flat().map(value => numberOf(value, type))
        assert.deepEqual(
          found,
          [unpackRow(OUTPUTS, columns, 1)[field]].flat().map(value => numberOf(value, type)),
          field,
        )
      }
    }),
    seeded(1000),
  )

  /** The number of a text: all digits of it as the reviver kept them, or the name of a number that JSON cannot write. */
  function numberOf(value: unknown, type: ElementType): unknown {
    if (type === 'bool' || type === 'string') return value
    const number = typeof value === 'string' ? value.replace('#', '') : value
    return type === 'int64' ? BigInt(number as number) : Number(number)
  }
})

test('the most bytes are enough for the longest elements', () => {
  const longest: [ElementType, unknown][] = [
    ['int64', -(2n ** 63n)],
    ['int32', -(2 ** 31)],
    ['float32', -1.1754943508222875e-38],
    ['float64', -2.2250738585072014e-308],
    ['float64', -Infinity],
    ['bool', 0],
    ['string', '\u0800'],
    ['string', '\u0000'],
    ['string', '\ud800'],
  ]
  for (const [type, element] of longest) {
    const outputs = [output('y', type, [1000])]
    const columns = columnsFor(outputs, 1)
    ;(columns[0]!.data as unknown[]).fill(typeof element === 'string' ? element.repeat(10) : element)
    for (const format of ['avro', 'avro-raw', 'json'] as const) {
      const encoder = createPredictionEncoder(format, outputs, 1)
      const room = encoder.maxBytes(0, columns)
      const length = encoder.encode(0, columns, Buffer.alloc(room + 100_000), 0)
      assert.ok(length <= room, `${format} ${type}: ${length} bytes, ${room} announced`)
    }
  }
})

test('the schema is named after the topic and describes its fields', () => {
  const schema = JSON.parse(predictionSchema({ ...MODEL, outputs: OUTPUTS.slice(0, 4) }, 'iris-predictions'))
  assert.deepEqual([schema.namespace, schema.name], ['sluice', 'IrisPredictions'])
  assert.deepEqual(
    schema.fields.map(({ name, type }: { name: string; type: unknown }) => [name, type]),
    [
      ['label', 'long'],
      ['probabilities', { type: 'array', items: 'float' }],
      ['score', 'float'],
      ['wide', { type: 'array', items: 'double' }],
    ],
  )
  assert.match(schema.fields[3].doc, /t_wide \(float64\): 4 × 8 elements, flattened row by row/)
  for (const topic of ['1.a', '__x', '-', 'déjà']) avro.Type.forSchema(JSON.parse(predictionSchema(MODEL, topic)))
})

test('another version of a model with the same outputs has the same schema', () => {
  const other = { ...MODEL, version: '4', sha256: 'f'.repeat(64) }
  assert.equal(predictionSchema(other, 't'), predictionSchema(MODEL, 't'))
})
