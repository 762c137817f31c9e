import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { externalReferences } from '../../src/inference/external-data.ts'
import { fixture, openPool } from './fixtures.ts'

const bytesOf = (name: string) => readFileSync(new URL(`../fixtures/onnx/${name}.onnx`, import.meta.url))

/** A length-delimited field: tag, length, content. Lengths of up to 16383. */
const field = (number: number, ...content: Uint8Array[]) => {
  const body = Buffer.concat(content)
  const length = body.length < 128 ? [body.length] : [(body.length % 128) + 128, body.length >> 7]
  return Buffer.concat([varint(number * 8 + 2), Buffer.from(length), body])
}
const varint = (value: number) => Buffer.from(value < 128 ? [value] : [(value % 128) + 128, value >> 7])
const text = (content: string) => Buffer.from(content)
const location = (path: string) => field(13, field(1, text('location')), field(2, text(path)))
const tensor = (name: string, path: string) =>
  Buffer.concat([field(8, text(name)), location(path), varint(14 * 8), Buffer.from([1])])

describe('what a model keeps in other files', () => {
  it('is nothing where all lies in it', () => {
    for (const name of ['types', 'strings', 'linear', 'half']) assert.deepEqual(externalReferences(bytesOf(name)), [])
  })

  it('is found among the initializers', () => {
    const found = [{ location: 'external.weights', tensor: 'weights', initializer: true }]
    assert.deepEqual(externalReferences(bytesOf('external')), found)
  })

  it('is found in the branches of a node', () => {
    assert.deepEqual(
      externalReferences(bytesOf('external-inside')).map(({ location: path, initializer }) => [path, initializer]),
      [
        ['./else.weights', false],
        ['then.weights', false],
      ],
    )
  })

  // Where onnx.proto lets a tensor lie; the path of field numbers from ModelProto to it.
  const PLACES: readonly (readonly [path: readonly number[], what: string, initializer: boolean])[] = [
    [[7, 5], 'graph.initializer', true],
    [[7, 15, 1], 'graph.sparse_initializer.values', true],
    [[7, 15, 2], 'graph.sparse_initializer.indices', true],
    [[7, 1, 5, 5], 'graph.node.attribute.t', false],
    [[7, 1, 5, 10], 'graph.node.attribute.tensors', false],
    [[7, 1, 5, 22, 1], 'graph.node.attribute.sparse_tensor.values', false],
    [[7, 1, 5, 23, 2], 'graph.node.attribute.sparse_tensors.indices', false],
    [[7, 1, 5, 6, 5], 'graph.node.attribute.g.initializer', true],
    [[7, 1, 5, 11, 1, 5, 5], 'graph.node.attribute.graphs.node.attribute.t', false],
    [[25, 7, 5, 5], 'functions.node.attribute.t', false],
    [[25, 11, 5], 'functions.attribute_proto.t', false],
    [[20, 1, 5], 'training_info.initialization.initializer', true],
    [[20, 2, 5], 'training_info.algorithm.initializer', true],
  ]
  for (const [path, what, initializer] of PLACES) {
    it(`is found in ${what}`, () => {
      const nested = path.reduceRight<Buffer>((inner, number) => field(number, inner), tensor('w', '../w'))
      const found = [{ location: '../w', tensor: 'w', initializer }]
      assert.deepEqual(externalReferences(Buffer.concat([nested, field(7)])), found)
    })
  }

  it('counts without the mark that says so', () => {
    const unmarked = field(7, field(5, field(8, text('w')), location('w.bin')))
    assert.equal(externalReferences(unmarked)[0]!.location, 'w.bin')
  })

  it('counts without a location', () => {
    const nameless = field(7, field(5, varint(14 * 8), Buffer.from([1])))
    assert.deepEqual(externalReferences(nameless), [{ location: '', tensor: '', initializer: true }])
  })
})

describe('what is no whole model is refused', () => {
  it('where it was cut, wherever that is', () => {
    for (const name of ['types', 'external-inside']) {
      const whole = bytesOf(name)
      const graphEnds = whole.length - 40
      for (let length = 0; length < graphEnds; length++) {
        assert.throws(() => externalReferences(whole.subarray(0, length)), Error, `${name}, ${length} bytes`)
      }
    }
  })

  for (const [what, bytes, message] of [
    ['nothing', Buffer.alloc(0), /the file is empty/],
    ['text', text('<html>not found</html>'), /byte 0 begins a field of wire type 4/],
    ['a field without a number', Buffer.from([2, 0]), /byte 0 begins a field without a number/],
    ['a number that does not end', Buffer.alloc(20, 255), /the number at byte 0 does not end/],
    [
      'a length beyond all',
      Buffer.from([58, 255, 255, 255, 255, 255, 127]),
      /a field of \d+ bytes begins where only 0/,
    ],
    ['another message', field(8, text('not a graph')), /no graph/],
  ] as const) {
    it(`where it is ${what}`, () => assert.throws(() => externalReferences(bytes), message))
  }

  it('where graphs lie in each other without end', () => {
    let graph: Buffer = field(5, field(8, text('w')))
    for (let depth = 0; depth < 60; depth++) graph = field(1, field(5, field(6, graph)))
    assert.throws(() => externalReferences(field(7, graph)), /more than 100 deep/)
  })
})

describe('a pool', () => {
  const tensors = [{ x: ['float32', [4]] }, { y: ['float32', [4]] }] as const
  const weights = { file: 'external.weights', sha256: '' }

  it('opens a model with weights beside it that the bundle lists', async t => {
    const { modelFile, spec } = fixture('external', ...tensors)
    const sha256 = 'b4ad1ae9bd3d2ea1e60c0f1ba6ea45d1d9bcdb9d5d5ba1fe0fc8e0f5a6b8a7d6'
    const wrong = openPool({ modelFile, spec: { ...spec, external: [{ ...weights, sha256 }] } })
    await assert.rejects(wrong, (error: Error) => {
      const [, found] = /the SHA-256 of .*external\.weights is (\w{64}), expected b4ad/.exec(error.message) ?? []
      weights.sha256 = found!
      return found !== undefined
    })
    const pool = await openPool({ modelFile, spec: { ...spec, external: [weights] } })
    t.after(() => pool.close())
    const slot = pool.acquire()!
    ;(slot.inputs[0]!.data as Float32Array).set([1, 1, 1, 1])
    await pool.run(slot, 0, 1)
    assert.deepEqual([...slot.outputs[0]!.data.slice(0, 4)], [2, 3, 4, 5])
  })

  for (const [name, message] of [
    ['external', /tensor "weights" keeps its weights in the file "external\.weights", which model\.json does not list/],
    ['external-climbing', /in the file "\.\.\/\.\.\/\.\.\/outside\/external\.weights", which leads out of the bundle/],
    ['external-absolute', /in the file "\/tmp\/external\.weights", which leads out of the bundle/],
  ] as const) {
    it(`refuses ${name}, of which the bundle says nothing`, async () => {
      await assert.rejects(openPool(fixture(name, ...tensors)), { code: 'external-data', message })
    })
  }
})
