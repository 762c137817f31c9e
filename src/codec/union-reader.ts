import type { Type } from 'avsc'
import type { RecordFault } from '../core/errors.ts'
import type { Cursor } from './cursor.ts'
import { nodeOf } from './writer-schema.ts'

/**
 * Reads one value into a column: into the element, or the row, that `place` says. False when it cannot, and the cursor
 * knows why.
 */
export type Reader = (cursor: Cursor, place: number) => boolean

/** Whether a compiler found a way to read a type, rather than the fault that all its values have. */
export function isReader(reader: Reader | RecordFault): reader is Reader {
  return typeof reader === 'function'
}

/**
 * Compiles a union from its branches. A branch that cannot be read is a fault only of the values that use it; where all
 * but null are such, all values of the union have `fault`.
 */
export function compileUnion(
  branches: readonly Type[],
  fault: RecordFault,
  compile: (branch: Type) => Reader | RecordFault,
): Reader | RecordFault {
  const compiled = branches.map(compile)
  const values = compiled.filter((_, i) => nodeOf(branches[i]!).kind !== 'null')
  if (values.length > 0 && !values.some(isReader)) return fault
  const readers = compiled.map(reader => (isReader(reader) ? reader : (cursor: Cursor) => cursor.reject(reader)))
  return (cursor, place) => cursor.readIndex(readers.length, 'a union') && readers[cursor.value]!(cursor, place)
}
