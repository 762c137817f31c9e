import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { draftInputs, draftOutputs, type GraphTensor } from '../../src/models/draft.ts'

const tensor = (name: string, shape: readonly (number | null)[], type: string | null = 'float32'): GraphTensor => {
  return { name, type, shape }
}
/** As `--features` writes them. */
const featuresOf = (tensors: readonly GraphTensor[], given?: string) =>
  draftInputs(tensors, given?.split(',')).parts.map(({ features }) =>
    features.map(({ name, length }) => (length === undefined ? name : `${name}[${length}]`)).join(','),
  )

describe('the features of a graph', () => {
  for (const [what, tensors, features] of [
    ['a short row', [tensor('X', [null, 3])], ['f0,f1,f2']],
    ['a row of 32', [tensor('X', [null, 32])], [Array.from({ length: 32 }, (_, i) => `f${i}`).join(',')]],
    ['a row of 33', [tensor('X', [null, 33])], ['X[33]']],
    ['an image', [tensor('input.1', [null, 3, 2, 2])], ['input_1[12]']],
    ['one value', [tensor('age', [null, 1])], ['age']],
    ['one value without a dimension', [tensor('age', [null])], ['age']],
    ['columns', [tensor('age', [null, 1]), tensor('home city', [null, 1], 'string')], ['age', 'home_city']],
    ['columns and an array', [tensor('age', [null, 1]), tensor('2 tags', [null, 3], 'int64')], ['age', '_2_tags[3]']],
  ] as const) {
    it(`of ${what} have names of their own`, () => assert.deepEqual(featuresOf(tensors), features))
  }

  it('are told of where the names are made up or changed', () => {
    assert.match(draftInputs([tensor('X', [null, 3])]).notes[0]!, /f0 to f2; --features gives them names/)
    assert.match(draftInputs([tensor('a b', [null, 1])]).notes[0]!, /input "a b" is fed by the field a_b/)
    assert.deepEqual(draftInputs([tensor('age', [null, 1])]).notes, [])
    assert.deepEqual(draftInputs([tensor('X', [null, 2])], ['a', 'b']).notes, [])
  })

  for (const [what, tensors, given, features] of [
    ['a row', [tensor('X', [null, 3])], 'a, b ,c', ['a,b,c']],
    ['arrays in a row', [tensor('X', [null, 5])], 'a,b[3],c.d', ['a,b[3],c.d']],
    ['several inputs', [tensor('X', [null, 2]), tensor('Y', [null, 1], 'string')], 'a,b,c', ['a,b', 'c']],
    ['a row of open size', [tensor('X', [null, null])], 'a,b', ['a,b']],
    ['a row of which one dimension is open', [tensor('X', [null, null, 4])], 'x[12]', ['x[12]']],
    ['a row of which nothing is known', [tensor('X', [])], 'a,b', ['a,b']],
  ] as const) {
    it(`that are given fill ${what}`, () => assert.deepEqual(featuresOf(tensors, given), features))
  }

  it('that are given say how long a row of open size is', () => {
    assert.deepEqual(draftInputs([tensor('X', [null, null, 4])], ['x[12]']).parts[0]!.shape, [null, 3, 4])
    assert.deepEqual(draftInputs([tensor('X', [2, null])], ['a', 'b']).parts[0]!.shape, [2, 2])
  })

  const short = /must fill the rows of the model's inputs, X \(3\); a,b makes 2 in all/
  for (const [what, tensors, given, code, message] of [
    ['too few', [tensor('X', [null, 3])], 'a,b', 'invalid-config', short],
    ['too many', [tensor('X', [null, 1])], 'a,b', 'invalid-config', /X \(1\); a,b makes 2 in all/],
    ['one of two inputs', [tensor('X', [null, 1]), tensor('Y', [null, 1])], 'a[2]', 'invalid-config', /or one of them/],
    ['no name', [tensor('X', [null, 1])], '', 'invalid-config', /--features has ""; expected NAME/],
    ['a length that is none', [tensor('X', [null, 1])], 'a[x]', 'invalid-config', /--features has "a\[x\]"/],
    [
      'an open row',
      [tensor('X', [null, null])],
      undefined,
      'model-unsupported',
      /\[\?,\?\], which leaves open.*--features/,
    ],
    ['an open row of two', [tensor('X', [null, null, null])], 'a', 'model-unsupported', /leaves open/],
    ['a row that does not come out even', [tensor('X', [null, null, 4])], 'x[7]', 'model-unsupported', /leaves open/],
    ['nothing known', [tensor('X', [])], undefined, 'model-unsupported', /has the shape \[\]/],
    ['bytes', [tensor('X', [null, 4], 'uint8')], undefined, 'model-unsupported', /"X" is of type uint8; .*put a Cast/],
    ['a sequence', [tensor('X', [], null)], undefined, 'model-unsupported', /"X" is a sequence or a map/],
  ] as const) {
    it(`are refused for ${what}`, () => {
      assert.throws(() => draftInputs(tensors, given?.split(',')), { code, message })
    })
  }
})

describe('the outputs of a graph', () => {
  const shapes = (entries: Record<string, readonly number[]>) => new Map(Object.entries(entries))

  it('have the shapes that came out, and names that Avro takes', () => {
    const graph = [
      tensor('label', [null], 'int64'),
      tensor('dense_2/Softmax:0', [null, null]),
      tensor('dense_2.Softmax.0', [null]),
    ]
    const came = shapes({ label: [7], 'dense_2/Softmax:0': [7, 3], 'dense_2.Softmax.0': [7] })
    assert.deepEqual(draftOutputs(graph, came, 7, null), {
      parts: [
        { tensor: 'label', field: 'label', type: 'int64', shape: [null] },
        { tensor: 'dense_2/Softmax:0', field: 'dense_2_Softmax_0', type: 'float32', shape: [null, 3] },
        { tensor: 'dense_2.Softmax.0', field: 'dense_2_Softmax_0_2', type: 'float32', shape: [null] },
      ],
      notes: [],
    })
  })

  it('have the batch that the inputs fix', () => {
    const { parts } = draftOutputs([tensor('y', [null, 2])], shapes({ y: [4, 2] }), 4, 4)
    assert.deepEqual(parts[0]!.shape, [4, 2])
  })

  it('of one value a row have as many dimensions as the graph declares', () => {
    const graph = [tensor('vector', [null]), tensor('column', [null, 1]), tensor('open', []), tensor('wide', [null])]
    const came = shapes({ vector: [7, 1], column: [7], open: [7, 1], wide: [7, 2] })
    const { parts } = draftOutputs(graph, came, 7, null)
    assert.deepEqual(
      parts.map(({ shape }) => shape),
      [[null], [null, 1], [null, 1], [null, 2]],
    )
  })

  it('of 16-bit floats have a tolerance of their own', () => {
    const { parts } = draftOutputs([tensor('y', [null], 'float16')], shapes({ y: [7] }), 7, null)
    assert.deepEqual(parts[0]!.tolerance, { absolute: 1e-3, relative: 1e-2 })
  })

  it('are left out where they are no tensors, or not by rows, and told of', () => {
    const graph = [tensor('y', [null]), tensor('maps', [], null), tensor('mean', []), tensor('z', [null], 'uint8')]
    const { parts, notes } = draftOutputs(graph, shapes({ y: [7], mean: [], z: [7] }), 7, null)
    assert.deepEqual(
      parts.map(({ tensor: name }) => name),
      ['y'],
    )
    const [maps, mean, z] = notes
    assert.match(
      maps!,
      /^output "maps" is a sequence or a map, no tensor; .*options=\{"zipmap": False\}.*; it is left out$/,
    )
    assert.match(mean!, /^output "mean" has the shape \[\] for 7 rows/)
    assert.match(z!, /^output "z" is of type uint8/)
  })

  it('are refused where none remains, with the line that mends it', () => {
    const message =
      /no output can be predicted: output "maps" is a sequence.*to_onnx\(model, X, options=\{"zipmap": False\}\)$/
    assert.throws(() => draftOutputs([tensor('maps', [], null)], new Map(), 0, null), {
      code: 'model-unsupported',
      message,
    })
  })
})
