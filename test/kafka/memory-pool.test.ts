import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MemoryPool } from '../../src/kafka/memory-pool.ts'
import { propertyOptions } from './stock.ts'

const KIB = 1024
const MIB = 1024 * KIB

test('pieces have the next power of two, or just what was asked for where they are small or huge', () => {
  const pool = new MemoryPool()
  for (let size = 16 * KIB; size <= 32 * MIB; size *= 2) {
    for (const bytes of size === 16 * KIB ? [size] : [size / 2 + 1, size - 1, size]) {
      const memory = pool.take(bytes)
      assert.equal(memory.byteLength, size, `${bytes} bytes`)
      pool.giveBack(memory)
    }
  }
  for (const bytes of [0, 1, 16 * KIB - 1, 32 * MIB + 1]) assert.equal(pool.take(bytes).byteLength, bytes)
})

test('small pieces and huge ones are not kept', () => {
  const pool = new MemoryPool()
  for (const bytes of [0, 1, 16 * KIB - 1, 32 * MIB + 1]) {
    const memory = pool.take(bytes)
    pool.giveBack(memory)
    assert.equal(pool.freeBytes, 0)
    assert.notEqual(pool.take(bytes), memory)
  }
})

test('what was given back last is taken first, by those who need its size', () => {
  const pool = new MemoryPool()
  const [cold, warm, large] = [pool.take(256 * KIB), pool.take(256 * KIB), pool.take(512 * KIB)]
  for (const memory of [cold, warm, large]) pool.giveBack(memory)
  assert.equal(pool.freeBytes, 1 * MIB)
  assert.equal(pool.take(130 * KIB), warm)
  assert.equal(pool.take(256 * KIB), cold)
  assert.equal(pool.take(256 * KIB).byteLength, 256 * KIB)
  assert.equal(pool.freeBytes, 512 * KIB)
  assert.equal(pool.take(256 * KIB + 1), large)
  assert.equal(pool.freeBytes, 0)
})

test('128 MiB are kept: beyond, the coldest of the size goes that was not asked for the longest', () => {
  const pool = new MemoryPool()
  const freed: ArrayBuffer[] = []
  pool.watch(memory => freed.push(memory))
  const taken = [32, 32, 32, 16, 16, 16, 1].map(mib => pool.take(mib * MIB))
  for (const memory of taken) pool.giveBack(memory)
  assert.equal(pool.freeBytes, 113 * MIB)
  assert.deepEqual(
    freed.map(memory => taken.indexOf(memory)),
    [0, 1, 2, 3, 4, 5, 6],
  )
  const again = [1, 16, 16, 16, 32, 32, 32].map(mib => pool.take(mib * MIB))
  assert.deepEqual(
    again.map(memory => taken.indexOf(memory)),
    [6, 5, 4, 3, 2, 1, -1],
  )
  assert.equal(pool.freeBytes, 0)
})

test('nobody is given what somebody else has', () => {
  const step = fc.record({
    take: fc.boolean(),
    bytes: fc.constantFrom(1 * KIB, 16 * KIB, 20 * KIB, 200 * KIB, 5 * MIB, 16 * MIB),
    which: fc.nat(),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const pool = new MemoryPool()
      const out: ArrayBuffer[] = []
      for (const { take, bytes, which } of steps) {
        const before = pool.freeBytes
        if (take) {
          const memory = pool.take(bytes)
          assert.ok(memory.byteLength >= bytes)
          assert.ok(!out.includes(memory), 'somebody else has it')
          out.push(memory)
          assert.ok(pool.freeBytes === before || pool.freeBytes === before - memory.byteLength)
        } else if (out.length > 0) pool.giveBack(out.splice(which % out.length, 1)[0]!)
        assert.ok(pool.freeBytes >= 0 && pool.freeBytes <= 128 * MIB)
      }
    }),
    propertyOptions,
  )
})
