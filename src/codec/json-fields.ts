import type { InputSpec } from '../core/model.ts'
import { type Target, type Wanted, wantedFeatures } from './target.ts'

/** The hash of no bytes, FNV-1a. */
export const HASH_START = 0x811c9dc5 | 0
const FNV_PRIME = 0x01000193

/** A key that is wanted in an object: its value is a feature, or an object with features in it. */
export interface JsonField {
  /** The key in UTF-8, without quotes. */
  readonly name: Uint8Array
  readonly content: Target | JsonFields
  /** Number of the last record that had the key. */
  seenIn: number
}

/** The hash with one byte more. */
export function addToHash(hash: number, byte: number): number {
  return Math.imul(hash ^ byte, FNV_PRIME)
}

/** The keys that are wanted in one object. */
export class JsonFields {
  /** How many there are. */
  readonly size: number
  readonly #byHash = new Map<number, JsonField[]>()

  constructor(fields: readonly JsonField[]) {
    this.size = fields.length
    for (const field of fields) {
      const hash = field.name.reduce(addToHash, HASH_START)
      const others = this.#byHash.get(hash)
      if (others === undefined) this.#byHash.set(hash, [field])
      else others.push(field)
    }
  }

  /** The field whose key is the bytes [start, end), given their hash. */
  find(bytes: Uint8Array, start: number, end: number, hash: number): JsonField | undefined {
    const fields = this.#byHash.get(hash)
    if (fields === undefined) return undefined
    for (const field of fields) if (isAt(field.name, bytes, start, end)) return field
    return undefined
  }
}

function isAt(name: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (name.length !== end - start) return false
  for (let i = 0; i < name.length; i++) if (name[i] !== bytes[start + i]) return false
  return true
}

/**
 * The keys that the features of a model want, or undefined where {@link JsonRowReader} is not for it: with string
 * tensors, with two features of the same name, or with a feature inside another.
 */
export function compileFields(inputs: readonly InputSpec[]): JsonFields | undefined {
  if (inputs.some(({ type }) => type === 'string')) return undefined
  return compileObject(wantedFeatures(inputs, false))
}

function compileObject({ fields }: Wanted): JsonFields | undefined {
  const compiled: JsonField[] = []
  for (const [name, wanted] of fields) {
    const [target, ...others] = wanted.targets
    const content = wanted.fields.size === 0 ? target : compileObject(wanted)
    // A name that UTF-8 cannot write would be matched by the replacement character that stands for it.
    if (content === undefined || others.length > 0 || !name.isWellFormed()) return undefined
    if (target !== undefined && content !== target) return undefined
    compiled.push({ name: Buffer.from(name), content, seenIn: -1 })
  }
  return new JsonFields(compiled)
}
