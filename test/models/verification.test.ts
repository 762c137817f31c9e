import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { SluiceError } from '../../src/core/errors.ts'
import type { RunTimings, SessionPool } from '../../src/core/inference.ts'
import type { ModelSpec } from '../../src/core/model.ts'
import { type ElementType, type TensorColumn, type TensorSlot, viewOf } from '../../src/core/tensor.ts'
import { readBundle } from '../../src/models/bundle.ts'
import { verify } from '../../src/models/verification.ts'
import { temporaryStore, writeBundle } from './bundle-folder.ts'

type Element = number | bigint | string

/** A pool whose sessions answer each row with `answer(input)`; session i is called `gpu:i`. */
class FakePool implements SessionPool {
  readonly hung = { count: 0, most: 1 }
  readonly size: number
  readonly runs: { slot: number; rows: number }[] = []
  readonly #free: TensorSlot[]
  readonly #answer: (input: number) => readonly Element[]

  constructor(spec: ModelSpec, size: number, capacity: number, answer: (input: number) => readonly Element[]) {
    this.size = size
    this.#answer = answer
    const columns = (specs: ModelSpec['inputs'] | ModelSpec['outputs']): TensorColumn[] =>
      specs.map(row => ({
        spec: row,
        data: viewOf(row.type, new ArrayBuffer(8 * capacity * row.width), capacity * row.width),
      }))
    this.#free = Array.from({ length: size + 1 }, (_, id) => {
      return { id, capacity, inputs: columns(spec.inputs), outputs: columns(spec.outputs) }
    })
  }

  get idle(): number {
    return this.size
  }

  get busy(): number {
    return 0
  }

  get free(): number {
    return this.#free.length
  }

  acquire(): TensorSlot | undefined {
    return this.#free.shift()
  }

  release(slot: TensorSlot): void {
    this.#free.push(slot)
  }

  async run(slot: TensorSlot, first: number, rows: number): Promise<RunTimings> {
    this.runs.push({ slot: slot.id, rows })
    const { spec, data } = slot.outputs[0]!
    for (let row = first; row < first + rows; row++) {
      this.#answer(slot.inputs[0]!.data[row] as number).forEach((element, e) => {
        data[row * spec.width + e] = element
      })
    }
    return { computeMs: 1, waitMs: 0, provider: `gpu:${slot.id}`, session: slot.id }
  }

  reserve(): Promise<never> {
    return Promise.reject(new Error('nobody reserves here'))
  }

  distrust(): void {}

  onAvailable(): void {}

  async close(): Promise<void> {}
}

interface Setup {
  readonly type: ElementType
  readonly rowShape?: readonly number[]
  /** Golden outputs of the inputs 1, 2, 3, … */
  readonly golden: readonly unknown[]
  readonly answer: (input: number) => readonly Element[]
  readonly size?: number
  readonly capacity?: number
  /** Of the output itself; the model's is 0.01 and a thousandth. */
  readonly tolerance?: { readonly absolute: number; readonly relative: number }
}

async function setUp(t: TestContext, setup: Setup) {
  const { type, rowShape = [], golden, answer, size = 1, capacity = 16, tolerance } = setup
  const lines = golden.map((y, i) => JSON.stringify({ input: { x: i + 1 }, output: { y } }))
  const directory = await writeBundle(await temporaryStore(t), 'shop', '1', {
    'model.json': {
      format: 1,
      name: 'shop',
      version: '1',
      sha256: '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881',
      inputs: [{ tensor: 'x', type: 'float64', shape: [null], features: [{ name: 'x' }] }],
      outputs: [{ tensor: 'y', field: 'y', type, shape: [null, ...rowShape], tolerance }],
      tolerance: { absolute: 0.01, relative: 0.001 },
    },
    'model.onnx': 'x',
    'golden.jsonl': `${lines.join('\n')}\n`,
  })
  const bundle = await readBundle(directory)
  return { bundle, pool: new FakePool(bundle.spec, size, capacity, answer) }
}

describe('verification', () => {
  it('runs all samples on every session, in batches that fit, and gives the slots back', async t => {
    const golden = Array.from({ length: 7 }, (_, i) => 2 * (i + 1))
    const { bundle, pool } = await setUp(t, { type: 'float64', golden, answer: x => [2 * x], size: 2, capacity: 3 })
    assert.deepEqual(await verify(bundle, pool), { samples: 7, providers: ['gpu:0', 'gpu:1'] })
    assert.deepEqual(
      pool.runs.map(({ slot, rows }) => `${slot}:${rows}`),
      ['0:3', '1:3', '0:3', '1:3', '0:1', '1:1'],
    )
    assert.equal(pool.free, 3)
  })

  it('says that it proved nothing where there are no samples', async t => {
    const { bundle, pool } = await setUp(t, { type: 'float64', golden: [0], answer: () => [0] })
    assert.deepEqual(await verify({ ...bundle, golden: async () => [] }, pool), { samples: 0, providers: [] })
  })

  const accepted: readonly (readonly [what: string, setup: Setup])[] = [
    ['a float within the tolerance', { type: 'float64', golden: [100], answer: () => [100.1099] }],
    [
      'a float within the tolerance of its output, which is wider than that of the model',
      { type: 'float64', golden: [100], answer: () => [101], tolerance: { absolute: 1, relative: 0 } },
    ],
    ['NaN for NaN', { type: 'float32', golden: ['NaN'], answer: () => [Number.NaN] }],
    ['infinity for infinity', { type: 'float32', golden: ['-Infinity'], answer: () => [Number.NEGATIVE_INFINITY] }],
    ['a large integer', { type: 'int64', golden: ['9007199254740993'], answer: () => [2n ** 53n + 1n] }],
    ['a boolean', { type: 'bool', golden: [true], answer: () => [1] }],
    ['a string', { type: 'string', golden: ['setosa'], answer: () => ['setosa'] }],
    [
      'a nested matrix',
      {
        type: 'int32',
        rowShape: [2, 2],
        golden: [
          [
            [1, 2],
            [3, 4],
          ],
        ],
        answer: () => [1, 2, 3, 4],
      },
    ],
  ]
  for (const [what, setup] of accepted) {
    it(`accepts ${what}`, async t => {
      const { bundle, pool } = await setUp(t, setup)
      assert.equal((await verify(bundle, pool)).samples, 1)
    })
  }

  const refused: readonly (readonly [problem: string, setup: Setup])[] = [
    [
      'golden sample 2: on gpu:0, field "y" is 2.5, expected 2: the difference is 0.5, allowed is 0.012',
      { type: 'float64', golden: [1, 2, 3], answer: x => [x === 2 ? 2.5 : x] },
    ],
    [
      'golden sample 1: on gpu:0, field "y" is 100.1, expected 100: the difference is 0.0999',
      { type: 'float64', golden: [100], answer: () => [100.1], tolerance: { absolute: 0.05, relative: 0 } },
    ],
    [
      'golden sample 1: on gpu:0, element 1 of field "y" is 9, expected 2: the difference is 7',
      { type: 'float32', rowShape: [2], golden: [[1, 2]], answer: () => [1, 9] },
    ],
    [
      'golden sample 1: on gpu:0, field "y" is NaN, expected 1',
      { type: 'float64', golden: [1], answer: () => [Number.NaN] },
    ],
    ['field "y" is 1, expected "NaN"', { type: 'float64', golden: ['NaN'], answer: () => [1] }],
    ['field "y" is 1, expected "Infinity"', { type: 'float64', golden: ['Infinity'], answer: () => [1] }],
    ['field "y" is 0, expected null, which is no number', { type: 'float64', golden: [null], answer: () => [0] }],
    ['field "y" is 1000, expected 1001 exactly', { type: 'int64', golden: [1001], answer: () => [1000n] }],
    ['field "y" is 7, expected 8 exactly', { type: 'int32', golden: [8], answer: () => [7] }],
    ['field "y" is false, expected true', { type: 'bool', golden: [true], answer: () => [0] }],
    ['field "y" is a, expected "b"', { type: 'string', golden: ['b'], answer: () => ['a'] }],
    ['field "y" has 2 elements, expected [1]', { type: 'int32', rowShape: [2], golden: [[1]], answer: () => [1, 2] }],
    ['field "y" has 2 elements, expected 1', { type: 'int32', rowShape: [2], golden: [1], answer: () => [1, 2] }],
  ]
  for (const [problem, setup] of refused) {
    it(`refuses: ${problem}`, async t => {
      const { bundle, pool } = await setUp(t, setup)
      await assert.rejects(verify(bundle, pool), (error: SluiceError) => {
        assert.equal(error.code, 'golden-mismatch')
        assert.ok(error.message.startsWith('model "shop", version "1": golden sample '), error.message)
        assert.ok(error.message.includes(problem), error.message)
        return true
      })
      assert.equal(pool.free, 2)
    })
  }

  it('refuses samples that cannot be packed', async t => {
    const { bundle, pool } = await setUp(t, { type: 'float64', golden: [1], answer: () => [1] })
    const samples = [{ input: { x: 'one' }, output: { y: 1 } }]
    await assert.rejects(verify({ ...bundle, golden: async () => samples }, pool), {
      code: 'golden-mismatch',
      message: /golden sample 1: its input cannot be packed: feature "x" is the string "one"/,
    })
  })

  it('refuses a model whose runtime refuses samples, but not one whose session died', async t => {
    const { bundle, pool } = await setUp(t, { type: 'float64', golden: [1, 2], answer: () => [1] })
    pool.run = () => Promise.reject(new SluiceError('inference-failed', 'index out of bounds'))
    await assert.rejects(verify(bundle, pool), {
      code: 'golden-mismatch',
      message: /the runtime refuses one of the samples 1 to 2: index out of bounds/,
    })
    pool.run = () => Promise.reject(new SluiceError('session-crashed', 'gone'))
    await assert.rejects(verify(bundle, pool), { code: 'session-crashed' })
  })
})
