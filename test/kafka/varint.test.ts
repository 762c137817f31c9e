import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  MalformedBytesError,
  sizeOfVarint,
  sizeOfVarlong,
  VarintReader,
  writeVarint,
  writeVarlong,
} from '../../src/kafka/varint.ts'
import { Encoder, propertyOptions } from './stock.ts'

const LIMITS = [0, -1, 1, 63, -64, 64, -65, 8191, -8192, 8192, 2 ** 20, 2 ** 27, -(2 ** 27), 2 ** 31 - 1, -(2 ** 31)]
const LONG_LIMITS = [...LIMITS, 2 ** 31, -(2 ** 31) - 1, 2 ** 52, 2 ** 53 - 1, -(2 ** 53) + 1]

function checkVarint(value: number) {
  const target = Buffer.alloc(5)
  const end = writeVarint(target, 0, value)
  assert.deepEqual(target.subarray(0, end), new Encoder().writeVarInt(value).buffer)
  assert.equal(sizeOfVarint(value), end)
  assert.equal(new VarintReader(target, 0, end).readVarint(), value)
}

function checkVarlong(value: number) {
  const target = Buffer.alloc(10)
  const end = writeVarlong(target, 0, value)
  assert.deepEqual(target.subarray(0, end), new Encoder().writeVarLong(value).buffer)
  assert.equal(sizeOfVarlong(value), end)
  assert.equal(new VarintReader(target, 0, end).readVarlong(), value)
}

test('varints are those of kafkajs, and are read back', () => {
  for (const value of LIMITS) checkVarint(value)
  fc.assert(fc.property(fc.integer(), checkVarint), propertyOptions)
})

test('varlongs are those of kafkajs, and are read back, to 2^53', () => {
  for (const value of LONG_LIMITS) checkVarlong(value)
  fc.assert(fc.property(fc.maxSafeInteger(), checkVarlong), propertyOptions)
})

test('a varint that is cut or too long is refused', () => {
  const malformed = [
    [],
    [0x80],
    [0xff, 0xff, 0xff, 0xff],
    [0x80, 0x80, 0x80, 0x80, 0x10],
    [0x80, 0x80, 0x80, 0x80, 0x80],
  ]
  for (const bytes of malformed) {
    assert.throws(() => new VarintReader(Buffer.from(bytes), 0, bytes.length).readVarint(), MalformedBytesError)
  }
})

test('a varlong that is cut or too long is refused', () => {
  for (const last of [[], [0x02], [0x81]]) {
    const bytes = Buffer.from([...Array(9).fill(0xff), ...last])
    assert.throws(() => new VarintReader(bytes, 0, bytes.length).readVarlong(), MalformedBytesError)
  }
  const lowest = Buffer.from([...Array(9).fill(0xff), 0x01])
  assert.equal(new VarintReader(lowest, 0, 10).readVarlong(), -(2 ** 63))
})

test('nothing is read beyond the end, though there are bytes', () => {
  const reader = new VarintReader(Buffer.from([0x80, 0x01, 0x07]), 0, 1)
  assert.throws(() => reader.readVarint(), MalformedBytesError)
  assert.throws(() => new VarintReader(Buffer.alloc(9), 2, 4).skip(3), MalformedBytesError)
})
