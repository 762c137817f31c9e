import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import avro from 'avsc'
import { Flowers } from '../../dev/demo/flowers.ts'
import { Random } from '../../dev/demo/random.ts'

const root = new URL('../../', import.meta.url)
const csv = readFileSync(new URL('dev/data/iris.csv', root), 'utf8')
const schema = readFileSync(new URL('schemas/iris-features.avsc', root), 'utf8')
const flowers = (seed: number) => new Flowers(csv, schema, seed)

describe('the flowers of the demo', () => {
  it('are the data set with a little noise, framed with schema id 1', () => {
    const type = avro.Type.forSchema(JSON.parse(schema))
    const lines = csv.trim().split('\n').slice(1)
    const source = flowers(1)
    for (let id = 0; id < 300; id++) {
      const { key, value, outcome } = source.next()
      const row = id % 150
      assert.equal(key, `flower-${String(row + 1).padStart(3, '0')}`)
      assert.equal(outcome, 'prediction')
      assert.equal(value!.readUInt8(0), 0)
      assert.equal(value!.readInt32BE(1), 1)
      const features = Object.values(type.fromBuffer(value!.subarray(5)) as Record<string, number>)
      const measured = lines[row]!.split(',').slice(0, 4).map(Number)
      for (const [i, cm] of measured.entries()) assert.ok(Math.abs(features[i]! - cm) < 0.35, `${features[i]} of ${cm}`)
    }
  })

  it('are the same again with the same seed, and others with another', () => {
    assert.deepEqual(flowers(42).take(500), flowers(42).take(500))
    assert.notDeepEqual(flowers(42).take(500), flowers(43).take(500))
  })

  it('have half a percent of poison, each kind about as often', () => {
    const records = flowers(42).take(12_000)
    const counts = new Map<string, number>()
    for (const { outcome } of records) counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
    assert.equal(counts.get('prediction'), 11_940)
    counts.delete('prediction')
    assert.deepEqual([...counts.values()], Array(6).fill(10))
    assert.equal(new Set(records.map(({ id }) => id)).size, 12_000)
  })
})

describe('the random numbers of the demo', () => {
  it('are evenly and normally distributed', () => {
    const random = new Random(7)
    const uniform = Array.from({ length: 20_000 }, () => random.uniform())
    assert.ok(uniform.every(value => value >= 0 && value < 1))
    assert.ok(Math.abs(mean(uniform) - 0.5) < 0.01)
    const normal = Array.from({ length: 20_000 }, () => random.gaussian())
    assert.ok(Math.abs(mean(normal)) < 0.03)
    assert.ok(Math.abs(mean(normal.map(value => value * value)) - 1) < 0.05)
  })
})

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
