import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { murmur2, partitionOfKey } from '../../src/core/murmur2.ts'
import { propertyOptions, stockMurmur2 } from '../kafka/stock.ts'

/** From `Utils.murmur2` of the Java client 4.4.0, with the partition among seven. */
const JAVA: readonly [string, number, number][] = [
  ['', 275646681, 2],
  ['2', 648968168, 2],
  ['21', -973932308, 3],
  ['abc', 479470107, 4],
  ['foobar', -790332482, 0],
  ['a-little-bit-long-string', -985981536, 1],
  ['setosa-17', 1756061040, 6],
  ['Grüße', 1190824359, 4],
  ['\u0000\u0001\u0002ÿ', -86116432, 6],
]

test('hashes and partitions are those of the Java client', () => {
  for (const [text, hash, partition] of JAVA) {
    const key = Buffer.from(text)
    assert.equal(murmur2(key), hash, text)
    assert.equal(partitionOfKey(key, 0, key.length, 7), partition, text)
  }
  assert.equal(murmur2(Buffer.from([0xff, 0x80, 0x7f, 0xfe, 0x90, 0xff, 0x81])), -50035549)
})

test('a key within other bytes has the hash that it has alone', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ maxLength: 9 }), (key, around) => {
      const bytes = Buffer.concat([around, key, around])
      assert.equal(murmur2(bytes, around.length, around.length + key.length), stockMurmur2(Buffer.from(key)))
    }),
    propertyOptions,
  )
})
