import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { sizeOfCompactString, sizeOfUvarint, WireReader, WireWriter, ZERO_UUID } from '../../src/kafka/wire.ts'
import { ID } from './java-messages.ts'
import { propertyOptions } from './stock.ts'

const reading = (...bytes: number[]) => new WireReader(Buffer.from(bytes))

test('what is written in flexible types reads as it was, in the bytes announced', () => {
  const uuid = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(id => Buffer.from(id).toString('base64url'))
  const text = fc.string({ unit: 'grapheme', maxLength: 300 })
  fc.assert(
    fc.property(fc.nat(2 ** 32 - 1), text, uuid, fc.array(fc.nat(), { maxLength: 200 }), (number, text, id, items) => {
      const size = sizeOfUvarint(number) + sizeOfCompactString(text) + sizeOfUvarint(items.length + 1)
      const writer = new WireWriter(size + 16 + items.length * 4 + 1).uvarint(number).compactString(text).uuid(id)
      writer.compactCount(items.length)
      for (const item of items) writer.int32(item)
      const reader = new WireReader(writer.noTags().finish().buffer)
      assert.deepEqual([reader.uvarint(), reader.compactString(), reader.uuid()], [number, text, id])
      assert.deepEqual(
        reader.compactArray(each => each.int32()),
        items,
      )
      reader.tags(() => assert.fail())
      assert.throws(() => reader.uvarint(), RangeError, 'nothing is left')
    }),
    propertyOptions,
  )
})

test('unsigned varints are those of KIP-482', () => {
  for (const [value, ...bytes] of [
    [0, 0x00],
    [127, 0x7f],
    [128, 0x80, 0x01],
    [300, 0xac, 0x02],
    [2 ** 32 - 1, 0xff, 0xff, 0xff, 0xff, 0x0f],
  ] as const) {
    assert.equal(reading(...bytes).uvarint(), value)
    assert.deepEqual(new WireWriter(bytes.length).uvarint(value).finish().buffer, Buffer.from(bytes))
  }
  assert.throws(() => reading(0xff, 0xff, 0xff, 0xff, 0xff, 0x01).uvarint(), /more than 5 bytes/)
})

test('null reads as empty', () => {
  assert.equal(reading(0).compactString(), '')
  assert.deepEqual(reading(0).compactBytes(), Buffer.alloc(0))
  assert.deepEqual(
    reading(0).compactArray(() => assert.fail()),
    [],
  )
})

test('tagged fields are handed over one by one, and whoever does not know them is not disturbed', () => {
  const fields = Buffer.of(2, 0, 4, 0, 0, 0, 7, 5, 1, 0xff, 42)
  const seen: number[] = []
  const reader = new WireReader(fields)
  reader.tags((tag, field) => {
    if (tag === 0) seen.push(field.int32())
    assert.throws(() => field.int32(), RangeError, 'a field ends where it says')
  })
  assert.deepEqual(seen, [7])
  assert.equal(reader.boolean(), true)
  const other = new WireReader(fields)
  other.tags()
  assert.equal(other.boolean(), true)
})

test('what is no UUID is not written', () => {
  const write = (id: string) => new WireWriter(16).uuid(id).finish().buffer
  assert.deepEqual(write(ZERO_UUID), Buffer.alloc(16))
  assert.equal(new WireReader(write(ID)).uuid(), ID)
  for (const id of ['', ID.slice(2)]) assert.throws(() => write(id), RangeError)
})
