import type { Type } from 'avsc'
import type { RecordFault } from '../core/errors.ts'
import { featureFaults } from '../core/rows.ts'
import type { Cursor } from './cursor.ts'
import { compileElement } from './element-reader.ts'
import { rejectNonFinite, type Target } from './target.ts'
import { isReader, type Reader } from './union-reader.ts'
import { nodeOf } from './writer-schema.ts'

/** Reads `count` items into the target's column from element `at`; false when it cannot. */
type ItemsReader = (cursor: Cursor, at: number, count: number) => boolean

/**
 * Compiles the reader of an array feature, which fills the row that it is given. `minimum` is the least number of bytes
 * that an item takes. Returns the fault that every array would have when its items cannot be stored.
 */
export function compileArray(items: Type, minimum: number, target: Target): Reader | RecordFault {
  const { kind } = nodeOf(items)
  if (kind === 'float' && target.type === 'float32') return blocks(copyItems(target, 4), minimum, target)
  if (kind === 'double' && target.type === 'float64') return blocks(copyItems(target, 8), minimum, target)
  const element = compileElement(items, target)
  return isReader(element) ? blocks(eachItem(element, target), minimum, target) : element
}

function blocks(read: ItemsReader, minimum: number, { feature, width, offset }: Target): Reader {
  return (cursor, row) => {
    const first = row * width + offset
    let filled = 0
    for (;;) {
      if (!cursor.readBlock(minimum)) return false
      const { count, blockEnd } = cursor
      if (count === 0) break
      if (filled + count > feature.length) {
        return cursor.reject(featureFaults.length(feature, `at least ${filled + count}`))
      }
      if (!read(cursor, first + filled, count) || !cursor.endBlock(blockEnd)) return false
      filled += count
    }
    return filled === feature.length || cursor.reject(featureFaults.length(feature, String(filled)))
  }
}

/** Items that lie in the value as they lie in the tensor. */
function copyItems(target: Target, size: 4 | 8): ItemsReader {
  const { input, allowNonFinite } = target
  return (cursor, at, count) => {
    const { bytes, words, data, floatCheck } = cursor.views[input]!
    const from = cursor.pos
    const end = from + count * size
    cursor.bytes.copy(bytes, at * size, from, end)
    cursor.pos = end
    if (allowNonFinite) return true
    const finite =
      size === 4 && floatCheck !== undefined
        ? floatCheck(bytes.byteOffset + at * size, count)
        : areFinite(words, at, count, size)
    if (finite) return true
    return rejectFirst(cursor, data as Float32Array | Float64Array, at, target)
  }
}

/**
 * Whether the floats or doubles [at, at + count), of `size` bytes each, are finite. NaN and infinities alone have an
 * exponent of all ones, which becomes the sign bit when its lowest bit is added. All are or-ed: that takes half the time
 * of asking each.
 */
function areFinite(words: Int32Array, at: number, count: number, size: 4 | 8): boolean {
  const step = size / 4
  const exponent = size === 4 ? 0x7f800000 : 0x7ff00000
  const lowest = size === 4 ? 0x00800000 : 0x00100000
  const end = (at + count) * step
  let bits = 0
  for (let high = at * step + step - 1; high < end; high += step) bits |= (words[high]! & exponent) + lowest
  return bits >= 0
}

/** Stops at the first element from `at` on that is not finite. */
function rejectFirst(cursor: Cursor, data: Float32Array | Float64Array, at: number, target: Target): boolean {
  let bad = at
  while (Number.isFinite(data[bad])) bad++
  cursor.value = data[bad]!
  cursor.element = (bad % target.width) - target.offset
  return rejectNonFinite(cursor, target)
}

function eachItem(element: Reader, { width, offset }: Target): ItemsReader {
  return (cursor, at, count) => {
    const base = at - (at % width) + offset
    for (let i = at; i < at + count; i++) {
      cursor.element = i - base
      if (!element(cursor, i)) return false
    }
    cursor.element = undefined
    return true
  }
}
