import type { Type } from 'avsc'
import type { RecordFault } from '../core/errors.ts'
import type { InputSpec } from '../core/model.ts'
import { featureFaults } from '../core/rows.ts'
import { compileArray } from './array-reader.ts'
import type { Cursor } from './cursor.ts'
import { compileElement } from './element-reader.ts'
import { floatRunAt, readFloatRun } from './float-run.ts'
import { SkipCompiler } from './skip.ts'
import { fillTarget, type Target, targetsOf, type Wanted, wantedFeatures } from './target.ts'
import { compileUnion, isReader, type Reader } from './union-reader.ts'
import { nameOfType, nodeOf } from './writer-schema.ts'

/** One thing to do on the way through a record, and the field to blame when it fails. */
interface Step {
  readonly path: string
  readonly run: Reader
}

type Fields = readonly { readonly name: string; readonly type: Type }[]

/**
 * Compiles a writer schema and the features of a model into a reader of whole records, which fills the row that it is
 * given. Fields that no feature wants are passed over. Features that the schema has no field for take their default.
 * Returns the fault that every record of the schema has when a feature is missing without a default, or when its type
 * does not fit.
 */
export function compilePlan(
  fields: Fields,
  inputs: readonly InputSpec[],
  allowNonFinite: boolean,
): Reader | RecordFault {
  return new PlanCompiler().record(fields, wantedFeatures(inputs, allowNonFinite), '')
}

class PlanCompiler {
  readonly #skips = new SkipCompiler()

  record(fields: Fields, wanted: Wanted, prefix: string): Reader | RecordFault {
    const steps: Step[] = []
    for (let i = 0; i < fields.length; i++) {
      const field = fields[i]!
      const path = prefix + field.name
      const run = floatRunAt(fields, i, wanted)
      if (run.length > 1) {
        steps.push({ path, run: readFloatRun(run, prefix) })
        i += run.length - 1
        continue
      }
      const inner = wanted.fields.get(field.name)
      const reader = inner === undefined ? this.#skips.compile(field.type) : this.#field(field.type, inner, path)
      if (!isReader(reader)) return reader
      steps.push({ path, run: reader })
    }
    const present = new Set(fields.map(field => field.name))
    for (const [name, inner] of wanted.fields) {
      for (const target of present.has(name) ? [] : targetsOf(inner)) {
        if (target.feature.default === undefined) return featureFaults.missing(target.feature)
        steps.push({ path: prefix + name, run: (cursor, row) => fillTarget(cursor, row, target, false) })
      }
    }
    return runSteps(steps)
  }

  /** A field that features want. Where several do, each reads it anew. */
  #field(type: Type, wanted: Wanted, path: string): Reader | RecordFault {
    const readers = wanted.targets.map(target =>
      target.feature.array ? this.#array(type, target) : placeScalar(compileElement(type, target), target),
    )
    if (wanted.fields.size > 0) readers.push(this.#nested(type, wanted, path))
    const fault = readers.find(reader => !isReader(reader))
    return fault ?? readAnew(readers.filter(isReader))
  }

  #array(type: Type, target: Target): Reader | RecordFault {
    const node = nodeOf(type)
    if (node.kind === 'array') return compileArray(node.items, this.#skips.fixedSize(node.items) ?? 1, target)
    if (node.kind === 'null') return (cursor, row) => fillTarget(cursor, row, target, true)
    const fault = featureFaults.type(target.feature, target.type, `Avro ${nameOfType(type)}`)
    return node.kind === 'union' ? compileUnion(node.branches, fault, branch => this.#array(branch, target)) : fault
  }

  #nested(type: Type, wanted: Wanted, path: string): Reader | RecordFault {
    const node = nodeOf(type)
    if (node.kind === 'record') return this.record(node.fields, { ...wanted, targets: [] }, `${path}.`)
    const targets = targetsOf({ ...wanted, targets: [] })
    if (node.kind === 'null') return (cursor, row) => targets.every(target => fillTarget(cursor, row, target, true))
    const fault = featureFaults.parent(targets[0]!.feature, path, `Avro ${nameOfType(type)}`)
    return node.kind === 'union'
      ? compileUnion(node.branches, fault, branch => this.#nested(branch, wanted, path))
      : fault
  }
}

function runSteps(steps: readonly Step[]): Reader {
  return (cursor, row) => {
    for (let i = 0; i < steps.length; i++) {
      const step = steps[i]!
      if (step.run(cursor, row)) continue
      cursor.path ||= step.path
      return false
    }
    return true
  }
}

function placeScalar(element: Reader | RecordFault, { width, offset }: Target): Reader | RecordFault {
  return isReader(element) ? (cursor, row) => element(cursor, row * width + offset) : element
}

function readAnew(readers: readonly Reader[]): Reader {
  const [only] = readers
  if (readers.length === 1 && only !== undefined) return only
  return (cursor: Cursor, row) => {
    const { pos } = cursor
    return readers.every(read => {
      cursor.pos = pos
      return read(cursor, row)
    })
  }
}
