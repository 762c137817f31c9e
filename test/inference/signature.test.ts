import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { checkSignature, type GraphSignature, type GraphValue } from '../../src/inference/signature.ts'
import { fixture } from './fixtures.ts'

const x: GraphValue = { name: 'x', type: 'float32', shape: [null, 4] }
const sum: GraphValue = { name: 'sum', type: 'float32', shape: [null, 1] }
const graph = (changes: Partial<GraphSignature> = {}): GraphSignature => ({ inputs: [x], outputs: [sum], ...changes })

describe('the signature', () => {
  const check = (signature: GraphSignature, fixedBatch: number | null = null) => {
    const { spec } = fixture('row-sums', { x: ['float32', [4]] }, { sum: ['float32', [1]] }, fixedBatch)
    checkSignature('models/sums/1/model.onnx', spec, signature)
  }

  it('fits where the graph says the same, leaves a dimension open, or says nothing of a shape', () => {
    check(graph())
    check(graph({ outputs: [{ ...sum, shape: [null, null] }] }))
    check(graph({ outputs: [{ ...sum, shape: [] }] }))
    check(graph({ outputs: [{ name: 'maps', type: null, shape: [] }, sum] }))
    check(graph({ inputs: [{ ...x, shape: [8, 4] }] }), 8)
    check(graph({ outputs: [{ ...sum, shape: [1, 1] }] }))
  })

  for (const [what, signature, problem] of [
    ['a missing input', graph({ inputs: [] }), 'input "x" is not in the graph'],
    ['a missing output', graph({ outputs: [x] }), 'output "sum" is not in the graph'],
    [
      'another type',
      graph({ inputs: [{ ...x, type: 'float64' }] }),
      'input "x" is float32 in model.json and float64 in the graph',
    ],
    [
      'another width',
      graph({ inputs: [{ ...x, shape: [null, 5] }] }),
      'input "x" has the shape [?,4] in model.json and [?,5] in the graph',
    ],
    [
      'another rank',
      graph({ outputs: [{ ...sum, shape: [null] }] }),
      'output "sum" has the shape [?,1] in model.json and [?] in the graph',
    ],
    [
      'a batch dimension that only the graph fixes',
      graph({ inputs: [{ ...x, shape: [1, 4] }] }),
      'input "x" has the shape [?,4] in model.json and [1,4] in the graph',
    ],
    [
      'an input that nothing feeds',
      graph({ inputs: [x, { ...x, name: 'weight' }] }),
      'the graph needs an input "weight" that model.json does not name',
    ],
    [
      'an output that is no tensor',
      graph({ outputs: [{ name: 'sum', type: null, shape: [] }] }),
      'output "sum" is no tensor in the graph (a ZipMap output: leave it out of model.json, or export the model with zipmap=False)',
    ],
  ] as const) {
    it(`does not fit with ${what}`, () => {
      assert.throws(
        () => check(signature),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, 'model-signature')
          assert.ok(error.message.startsWith(`models/sums/1/model.onnx does not fit its model.json: ${problem}. `))
          assert.match(
            error.message,
            /model\.json: inputs x float32\[\?,4\], outputs sum float32\[\?,1\]\. The graph: /,
          )
          return true
        },
      )
    })
  }
})
