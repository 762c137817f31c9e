import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { murmur2, partitionOfKey } from '../../src/core/murmur2.ts'
import { hashOfPlace, takesCanary } from '../../src/core/rollout.ts'
import { seeded } from '../codec/support.ts'
import { randomFrom } from '../sim/random.ts'

/** Five standard deviations of a binomial distribution: one run in two million is outside by chance. */
function assertShare(taken: number, of: number, percent: number, what: string): void {
  const expected = (of * percent) / 100
  const allowed = 5 * Math.sqrt((expected * (100 - percent)) / 100)
  assert.ok(Math.abs(taken - expected) <= allowed, `${what}: ${taken} of ${of}, expected ${expected} ± ${allowed}`)
}

const PERCENTS = [0.1, 1, 5, 20, 50, 95]

suite('which keys a canary takes', () => {
  for (const partitions of [1, 2, 3, 8, 16, 64, 1000]) {
    test(`the same share of the keys in each of ${partitions} partitions`, () => {
      const random = randomFrom(partitions)
      const hashes = Array.from({ length: partitions }, (): number[] => [])
      const each = partitions > 100 ? 500 : 4_000
      for (let i = 0; i < each * partitions; i++) {
        const key = Buffer.from(`customer-${Math.floor(random() * 2 ** 40)}`)
        hashes[partitionOfKey(key, 0, key.length, partitions)]!.push(murmur2(key))
      }
      for (const percent of PERCENTS) {
        let all = 0
        for (const [partition, ofOne] of hashes.entries()) {
          const taken = ofOne.filter(hash => takesCanary(hash, percent)).length
          all += taken
          if (partitions <= 100 && percent >= 1) {
            assertShare(taken, ofOne.length, percent, `${percent} % of partition ${partition}`)
          }
        }
        assertShare(all, each * partitions, percent, `${percent} % of all`)
      }
    })
  }

  test('the same share of records without keys, in each partition and along the log', () => {
    for (const partition of [0, 1, 7, 255]) {
      for (const start of [0, 2 ** 31 - 5_000, 2 ** 32 - 5_000, 2 ** 40]) {
        for (const percent of PERCENTS) {
          let taken = 0
          for (let i = 0; i < 10_000; i++) if (takesCanary(hashOfPlace(partition, start + i), percent)) taken++
          assertShare(taken, 10_000, percent, `${percent} % of ${partition} from ${start}`)
        }
      }
    }
  })

  test('whoever is taken at some percentage is taken at every higher one, none at the lowest, all at 100', () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.double({ min: 0, max: 100, noNaN: true }),
        fc.double({ min: 0, max: 100, noNaN: true }),
        (hash, a, b) => {
          const [low, high] = a < b ? [a, b] : [b, a]
          assert.ok(!takesCanary(hash, low) || takesCanary(hash, high))
          assert.ok(takesCanary(hash, 100))
          assert.ok(!takesCanary(hash, 0))
        },
      ),
      seeded(1_000),
    )
  })

  test('the same keys in every release: what was written down once', () => {
    const taken = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'].filter(key =>
      takesCanary(murmur2(Buffer.from(key)), 30),
    )
    const places = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].filter(offset => takesCanary(hashOfPlace(3, offset), 30))
    assert.deepEqual([taken, places], [['i'], [0, 1, 4, 5, 8]])
  })

  test('a signed hash and the same bits without sign are the same', () => {
    for (const hash of [-1, -(2 ** 31), 5, 0]) {
      for (const percent of PERCENTS) assert.equal(takesCanary(hash, percent), takesCanary(hash >>> 0, percent))
    }
  })
})
