import type { Type } from 'avsc'
import type { FileColumn } from '../core/files.ts'
import type { ElementType } from '../core/tensor.ts'
import type { Cursor } from './cursor.ts'
import { SkipCompiler } from './skip.ts'
import { nodeOf, type SchemaNode } from './writer-schema.ts'

/** Reads one Avro value as a plain one; undefined when it cannot, and the cursor knows why. */
export type PlainReader = (cursor: Cursor) => unknown

type Fields = readonly { readonly name: string; readonly type: Type }[]

/** What a value of each kind is as a column; the others are `any`. */
const COLUMN_TYPES: Partial<Record<SchemaNode['kind'], ElementType>> = {
  boolean: 'bool',
  int: 'int32',
  long: 'int64',
  float: 'float32',
  double: 'float64',
  string: 'string',
  enum: 'string',
  bytes: 'string',
  fixed: 'string',
}

/** A field as a column: a union with null counts as what it is when it is not null. */
export function columnOf({ name, type }: Fields[number]): FileColumn {
  const inner = withoutNull(type)
  const node = nodeOf(inner)
  if (node.kind !== 'array') return { name, type: COLUMN_TYPES[node.kind] ?? 'any', array: false }
  const element = COLUMN_TYPES[nodeOf(withoutNull(node.items)).kind]
  return element === undefined ? { name, type: 'any', array: false } : { name, type: element, array: true }
}

function withoutNull(type: Type): Type {
  const node = nodeOf(type)
  if (node.kind !== 'union') return type
  const values = node.branches.filter(branch => nodeOf(branch).kind !== 'null')
  return values.length === 1 ? values[0]! : type
}

/**
 * Compiles readers that make plain values of the types of one schema: an int64 is a number where a number can hold it
 * exactly, otherwise a bigint; bytes are base64; records and maps are objects.
 */
export class PlainCompiler {
  readonly #skips = new SkipCompiler()
  readonly #compiled = new Map<Type, PlainReader>()

  /** A reader of the fields in `names`, as an object; the others are passed over. */
  record(fields: Fields, names: ReadonlySet<string>): PlainReader {
    const readers = fields.map(({ name, type }) => ({
      name,
      read: names.has(name) ? this.#value(type) : undefined,
      skip: this.#skips.compile(type),
    }))
    return cursor => {
      if (!cursor.enter()) return undefined
      const values: [string, unknown][] = []
      for (const { name, read, skip } of readers) {
        const value = read === undefined ? skip(cursor) || undefined : read(cursor)
        if (value === undefined) return undefined
        if (read !== undefined) values.push([name, value])
      }
      cursor.leave()
      return Object.fromEntries(values)
    }
  }

  #value(type: Type): PlainReader {
    const known = this.#compiled.get(type)
    if (known !== undefined) return known
    // Registered before its parts are compiled, for schemas that contain themselves.
    let read: PlainReader = () => undefined
    this.#compiled.set(type, cursor => read(cursor))
    read = this.#compile(type)
    return read
  }

  #compile(type: Type): PlainReader {
    const node = nodeOf(type)
    switch (node.kind) {
      case 'null':
        return () => null
      case 'boolean':
        return cursor => (cursor.readBoolean() ? cursor.value === 1 : undefined)
      case 'int':
        return cursor => (cursor.readInt() ? cursor.value : undefined)
      case 'long':
        return readLong
      case 'float':
        return cursor => (cursor.readFloat() ? cursor.value : undefined)
      case 'double':
        return cursor => (cursor.readDouble() ? cursor.value : undefined)
      case 'string':
        return cursor => cursor.readString()
      case 'bytes':
        return cursor => (cursor.readLength('bytes') ? takeBase64(cursor, cursor.value) : undefined)
      case 'fixed':
        return cursor => (node.size <= cursor.end - cursor.pos ? takeBase64(cursor, node.size) : undefined)
      case 'enum':
        return cursor => (cursor.readIndex(node.symbols.length, 'an enum') ? node.symbols[cursor.value] : undefined)
      case 'array':
        return this.#array(node.items)
      case 'map':
        return this.#map(node.values)
      case 'union': {
        const branches = node.branches.map(branch => this.#value(branch))
        return cursor => (cursor.readIndex(branches.length, 'a union') ? branches[cursor.value]!(cursor) : undefined)
      }
      case 'record':
        return this.record(node.fields, new Set(node.fields.map(({ name }) => name)))
    }
  }

  #array(items: Type): PlainReader {
    const read = this.#value(items)
    return cursor => {
      const values: unknown[] = []
      const whole = eachItem(cursor, () => values.push(read(cursor)) > 0 && values.at(-1) !== undefined)
      return whole ? values : undefined
    }
  }

  #map(values: Type): PlainReader {
    const read = this.#value(values)
    return cursor => {
      const entries: [string, unknown][] = []
      const whole = eachItem(cursor, () => {
        const key = cursor.readString()
        const value = key === undefined ? undefined : read(cursor)
        if (key === undefined || value === undefined) return false
        entries.push([key, value])
        return true
      })
      return whole ? Object.fromEntries(entries) : undefined
    }
  }
}

/** Items are taken to have at least one byte each: an array of nulls that is longer than the record is refused. */
function eachItem(cursor: Cursor, readItem: () => boolean): boolean {
  for (;;) {
    if (!cursor.readBlock(1)) return false
    const { count, blockEnd } = cursor
    if (count === 0) return true
    for (let left = count; left > 0; left--) if (!readItem()) return false
    if (!cursor.endBlock(blockEnd)) return false
  }
}

function readLong(cursor: Cursor): unknown {
  if (!cursor.readLong()) return undefined
  if (Number.isSafeInteger(cursor.value)) return cursor.value
  return (BigInt(cursor.hi) << 32n) | BigInt(cursor.lo >>> 0)
}

function takeBase64(cursor: Cursor, size: number): string {
  const from = cursor.pos
  cursor.pos += size
  return cursor.bytes.toString('base64', from, cursor.pos)
}
