import type { Type } from 'avsc'
import type { RecordFault } from '../core/errors.ts'
import { featureFaults, packElement } from '../core/rows.ts'
import type { Cursor } from './cursor.ts'
import { rejectNonFinite, type Target } from './target.ts'
import { compileUnion, type Reader } from './union-reader.ts'
import { nameOfType, nodeOf, type SchemaNode } from './writer-schema.ts'

/** Reads a number into `cursor.value`. */
type NumberReader = (cursor: Cursor) => boolean

const NUMBERS: Partial<Record<SchemaNode['kind'], NumberReader>> = {
  int: cursor => cursor.readInt(),
  long: cursor => cursor.readLong(),
  float: cursor => cursor.readFloat(),
  double: cursor => cursor.readDouble(),
}

/**
 * Compiles the reader of one value, which stores it as element `at` of the target's column: int, long, float and double go to float tensors (rounded to the nearest), int and
 * long to integer tensors, boolean to bool, string and enum to string, and unions of these with null in any order.
 * Returns the fault that every value would have when the type cannot be stored; a union can as long as one branch can,
 * and then only the values of its other branches are faults.
 */
export function compileElement(type: Type, target: Target): Reader | RecordFault {
  const node = nodeOf(type)
  if (node.kind === 'null') return nullElement(target)
  const typeFault = featureFaults.type(target.feature, target.type, `Avro ${nameOfType(type)}`)
  if (node.kind === 'union') return compileUnion(node.branches, typeFault, branch => compileElement(branch, target))
  const number = NUMBERS[node.kind]
  const isInteger = node.kind === 'int' || node.kind === 'long'
  switch (target.type) {
    case 'float16':
    case 'float32':
    case 'float64':
      if (node.kind === 'float' && target.type === 'float32') return floatElement(target)
      if (number !== undefined) return numberElement(number, target)
      break
    case 'int64':
      if (isInteger) return int64Element(number!, target)
      break
    case 'int32':
      if (isInteger) return int32Element(number!, target)
      break
    case 'bool':
      if (node.kind === 'boolean') return boolElement(target)
      break
    case 'string':
      if (node.kind === 'string') return stringElement(target)
      if (node.kind === 'enum') return enumElement(node.symbols, target)
      break
  }
  return typeFault
}

/** The commonest of all: what {@link numberElement} does, without the detour. */
function floatElement(target: Target): Reader {
  const { input, allowNonFinite } = target
  return (cursor, at) => {
    const { pos } = cursor
    if (cursor.end - pos < 4) return cursor.truncated('a float')
    const value = cursor.view.getFloat32(pos, true)
    cursor.pos = pos + 4
    ;(cursor.views[input]!.data as Float32Array)[at] = value
    if (allowNonFinite || Number.isFinite(value)) return true
    cursor.value = value
    return rejectNonFinite(cursor, target)
  }
}

function numberElement(read: NumberReader, target: Target): Reader {
  const { input, allowNonFinite } = target
  return (cursor, at) => {
    if (!read(cursor)) return false
    const data = cursor.views[input]!.data as Float16Array | Float32Array | Float64Array
    data[at] = cursor.value
    // Looks at what was stored: a double may be infinite as a float32, and a float as a float16.
    return allowNonFinite || Number.isFinite(data[at]) || rejectNonFinite(cursor, target)
  }
}

function int64Element(read: NumberReader, { input }: Target): Reader {
  return (cursor, at) => {
    if (!read(cursor)) return false
    const { words } = cursor.views[input]!
    words[2 * at] = cursor.lo
    words[2 * at + 1] = cursor.hi
    return true
  }
}

function int32Element(read: NumberReader, { input, feature, type }: Target): Reader {
  return (cursor, at) => {
    if (!read(cursor)) return false
    if (cursor.hi !== cursor.lo >> 31) {
      const found = ((BigInt(cursor.hi) << 32n) | BigInt(cursor.lo >>> 0)).toString()
      return cursor.reject(featureFaults.range(feature, type, found, cursor.element))
    }
    ;(cursor.views[input]!.data as Int32Array)[at] = cursor.lo
    return true
  }
}

function boolElement({ input }: Target): Reader {
  return (cursor, at) => {
    if (!cursor.readBoolean()) return false
    ;(cursor.views[input]!.data as Uint8Array)[at] = cursor.value
    return true
  }
}

function stringElement({ input }: Target): Reader {
  return (cursor, at) => {
    const text = cursor.readString()
    if (text === undefined) return false
    ;(cursor.views[input]!.data as string[])[at] = text
    return true
  }
}

function enumElement(symbols: readonly string[], { input }: Target): Reader {
  return (cursor, at) => {
    if (!cursor.readIndex(symbols.length, 'an enum')) return false
    ;(cursor.views[input]!.data as string[])[at] = symbols[cursor.value]!
    return true
  }
}

function nullElement({ feature, input }: Target): Reader {
  return (cursor, at) =>
    cursor.reject(packElement(feature.default, feature, cursor.columns[input]!, at, true, cursor.element))
}
