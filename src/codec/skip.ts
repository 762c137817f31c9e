import type { Type } from 'avsc'
import type { Cursor } from './cursor.ts'
import { nameOfType, nodeOf } from './writer-schema.ts'

/** Steps over one value; false when it cannot, see {@link Cursor}. */
export type Skip = (cursor: Cursor) => boolean

/** Compiles skips for the types of one schema; each type is looked at once, so recursive schemas end. */
export class SkipCompiler {
  readonly #compiled = new Map<Type, Skip>()
  readonly #sizes = new Map<Type, number | undefined>()

  /** A function that steps over values of `type`. Its time is linear in the bytes it passes, whatever they claim. */
  compile(type: Type): Skip {
    const known = this.#compiled.get(type)
    if (known !== undefined) return known
    // Registered before its parts are compiled, for schemas that contain themselves.
    let skip: Skip = () => false
    this.#compiled.set(type, cursor => skip(cursor))
    skip = this.#compile(type)
    this.#compiled.set(type, skip)
    return skip
  }

  /** Bytes that every value of `type` takes, or undefined when that differs from value to value. */
  fixedSize(type: Type): number | undefined {
    if (this.#sizes.has(type)) return this.#sizes.get(type)
    // A type that is met again while its parts are measured contains itself: it has no fixed size.
    this.#sizes.set(type, undefined)
    const size = this.#measure(type)
    this.#sizes.set(type, size)
    return size
  }

  #measure(type: Type): number | undefined {
    const node = nodeOf(type)
    switch (node.kind) {
      case 'null':
        return 0
      case 'boolean':
        return 1
      case 'float':
        return 4
      case 'double':
        return 8
      case 'fixed':
        return node.size
      case 'record': {
        let sum = 0
        for (const field of node.fields) sum += this.fixedSize(field.type) ?? Number.NaN
        return Number.isNaN(sum) ? undefined : sum
      }
      default:
        return undefined
    }
  }

  #compile(type: Type): Skip {
    const size = this.fixedSize(type)
    if (size !== undefined) return skipBytes(size, nameOfType(type))
    const node = nodeOf(type)
    switch (node.kind) {
      case 'bytes':
      case 'string':
        return skipText
      case 'array':
        return skipBlocks(this.compile(node.items), this.fixedSize(node.items))
      case 'map': {
        const value = this.compile(node.values)
        return skipBlocks(cursor => skipText(cursor) && value(cursor), undefined)
      }
      case 'union':
        return skipUnion(node.branches.map(branch => this.compile(branch)))
      case 'record':
        return skipRecord(node.fields.map(field => this.compile(field.type)))
      default:
        return skipVarint
    }
  }
}

const skipVarint: Skip = cursor => cursor.readVarint()

const skipText: Skip = cursor => {
  if (!cursor.readLength('a text')) return false
  cursor.pos += cursor.value
  return true
}

function skipBytes(size: number, name: string): Skip {
  return cursor => cursor.skip(size, name)
}

function skipUnion(branches: readonly Skip[]): Skip {
  return cursor => cursor.readIndex(branches.length, 'a union') && branches[cursor.value]!(cursor)
}

function skipRecord(fields: readonly Skip[]): Skip {
  return cursor => {
    if (!cursor.enter()) return false
    for (const skip of fields) if (!skip(cursor)) return false
    cursor.leave()
    return true
  }
}

/** Items without a fixed size take at least one byte; those with one are passed in one step, even 2^60 of no bytes. */
function skipBlocks(item: Skip, size: number | undefined): Skip {
  return cursor => {
    for (;;) {
      if (!cursor.readBlock(size ?? 1)) return false
      if (cursor.count === 0) return true
      if (cursor.blockEnd >= 0) cursor.pos = cursor.blockEnd
      else if (size !== undefined) cursor.pos += cursor.count * size
      else for (let left = cursor.count; left > 0; left--) if (!item(cursor)) return false
    }
  }
}
