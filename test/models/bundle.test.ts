import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { readBundle } from '../../src/models/bundle.ts'
import { golden, type Manifest, manifest, temporaryStore, writeBundle } from './bundle-folder.ts'

describe('a bundle', () => {
  it('is read with all that model.json says', async t => {
    const directory = await writeBundle(await temporaryStore(t), 'shop', '1')
    const bundle = await readBundle(directory)
    assert.equal(bundle.modelFile, join(directory, 'model.onnx'))
    assert.deepEqual(await bundle.golden(), [golden])
    assert.deepEqual(bundle.spec, {
      name: 'shop',
      version: '1',
      sha256: manifest().sha256,
      inputs: [
        {
          tensor: 'numbers',
          type: 'float32',
          rowShape: [5],
          width: 5,
          features: [
            { name: 'price', length: 1, array: false, default: 'NaN' },
            { name: 'customer.age', length: 1, array: false },
            { name: 'history', length: 3, array: true },
          ],
        },
        {
          tensor: 'country',
          type: 'string',
          rowShape: [],
          width: 1,
          features: [{ name: 'country', length: 1, array: false, default: '' }],
        },
      ],
      outputs: [
        { tensor: 'label', field: 'label', type: 'int64', rowShape: [], width: 1 },
        { tensor: 'scores', field: 'scores', type: 'float32', rowShape: [2, 2], width: 4 },
      ],
      fixedBatch: null,
      external: [],
      tolerance: { absolute: 1e-5, relative: 1e-4 },
      golden: { origin: 'trainer' },
      training: { dataset: 'shop', random_state: 42 },
    })
  })

  it('may carry 16-bit floats, have weights beside it, tolerances of its own for an output, and samples that are self-made', async t => {
    const json = manifest()
    const weights = 'the weights'
    json.inputs[0].type = 'float16'
    json.outputs[1].tolerance = { absolute: 0.5, relative: 0 }
    json.external = [{ file: 'model.onnx.data', sha256: createHash('sha256').update(weights).digest('hex') }]
    json.golden = { origin: 'self-made', madeOn: 'cpu on a desk' }
    const files = { 'model.json': json, 'model.onnx.data': weights }
    const { spec } = await readBundle(await writeBundle(await temporaryStore(t), 'shop', '1', files))
    assert.equal(spec.inputs[0]!.type, 'float16')
    assert.deepEqual(spec.outputs[1]!.tolerance, { absolute: 0.5, relative: 0 })
    assert.deepEqual(spec.external, json.external)
    assert.deepEqual(spec.golden, json.golden)
  })

  it('may fix the batch dimension, leave out training, and have no golden samples', async t => {
    const fixed = manifest()
    fixed.inputs[0].shape[0] = 8
    delete fixed.training
    const files = { 'model.json': fixed, 'golden.jsonl': undefined }
    const bundle = await readBundle(await writeBundle(await temporaryStore(t), 'shop', '1', files))
    assert.equal(bundle.spec.fixedBatch, 8)
    assert.deepEqual(bundle.spec.training, {})
    assert.deepEqual(await bundle.golden(), [])
  })
})

describe('a damaged bundle is refused', () => {
  const refuses = async (read: Promise<unknown>, file: string, problem: string) => {
    await assert.rejects(read, (error: Error & { code?: string }) => {
      assert.equal(error.code, 'model-corrupt')
      assert.ok(error.message.includes(join('shop', '1', file)), error.message)
      assert.ok(error.message.includes(problem), error.message)
      return true
    })
  }

  const whole = 'a whole number from 1 to 2147483647'
  const damages: readonly (readonly [problem: string, damage: (json: Manifest) => unknown])[] = [
    ['format is 2; expected one of 1', json => Object.assign(json, { format: 2, novelty: true })],
    ['format is missing; expected one of 1', json => delete json.format],
    ['name is "../../etc"; expected letters, digits', json => Object.assign(json, { name: '../../etc' })],
    ['version is 1; expected a string of letters', json => Object.assign(json, { version: 1 })],
    ['sha256 is "ABC"; expected 64 hex digits', json => Object.assign(json, { sha256: 'ABC' })],
    ['tolerence is {}; expected no such field; there are', json => Object.assign(json, { tolerence: {} })],
    ['inputs is []; expected an array of at least one', json => Object.assign(json, { inputs: [] })],
    ['inputs[0] is null; expected an object', json => Object.assign(json.inputs, [null])],
    ['inputs[0].tensor is missing', json => delete json.inputs[0].tensor],
    ['inputs[0].type is "uint8"; expected one of float16, float32', json => (json.inputs[0].type = 'uint8')],
    ['inputs[0].shape is []; expected the batch dimension first', json => (json.inputs[0].shape = [])],
    ['inputs[0].shape[0] is "n"; expected the batch dimension', json => (json.inputs[0].shape = ['n', 5])],
    [`inputs[0].shape[0] is 0; expected ${whole}`, json => (json.inputs[0].shape = [0, 5])],
    [`inputs[0].shape[1] is null; expected ${whole}`, json => (json.inputs[0].shape = [null, null])],
    ['expected features that fill a row of 6 elements, but these make 5', json => (json.inputs[0].shape = [null, 6])],
    ['inputs[0].features[0].defualt is 3; expected no such field', json => (json.inputs[0].features[0].defualt = 3)],
    ['inputs[0].features[1].name is ".age"', json => (json.inputs[0].features[1].name = '.age')],
    ['inputs[0].features[2].length is 2.5', json => (json.inputs[0].features[2].length = 2.5)],
    ['features[0].default is true; expected a number', json => (json.inputs[0].features[0].default = true)],
    ['features[0].default is 7; expected a string', json => (json.inputs[1].features[0].default = 7)],
    ['but "price" occurs twice', json => (json.inputs[0].features[1].name = 'price')],
    ['but "numbers" occurs twice', json => (json.inputs[1].tensor = 'numbers')],
    ['but "label" occurs twice', json => (json.outputs[1].field = 'label')],
    ['outputs[0].field is "my-label"; expected an Avro name', json => (json.outputs[0].field = 'my-label')],
    [
      'expected one batch dimension for all tensors, but shapes begin with 8, 4',
      json => {
        json.inputs[0].shape[0] = 8
        json.outputs[0].shape[0] = 4
      },
    ],
    ['tolerance is missing; expected an object', json => delete json.tolerance],
    ['tolerance.relative is -1; expected a number of at least 0', json => (json.tolerance.relative = -1)],
    ['training is []; expected an object', json => Object.assign(json, { training: [] })],
    ['version "2", but lies in the folder shop/1; expected shop/2', json => Object.assign(json, { version: '2' })],
    ['name is missing', json => delete json.name],
    ['golden.origin is "me"; expected one of trainer, self-made', json => (json.golden = { origin: 'me' })],
    ['outputs[0].tolerance.relative is missing', json => (json.outputs[0].tolerance = { absolute: 1 })],
    ['external is []; expected an array of at least one', json => (json.external = [])],
    ...['../w', '/w', 'a/w', 'a\\w', '.w', '..', '', 'model.onnx', 'golden.jsonl', 'a\0', 7].map(
      file =>
        [
          `external[0].file is ${JSON.stringify(file)}; expected the plain name of a file beside model.onnx`,
          (json: Manifest) => (json.external = [{ file, sha256: json.sha256 }]),
        ] as const,
    ),
    [
      'but "w" occurs twice',
      json => {
        const weights = { file: 'w', sha256: json.sha256 }
        json.external = [weights, weights]
      },
    ],
  ]
  for (const [problem, damage] of damages) {
    it(`because ${problem}`, async t => {
      const json = manifest()
      damage(json)
      const directory = await writeBundle(await temporaryStore(t), 'shop', '1', { 'model.json': json })
      await refuses(readBundle(directory), 'model.json', problem)
    })
  }

  for (const [what, file, content, problem] of [
    ['that is not JSON', 'model.json', '{"format": 1,', 'is not valid JSON: '],
    ['that is no object', 'model.json', '7', 'its content is 7; expected an object'],
    ['that is missing', 'model.json', undefined, 'is missing from the bundle'],
    ['that is missing', 'model.onnx', undefined, 'is missing from the bundle'],
    [
      'with other bytes',
      'model.onnx',
      'x',
      `has the SHA-256 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881, but model.json says ${manifest().sha256}`,
    ],
  ] as const) {
    it(`for a ${file} ${what}`, async t => {
      const directory = await writeBundle(await temporaryStore(t), 'shop', '1', { [file]: content })
      await refuses(readBundle(directory), file, problem)
    })
  }

  const withWeights = () => ({ ...manifest(), external: [{ file: 'w', sha256: manifest().sha256 }] })
  for (const [what, files, problem] of [
    ['that are missing', {}, 'is missing from the bundle'],
    [
      'with other bytes',
      { w: 'x' },
      'has the SHA-256 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881',
    ],
  ] as const) {
    it(`for weights ${what}`, async t => {
      const directory = await writeBundle(await temporaryStore(t), 'shop', '1', {
        'model.json': withWeights(),
        ...files,
      })
      await refuses(readBundle(directory), 'w', problem)
    })
  }

  it('for weights that are a link, though to the right bytes', async t => {
    const directory = await writeBundle(await temporaryStore(t), 'shop', '1', { 'model.json': withWeights() })
    await symlink('model.onnx', join(directory, 'w'))
    await refuses(readBundle(directory), 'w', 'is no file but a link or a folder')
  })

  const line = JSON.stringify(golden)
  for (const [what, text, problem] of [
    ['no JSON', `${line}\noops\n`, 'line 2 is not valid JSON'],
    ['an empty line', `${line}\n\n${line}\n`, 'line 2 is not valid JSON'],
    ['no input', '{"output": {"label": 1, "scores": []}}', 'line 1: input is missing; expected an object'],
    ['a missing output', '{"input": {}, "output": {"label": 1}}', 'line 1: output.scores is missing'],
    [
      'an unknown output',
      '{"input": {}, "output": {"label": 1, "score": 1}}',
      'line 1: output.score is 1; expected no such field; there are label, scores',
    ],
  ] as const) {
    it(`for golden samples with ${what}`, async t => {
      const directory = await writeBundle(await temporaryStore(t), 'shop', '1', { 'golden.jsonl': text })
      const bundle = await readBundle(directory)
      await refuses(bundle.golden(), 'golden.jsonl', problem)
    })
  }
})
