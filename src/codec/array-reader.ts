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
    const { bytes, data } = cursor.views[input]!
    const end = cursor.pos + count * size
    cursor.bytes.copy(bytes, at * size, cursor.pos, end)
    cursor.pos = end
    return allowNonFinite || checkFinite(cursor, data as Float32Array | Float64Array, at, count, target)
  }
}

function checkFinite(
  cursor: Cursor,
  data: Float32Array | Float64Array,
  at: number,
  count: number,
  target: Target,
): boolean {
  for (let i = at; i < at + count; i++) {
    if (Number.isFinite(data[i])) continue
    cursor.value = data[i]!
    cursor.element = (i % target.width) - target.offset
    return rejectNonFinite(cursor, target)
  }
  return true
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
