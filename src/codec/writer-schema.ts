import { createHash } from 'node:crypto'
import avro, { type Type, type types } from 'avsc'

/** The Avro types, as the compilers of this folder tell them apart. */
export type SchemaNode =
  | {
      readonly kind: 'null' | 'boolean' | 'int' | 'long' | 'float' | 'double' | 'bytes' | 'string'
      readonly type: Type
    }
  | { readonly kind: 'fixed'; readonly type: Type; readonly size: number }
  | { readonly kind: 'enum'; readonly type: Type; readonly symbols: readonly string[] }
  | { readonly kind: 'array'; readonly type: Type; readonly items: Type }
  | { readonly kind: 'map'; readonly type: Type; readonly values: Type }
  | { readonly kind: 'union'; readonly type: Type; readonly branches: readonly Type[] }
  | { readonly kind: 'record'; readonly type: Type; readonly fields: readonly { name: string; type: Type }[] }

/**
 * Parses the text of a writer schema. Defaults are dropped before: they are for readers, and avsc refuses whole schemas
 * for defaults that other implementations accept (longs beyond 2^53 among them). Logical types are their base types.
 * @throws Error that says what is wrong with the schema.
 */
export function parseSchema(text: string): Type {
  const schema = JSON.parse(text, (key, value: unknown) => (key === 'default' ? undefined : value))
  return avro.Type.forSchema(schema, { wrapUnions: 'always', omitRecordMethods: true })
}

/** What kind of schema `type` is, and its parts. */
export function nodeOf(type: Type): SchemaNode {
  switch (type.typeName) {
    case 'fixed':
      return { kind: 'fixed', type, size: (type as types.FixedType).size }
    case 'enum':
      return { kind: 'enum', type, symbols: (type as types.EnumType).symbols }
    case 'array':
      return { kind: 'array', type, items: (type as types.ArrayType).itemsType }
    case 'map':
      return { kind: 'map', type, values: (type as types.MapType).valuesType }
    case 'union:wrapped':
      return { kind: 'union', type, branches: (type as types.WrappedUnionType).types }
    case 'record':
    case 'error':
      return { kind: 'record', type, fields: (type as types.RecordType).fields }
    default:
      return { kind: type.typeName as 'null', type }
  }
}

/** The schema as a person would name it: the name of a named type, otherwise what it is. */
export function nameOfType(type: Type): string {
  const node = nodeOf(type)
  if (node.kind === 'union') return `a union of ${node.branches.map(nameOfType).join(', ')}`
  if (node.kind === 'array') return `an array of ${nameOfType(node.items)}`
  if (node.kind === 'record' || node.kind === 'enum' || node.kind === 'fixed') {
    return type.name === undefined ? node.kind : `${node.kind} ${type.name}`
  }
  return node.kind
}

/** Two schemas that write the same bytes have the same canonical form (Avro 1.12, "Parsing Canonical Form"). */
export function canonicalForm(text: string): string {
  return JSON.stringify(parseSchema(text).schema())
}

const FIRST_DERIVED_ID = 2 ** 24

/**
 * An id for a schema that nobody gave an id, the same on every replica: from the SHA-256 of its canonical form, in
 * [2^24, 2^31), out of the way of ids that registries hand out from 1.
 */
export function derivedSchemaId(canonical: string): number {
  const hash = createHash('sha256').update(canonical).digest().readUInt32BE(0)
  return FIRST_DERIVED_ID + (hash % (2 ** 31 - FIRST_DERIVED_ID))
}
