import { isUtf8 } from 'node:buffer'
import type { FileMetaData, ParquetParsers, SchemaElement, SchemaTree } from 'hyparquet'

/** How the library turns stored values into those of JavaScript, where its own way loses something. */
export const PARQUET_PARSERS: Partial<ParquetParsers> = {
  timestampFromMicroseconds: (micros: bigint) => timestamp(micros, 1_000_000n, 6),
  timestampFromNanoseconds: (nanos: bigint) => timestamp(nanos, 1_000_000_000n, 9),
  // What is no text stays bytes.
  stringFromBytes: (bytes: Uint8Array | undefined) =>
    bytes === undefined || !isUtf8(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString(),
}

/** ISO 8601 with all digits that are stored, which no date of JavaScript has. */
function timestamp(value: bigint, perSecond: bigint, digits: number): string | bigint {
  const fraction = ((value % perSecond) + perSecond) % perSecond
  const date = new Date(Number((value - fraction) / perSecond) * 1000)
  if (Number.isNaN(date.getTime())) return value
  return `${date.toISOString().slice(0, -'.000Z'.length)}.${fraction.toString().padStart(digits, '0')}Z`
}

/**
 * The metadata to read with: enumerations are text, so are bytes of features, and decimals of top-level columns come as
 * they are stored, for {@link decimalsOf}.
 * @param isFeature whether a top-level column is one
 */
export function readingMetadata(metadata: FileMetaData, tree: SchemaTree, isFeature: (name: string) => boolean) {
  const changed = new Map<SchemaElement, SchemaElement>()
  for (const column of tree.children) {
    for (const { element } of leavesOf(column)) {
      const { type, converted_type: converted, logical_type: logical } = element
      const plain = converted === undefined && logical === undefined && isFeature(column.element.name)
      const text = converted === 'ENUM' || logical?.type === 'ENUM' || plain
      if (type === 'BYTE_ARRAY' && text) changed.set(element, { ...element, converted_type: 'UTF8' })
    }
    const decimal = decimalOf(column)
    if (decimal !== undefined) {
      const { converted_type: _, logical_type: __, ...stored } = decimal
      changed.set(decimal, stored)
    }
  }
  return { ...metadata, schema: metadata.schema.map(element => changed.get(element) ?? element) }
}

function leavesOf(tree: SchemaTree): SchemaTree[] {
  return tree.children.length === 0 ? [tree] : tree.children.flatMap(leavesOf)
}

/** The decimal that a column is, or is a list of, or a list of lists. */
export function decimalOf(column: SchemaTree): SchemaElement | undefined {
  const item = itemOf(column)
  if (item !== undefined) return decimalOf(item)
  const { converted_type: converted, logical_type: logical } = column.element
  const isDecimal = column.children.length === 0 && (converted === 'DECIMAL' || logical?.type === 'DECIMAL')
  return isDecimal ? column.element : undefined
}

/** What a column is a list of, where the library makes an array of it. */
export function itemOf({ element, children: [list, ...rest] }: SchemaTree): SchemaTree | undefined {
  const isList =
    element.converted_type === 'LIST' &&
    list?.element.repetition_type === 'REPEATED' &&
    rest.length === 0 &&
    list.children.length === 1
  return isList ? list.children[0] : undefined
}

/**
 * How to turn the stored decimals of a column into text, digit for digit, or into numbers, if it is a feature; undefined
 * where it has none.
 */
export function decimalsOf(column: SchemaTree, isFeature: boolean): ((value: unknown) => unknown) | undefined {
  const element = decimalOf(column)
  if (element === undefined) return undefined
  const { logical_type: logical } = element
  const scale = element.scale ?? (logical?.type === 'DECIMAL' ? logical.scale : 0)
  const exactly = (value: unknown): unknown => {
    if (value === null || value === undefined) return value
    if (Array.isArray(value)) return value.map(exactly)
    const text = decimalText(value instanceof Uint8Array ? signed(value) : BigInt(value as number | bigint), scale)
    return isFeature ? Number(text) : text
  }
  return exactly
}

/** Two's complement, the highest byte first. */
function signed(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt.asIntN(8 * bytes.length, BigInt(`0x${Buffer.from(bytes).toString('hex')}`))
}

function decimalText(unscaled: bigint, scale: number): string {
  if (scale <= 0) return (unscaled * 10n ** BigInt(-scale)).toString()
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0')
  return `${unscaled < 0n ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}
