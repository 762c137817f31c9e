import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { packObject } from '../../src/core/rows.ts'
import { FolderStore } from '../../src/models/store.ts'
import { verify } from '../../src/models/verification.ts'
import { openPool } from '../inference/fixtures.ts'

const storeAt = (folder: string) => new FolderStore(fileURLToPath(new URL(`../../${folder}`, import.meta.url)))
const store = storeAt('models')
const models = await store.list()

describe('the bundles under models/', () => {
  it('are there', () => {
    assert.deepEqual(
      models.map(model => model.name),
      ['digits-mlp', 'ffnn', 'iris-classifier', 'iris-regressor', 'iris-xgboost'],
    )
  })

  for (const { name, versions } of models) {
    for (const version of versions) {
      it(`${name} ${version} repeats its golden samples, on two sessions`, async t => {
        const bundle = await store.find(name, version)
        const pool = await openPool(bundle, 'cpu*2', { maxBatchSize: 16 })
        t.after(() => pool.close())
        const { samples, providers } = await verify(bundle, pool)
        assert.ok(samples >= 20)
        assert.deepEqual(providers, ['cpu'])
      })

      it(`${name} ${version} gives a row the same bytes on any session, alone and among others`, async t => {
        const bundle = await store.find(name, version)
        const pool = await openPool(bundle, 'cpu*2')
        t.after(() => pool.close())
        const samples = await bundle.golden()
        const [one, other] = [pool.acquire()!, pool.acquire()!]
        for (const slot of [one, other]) {
          samples.forEach((sample, row) => {
            assert.equal(packObject(sample.input, bundle.spec.inputs, slot.inputs, row, false), undefined)
          })
        }
        await Promise.all([pool.run(one, 0, samples.length), ...samples.map((_, row) => pool.run(other, row, 1))])
        for (const [index, { data }] of one.outputs.entries()) assert.deepEqual(other.outputs[index]!.data, data)
        assert.ok((one.outputs.at(-1)!.data as Float32Array).some(value => value !== 0))
      })
    }
  }
})

describe('the heavy bundle of the bench', () => {
  it('repeats its golden sample, for which the image is left out', async t => {
    const bundle = await storeAt('bench/models').find('resnet50-shaped', '1')
    const pool = await openPool(bundle)
    t.after(() => pool.close())
    const { samples } = await verify(bundle, pool)
    assert.equal(samples, 1)
    assert.deepEqual((await bundle.golden())[0]!.input, {})
  })
})
