import type { Type } from 'avsc'
import { rejectNonFinite, type Target, type Wanted } from './target.ts'
import type { Reader } from './union-reader.ts'
import { nodeOf } from './writer-schema.ts'

/** A float field, and the float32 element that it becomes. */
interface FloatField {
  readonly name: string
  readonly target: Target
}

/**
 * The float fields from `first` on that become neighbouring elements of one float32 tensor in the same order: the shape
 * of most tabular data, worth one loop instead of a call for each field.
 */
export function floatRunAt(
  fields: readonly { readonly name: string; readonly type: Type }[],
  first: number,
  wanted: Wanted,
): readonly FloatField[] {
  const run: FloatField[] = []
  for (let i = first; i < fields.length; i++) {
    const { name, type } = fields[i]!
    const inner = wanted.fields.get(name)
    const target = inner?.targets[0]
    if (inner === undefined || target === undefined || inner.targets.length > 1 || inner.fields.size > 0) break
    if (target.feature.array || target.type !== 'float32' || nodeOf(type).kind !== 'float') break
    const last = run.at(-1)?.target
    if (last !== undefined && (target.input !== last.input || target.offset !== last.offset + 1)) break
    run.push({ name, target })
  }
  return run
}

/** The reader of such a run. `prefix` is the path of the record that it lies in, for messages. */
export function readFloatRun(run: readonly FloatField[], prefix: string): Reader {
  const { input, offset, width, allowNonFinite } = run[0]!.target
  const size = 4 * run.length
  return (cursor, row) => {
    const { pos, view } = cursor
    const left = cursor.end - pos
    if (left < size) {
      cursor.path = prefix + run[left >> 2]!.name
      cursor.pos += left & ~3
      return cursor.truncated('a float')
    }
    const data = cursor.views[input]!.data as Float32Array
    const first = row * width + offset
    for (let i = 0; i < run.length; i++) {
      const value = view.getFloat32(pos + 4 * i, true)
      data[first + i] = value
      if (allowNonFinite || Number.isFinite(value)) continue
      cursor.value = value
      return rejectNonFinite(cursor, run[i]!.target)
    }
    cursor.pos = pos + size
    return true
  }
}
