import type { FeatureSpec, InputSpec } from '../core/model.ts'
import { featureFaults, fillDefault } from '../core/rows.ts'
import type { ElementType } from '../core/tensor.ts'
import type { Cursor } from './cursor.ts'

/** Where one feature goes: elements [offset, offset + feature.length) of each row of one input tensor. */
export interface Target {
  readonly feature: FeatureSpec
  /** Index of the tensor among the model's inputs. */
  readonly input: number
  readonly offset: number
  /** Elements in a row of the tensor. */
  readonly width: number
  readonly type: ElementType
  readonly allowNonFinite: boolean
}

/** The features that are wanted at one place of a record: of the field itself, and of the fields within it. */
export interface Wanted {
  readonly targets: Target[]
  readonly fields: Map<string, Wanted>
}

/** All features of a model, as the tree that their dotted names make. */
export function wantedFeatures(inputs: readonly InputSpec[], allowNonFinite: boolean): Wanted {
  const root: Wanted = { targets: [], fields: new Map() }
  for (const [input, { features, width, type }] of inputs.entries()) {
    let offset = 0
    for (const feature of features) {
      let wanted = root
      for (const name of feature.name.split('.')) {
        const inner = wanted.fields.get(name) ?? { targets: [], fields: new Map() }
        wanted.fields.set(name, inner)
        wanted = inner
      }
      wanted.targets.push({ feature, input, offset, width, type, allowNonFinite })
      offset += feature.length
    }
  }
  return root
}

/** All targets at and below a place. */
export function targetsOf(wanted: Wanted): readonly Target[] {
  return [...wanted.targets, ...[...wanted.fields.values()].flatMap(targetsOf)]
}

/** Fills a whole feature with its default, or stops with `feature-null` or `feature-missing`. */
export function fillTarget(cursor: Cursor, row: number, target: Target, isNull: boolean): boolean {
  const first = row * target.width + target.offset
  return cursor.reject(fillDefault(target.feature, cursor.columns[target.input]!, first, isNull))
}

/** Stops because the number just read is NaN, or infinite in the type of its tensor. */
export function rejectNonFinite(cursor: Cursor, { feature, type }: Target): boolean {
  return cursor.reject(featureFaults.notFinite(feature, type, cursor.value, cursor.element))
}
