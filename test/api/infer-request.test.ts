import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { InferAnswerWriter } from '../../src/api/infer-answer.ts'
import { type InferRequest, parseInferRequest } from '../../src/api/infer-request.ts'
import { SluiceError } from '../../src/core/errors.ts'
import type { ModelSpec } from '../../src/core/model.ts'
import { byteLength, ELEMENT_TYPES, type ElementType, type TensorColumn, viewOf } from '../../src/core/tensor.ts'
import { fixture } from '../inference/fixtures.ts'

const ALL = fixture(
  'types',
  {
    half: ['float16', [2]],
    single: ['float32', [2]],
    double: ['float64', []],
    long: ['int64', [1]],
    int: ['int32', [1]],
    flag: ['bool', [1]],
    word: ['string', [2]],
  },
  { single: ['float32', [2]], long: ['int64', []] },
).spec
const ONE = fixture('row-sums', { x: ['float32', [2, 2]] }, { sum: ['float32', [1]] }).spec

const LIMITS = { apiMaxRows: 100, apiMaxBodyBytes: 10_000 }

const parse = (json: unknown, spec = ONE, binary?: Uint8Array): InferRequest => {
  const header = Buffer.from(typeof json === 'string' ? json : JSON.stringify(json))
  if (binary === undefined) return parseInferRequest(header, undefined, spec, LIMITS)
  return parseInferRequest(Buffer.concat([header, binary]), header.length, spec, LIMITS)
}

/** Columns of a slot with room for `rows`, as the inputs of a request fill them. */
function packed({ inputs, rows }: InferRequest, spec: ModelSpec, at = 0): TensorColumn[] {
  const columns = spec.inputs.map(input => {
    const elements = (rows + at) * input.width
    return { spec: input, data: viewOf(input.type, new SharedArrayBuffer(byteLength(input.type, elements)), elements) }
  })
  // Row by row: nothing may depend on what is packed at once.
  for (let row = 0; row < rows; row++)
    for (const [i, tensor] of inputs.entries()) tensor.pack(columns[i]!, row, 1, at + row)
  return columns
}

const input = (change: object = {}) => ({
  name: 'x',
  datatype: 'FP32',
  shape: [1, 2, 2],
  data: [1, 2, 3, 4],
  ...change,
})

const refused = (json: unknown, message: RegExp, code = 'request-invalid', spec = ONE, binary?: Uint8Array) =>
  assert.throws(
    () => parse(json, spec, binary),
    (error: unknown) => {
      assert.ok(error instanceof SluiceError, String(error))
      assert.equal(error.code, code)
      assert.match(error.message, message)
      return true
    },
  )

const VALUES: Readonly<
  Record<string, readonly [datatype: string, data: readonly unknown[], packed: readonly unknown[]]>
> = {
  half: ['FP16', [0.5, -2, 65_504, 'NaN'], [0.5, -2, 65_504, Number.NaN]],
  single: ['FP32', [0.1, 'Infinity', '-Infinity', 3e38], [Math.fround(0.1), Infinity, -Infinity, Math.fround(3e38)]],
  double: ['FP64', [0.1, 1e300], [0.1, 1e300]],
  long: ['INT64', ['9223372036854775807', '-9007199254740993'], [2n ** 63n - 1n, -(2n ** 53n) - 1n]],
  int: ['INT32', [-2_147_483_648, 2_147_483_647], [-2_147_483_648, 2_147_483_647]],
  flag: ['BOOL', [true, false], [1, 0]],
  word: ['BYTES', ['', 'zwölf', '日本', 'x'], ['', 'zwölf', '日本', 'x']],
}

/** JSON with integers that JSON.stringify could not write. */
const allJson = () => {
  const inputs = ALL.inputs.map(({ tensor, rowShape }) => {
    const [datatype, data] = VALUES[tensor]!
    const elements = tensor === 'long' ? `[${data}]` : JSON.stringify(data)
    return `{"name":"${tensor}","datatype":"${datatype}","shape":${JSON.stringify([2, ...rowShape])},"data":${elements}}`
  })
  return `{"inputs":[${inputs.toReversed()}]}`
}

describe('a request in JSON', () => {
  test('every datatype, in any order of the inputs, to the bit', () => {
    const columns = packed(parse(allJson(), ALL), ALL, 3)
    for (const { spec, data } of columns) {
      assert.deepEqual(
        Array.from(data as ArrayLike<unknown>).slice(3 * spec.width),
        VALUES[spec.tensor]![2],
        spec.tensor,
      )
    }
    assert.deepEqual(new Set(columns.map(({ spec }) => spec.type)), new Set<ElementType>(ELEMENT_TYPES))
  })

  test('data is flat, or nested as the shape is', () => {
    for (const data of [
      [1, 2, 3, 4, 5, 6, 7, 8],
      [
        [
          [1, 2],
          [3, 4],
        ],
        [
          [5, 6],
          [7, 8],
        ],
      ],
    ]) {
      const request = parse({ inputs: [input({ shape: [2, 2, 2], data })] })
      assert.deepEqual([...(packed(request, ONE)[0]!.data as Float32Array)], [1, 2, 3, 4, 5, 6, 7, 8])
    }
  })

  test('id, timeout, and which outputs are wanted how', () => {
    const { id, timeoutMs, outputs } = parse({
      id: 'a',
      parameters: { timeout: 2_500, priority: 3 },
      inputs: [input()],
      outputs: [{ name: 'sum', parameters: { binary_data: true } }],
    })
    assert.deepEqual([id, timeoutMs, outputs], ['a', 2.5, [{ index: 0, binary: true }]])
    assert.deepEqual(parse({ inputs: [input()], outputs: [] }).outputs, [{ index: 0, binary: false }])
    const all = parse({ inputs: [input()], parameters: { binary_data_output: true, timeout: 0 } })
    assert.deepEqual([all.outputs, all.timeoutMs], [[{ index: 0, binary: true }], undefined])
    const mixed = {
      inputs: [input()],
      parameters: { binary_data_output: true },
      outputs: [{ name: 'sum', parameters: { binary_data: false } }],
    }
    assert.equal(parse(mixed).outputs[0]!.binary, false)
  })

  const bad: readonly (readonly [json: unknown, message: RegExp])[] = [
    ['{', /no JSON/],
    ['[]', /the request is no JSON object/],
    [{}, /"inputs" is missing/],
    [{ inputs: [] }, /inputs are missing: expected "x"/],
    [{ inputs: [null] }, /an input is no JSON object/],
    [{ id: 3, inputs: [input()] }, /"id" is no string/],
    [{ inputs: [input({ name: 'y' })] }, /no input "y"; expected "x"/],
    [{ inputs: [input(), input()] }, /input "x" is there twice/],
    [{ inputs: [input({ datatype: 'FP64' })] }, /datatype "FP64"; the model takes FP32/],
    [{ inputs: [input({ shape: [1, 4] })] }, /shape \[1,4\]; the model takes \[-1,2,2\]/],
    [{ inputs: [input({ shape: [0, 2, 2], data: [] })] }, /at least one row/],
    [{ inputs: [input({ shape: [1.5, 2, 2] })] }, /shape \[1.5,2,2\]/],
    [{ inputs: [input({ shape: undefined })] }, /shape undefined/],
    [{ inputs: [input({ data: undefined })] }, /the data of input "x" is missing/],
    [{ inputs: [input({ data: [1, 2, 3] })] }, /has 3 elements, its shape \[1,2,2\] has 4/],
    [{ inputs: [input({ data: [[[1, 2], [3]]] })] }, /nested otherwise/],
    [{ inputs: [input({ data: [1, 2, 3, null] })] }, /element 3 of the data of input "x" is null, expected a number/],
    [{ inputs: [input({ data: [1, 2, 3, '4'] })] }, /element 3 .* the string "4"/],
    [{ inputs: [input({ data: [1, 2, 3, 1e39] })] }, /element 3 .* 1e\+39/],
    [{ inputs: [input({ data: [1, 2, 3, true] })] }, /element 3 .* true/],
    [{ inputs: [input()], outputs: [{ name: 'z' }] }, /no output "z"; expected "sum"/],
    [{ inputs: [input()], outputs: [{ name: 'sum' }, { name: 'sum' }] }, /wanted twice/],
    [
      { inputs: [input()], outputs: [{ name: 'sum', parameters: { classification: 2 } }] },
      /classification, which is not supported/,
    ],
    [{ inputs: [input({ parameters: { shared_memory_region: 'r' } })] }, /shared memory, which is not supported/],
    [{ inputs: [input()], parameters: { timeout: -1 } }, /"timeout" is no number of microseconds/],
  ]
  for (const [json, message] of bad) test(`is refused: ${message.source}`, () => refused(json, message))

  test('elements that do not fit their type', () => {
    const types = {
      long: [1.5, '1', 2n ** 63n],
      int: [2_147_483_648, 0.5],
      flag: [1, 'true'],
      word: [1, null],
      half: [65_520],
    }
    for (const [name, values] of Object.entries(types)) {
      for (const value of values) {
        const { datatype, rowShape } = {
          datatype: VALUES[name]![0],
          rowShape: ALL.inputs.find(i => i.tensor === name)!.rowShape,
        }
        const width = rowShape[0] ?? 1
        const data = Array.from({ length: width }, () =>
          typeof value === 'bigint' ? String(value) : JSON.stringify(value),
        )
        const json = `{"inputs":[{"name":"${name}","datatype":"${datatype}","shape":${JSON.stringify([1, ...rowShape])},"data":[${data}]}]}`
        refused(json, /^element 0 of the data of input/, 'request-invalid', ALL)
      }
    }
  })

  test('too many rows', () => {
    const data = new Array(101 * 4).fill(0)
    refused({ inputs: [input({ shape: [101, 2, 2], data })] }, /101 rows; API_MAX_ROWS allows 100/, 'request-too-large')
  })

  test('an answer that would be larger than a body may be: by its rows, and by the outputs that are wanted', () => {
    const outputs = { mask: ['float32', [50]], words: ['string', [50]], sum: ['float32', []] } as const
    const { spec } = fixture('row-sums', { x: ['float32', [2, 2]] }, outputs)
    const asked = (rows: number, ...wanted: object[]) => ({
      inputs: [input({ shape: [rows, 2, 2], data: new Array(4 * rows).fill(0) })],
      outputs: wanted,
    })
    const inBinary = (name: string) => ({ name, parameters: { binary_data: true } })
    const tooLarge = (rows: number, bytes: number, ...wanted: object[]) =>
      refused(
        asked(rows, ...wanted),
        new RegExp(
          `^the answer to ${rows} rows would have about ${bytes} bytes; API_MAX_BODY_BYTES allows 10000\\. Send`,
        ),
        'request-too-large',
        spec,
      )
    assert.equal(parse(asked(10, { name: 'mask' }), spec).rows, 10)
    tooLarge(11, 11_000, { name: 'mask' })
    assert.equal(parse(asked(50, inBinary('mask')), spec).rows, 50)
    tooLarge(51, 10_200, inBinary('mask'))
    tooLarge(11, 11_000, inBinary('words'))
    tooLarge(5, 10_100)
    assert.equal(parse(asked(100, { name: 'sum' }), spec).rows, 100)
  })
})

describe('a request with binary tensors', () => {
  const little = (...values: number[]) => new Uint8Array(Float32Array.of(...values).buffer)
  const binary = (size: number, change: object = {}) =>
    input({ data: undefined, parameters: { binary_data_size: size }, ...change })

  test('is copied as it is', () => {
    const request = parse({ inputs: [binary(32, { shape: [2, 2, 2] })] }, ONE, little(1, 2, 3, 4, 5, 6, 7, Number.NaN))
    assert.deepEqual([...(packed(request, ONE, 1)[0]!.data as Float32Array)].slice(4), [
      1,
      2,
      3,
      4,
      5,
      6,
      7,
      Number.NaN,
    ])
  })

  test('strings come with their lengths', () => {
    const spec = fixture('strings', { words: ['string', [2]] }, { echo: ['string', [2]] }).spec
    const words = ['zwölf', '']
    const bytes = Buffer.concat(
      words.flatMap(word => [Buffer.from(Uint32Array.of(Buffer.byteLength(word)).buffer), Buffer.from(word)]),
    )
    const named = (size: number) => ({
      inputs: [{ name: 'words', datatype: 'BYTES', shape: [1, 2], parameters: { binary_data_size: size } }],
    })
    assert.deepEqual(packed(parse(named(bytes.length), spec, bytes), spec)[0]!.data, words)
    refused(
      named(bytes.length - 4),
      /has 1 elements, its shape needs 2/,
      'request-invalid',
      spec,
      bytes.subarray(0, -4),
    )
    refused(named(3), /ends within element 0/, 'request-invalid', spec, bytes.subarray(0, 3))
    refused(
      named(bytes.length + 4),
      /has more elements/,
      'request-invalid',
      spec,
      Buffer.concat([bytes, Buffer.alloc(4)]),
    )
    refused(named(6), /no UTF-8/, 'request-invalid', spec, Buffer.from([2, 0, 0, 0, 0xc3, 0x28]))
  })

  test('sizes must fit', () => {
    refused({ inputs: [binary(12)] }, /has 12 bytes, its shape needs 16/, 'request-invalid', ONE, little(1, 2, 3))
    refused({ inputs: [binary(20)] }, /ends within the binary data/, 'request-invalid', ONE, little(1, 2, 3, 4))
    refused({ inputs: [binary(16)] }, /4 bytes that belong to no input/, 'request-invalid', ONE, little(1, 2, 3, 4, 5))
    refused({ inputs: [binary(-1)] }, /binary_data_size .* no number of bytes/, 'request-invalid', ONE, little(1))
    assert.throws(
      () => parseInferRequest(Buffer.from('{}'), 3, ONE, LIMITS),
      /Inference-Header-Content-Length is 3, but the body has 2/,
    )
    const flag = fixture('types', { flag: ['bool', [1]] }, { flag: ['bool', [1]] }).spec
    const json = { inputs: [{ name: 'flag', datatype: 'BOOL', shape: [2, 1], parameters: { binary_data_size: 2 } }] }
    refused(json, /neither 0 nor 1/, 'request-invalid', flag, Uint8Array.of(1, 2))
  })
})

describe('an answer', () => {
  const column = (type: ElementType, rowShape: readonly number[], values: readonly unknown[]): TensorColumn => {
    const width = rowShape.reduce((product, dimension) => product * dimension, 1)
    const data = viewOf(type, new SharedArrayBuffer(byteLength(type, values.length)), values.length)
    for (const [i, value] of values.entries()) (data as unknown[])[i] = value
    return { spec: { tensor: 'o', type, rowShape, width }, data }
  }
  const spec = fixture(
    'types',
    { x: ['float32', [2, 2]] },
    { single: ['float32', [2]], long: ['int64', []], flag: ['bool', []], word: ['string', []] },
  ).spec
  const outputs = [
    column('float32', [2], [9, 9, 0.5, -1.25, Number.NaN, Infinity]),
    column('int64', [], [9n, -(2n ** 63n), 7n]),
    column('bool', [], [0, 1, 0]),
    column('string', [], ['', 'zwölf "x"', '']),
  ]
  const request = (binary: boolean): InferRequest => {
    return {
      id: 'a"b',
      rows: 2,
      inputs: [],
      outputs: spec.outputs.map((_, index) => ({ index, binary })),
      timeoutMs: undefined,
      maxAnswerBytes: 1_000,
    }
  }
  const EXPECTED = [
    { name: 'single', datatype: 'FP32', shape: [2, 2], data: '[0.5,-1.25,"NaN","Infinity"]' },
    { name: 'long', datatype: 'INT64', shape: [2], data: '[-9223372036854775808,7]' },
    { name: 'flag', datatype: 'BOOL', shape: [2], data: '[true,false]' },
    { name: 'word', datatype: 'BYTES', shape: [2], data: JSON.stringify(['zwölf "x"', '']) },
  ]
  const json = `{"model_name":"types","model_version":"7","id":"a\\"b","outputs":[${EXPECTED.map(({ name, datatype, shape, data }) => `{"name":"${name}","datatype":"${datatype}","shape":[${shape}],"data":${data}}`)}]}`

  test('is refused where it is larger than a body may be, in bytes', () => {
    for (const binary of [false, true]) {
      const finish = (maxAnswerBytes: number) => {
        const writer = new InferAnswerWriter(spec, { ...request(binary), maxAnswerBytes })
        writer.take(outputs, 0, 2, 1)
        return writer.finish('7')
      }
      const bytes = Buffer.byteLength(finish(1_000).body)
      assert.equal(Buffer.byteLength(finish(bytes).body), bytes)
      // The umlaut is one character, and two bytes.
      const message = `the answer to 2 rows has ${bytes} bytes; API_MAX_BODY_BYTES allows ${bytes - 1}. Send fewer rows at a time, or name the outputs that are needed`
      assert.throws(() => finish(bytes - 1), { code: 'request-too-large', message })
    }
  })

  test('in JSON: the same, whether its rows come at once or one by one', () => {
    const once = new InferAnswerWriter(spec, request(false))
    once.take(outputs, 0, 2, 1)
    assert.deepEqual(once.finish('7'), { body: json, headerLength: undefined })
    const twice = new InferAnswerWriter(spec, request(false))
    twice.take(outputs, 1, 1, 2)
    twice.take(outputs, 0, 1, 1)
    assert.equal(twice.finish('7').body, json)
    JSON.parse(json)
  })

  test('in binary: what was in the slot then, not what comes into it later', () => {
    const own = outputs.map(({ spec, data }) => ({ spec, data: data.slice() as TensorColumn['data'] }))
    const writer = new InferAnswerWriter(spec, request(true))
    writer.take(own, 0, 2, 1)
    for (const { data } of own) if (!Array.isArray(data)) new Uint8Array(data.buffer).fill(0)
    const { body, headerLength } = writer.finish('7')
    const bytes = Buffer.from(body as Uint8Array)
    const header = JSON.parse(bytes.subarray(0, headerLength).toString()) as {
      outputs: { parameters: { binary_data_size: number } }[]
    }
    assert.deepEqual(
      header.outputs.map(output => output.parameters.binary_data_size),
      [16, 16, 2, 4 + 10 + 4],
    )
    const tail = bytes.subarray(headerLength)
    assert.deepEqual(
      [0, 4, 8, 12].map(at => tail.readFloatLE(at)),
      [0.5, -1.25, Number.NaN, Infinity],
    )
    assert.deepEqual([tail.readBigInt64LE(16), tail.readBigInt64LE(24)], [-(2n ** 63n), 7n])
    assert.deepEqual([...tail.subarray(32, 34)], [1, 0])
    assert.equal(tail.readUInt32LE(34), 10)
    assert.equal(tail.subarray(38, 48).toString(), 'zwölf "x"')
    assert.equal(tail.readUInt32LE(48), 0)
    assert.equal(tail.length, 52)
  })
})

test('what is said of a wrong value is short, also where JSON has no word for it', () => {
  const big = '12345678901234567890'
  const of = (change: string) => `{"inputs":[{"name":"half","datatype":"FP16","shape":[1,2],"data":[1,2],${change}}]}`
  for (const [change, said] of [
    [`"shape":[1,${big}]`, /has the shape \[1,12345678901234567890\]/],
    [`"datatype":${big}`, /the datatype 12345678901234567890/],
    [`"name":${big}`, /no input 12345678901234567890/],
    [`"name":"${'x'.repeat(1_000)}"`, /no input a long string/],
    [`"data":[1,${big}]`, /element 1 of .* is 12345678901234567890/],
  ] as const)
    refused(of(change), said, 'request-invalid', ALL)
})
