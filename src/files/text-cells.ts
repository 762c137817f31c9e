import type { FileColumn } from '../core/files.ts'
import type { FeatureSpec, InputSpec } from '../core/model.ts'
import { placeFeature } from '../core/rows.ts'
import type { ElementType } from '../core/tensor.ts'

const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/
const INTEGER = /^[+-]?\d+(?:\.0*)?$/
const NOT_FINITE: Readonly<Record<string, number>> = {
  nan: Number.NaN,
  inf: Number.POSITIVE_INFINITY,
  infinity: Number.POSITIVE_INFINITY,
  '-inf': Number.NEGATIVE_INFINITY,
  '-infinity': Number.NEGATIVE_INFINITY,
}

/** The type in which the text of a feature is kept: doubles, so that a number is written as it was read. */
export function keptType(type: ElementType): ElementType {
  return type === 'float16' || type === 'float32' ? 'float64' : type
}

/** Columns of a file whose values have no type of their own: that of the feature of the same name, otherwise `rest`. */
export function featureColumns(inputs: readonly InputSpec[], rest: FileColumn['type']): (name: string) => FileColumn {
  const columns = new Map<string, FileColumn>()
  for (const { type, features } of inputs) {
    for (const { name, array, length } of features) {
      columns.set(name, { name, type: keptType(type), array })
      for (let e = 0; array && e < length; e++) {
        columns.set(elementName(name, e), { name: elementName(name, e), type: keptType(type), array: false })
      }
    }
  }
  return name => columns.get(name) ?? { name, type: rest, array: false }
}

function elementName(feature: string, element: number): string {
  return `${feature}[${element}]`
}

/** The value of a cell that is one of `type`: null where it is empty, the text itself where it is no such value. */
export function parseCell(cell: string, type: ElementType): unknown {
  if (cell === '') return null
  switch (type) {
    case 'string':
      return cell
    case 'bool':
      return parseBoolean(cell)
    case 'int32':
    case 'int64':
      return parseInteger(cell.trim()) ?? cell
    default: {
      const text = cell.trim()
      if (NUMBER.test(text)) return Number(text)
      const known = text.toLowerCase()
      return Object.hasOwn(NOT_FINITE, known) ? NOT_FINITE[known] : cell
    }
  }
}

/** pandas writes whole numbers as `3.0` where a column has gaps. */
function parseInteger(text: string): number | bigint | undefined {
  if (!INTEGER.test(text)) return undefined
  const integer = BigInt(text.replace(/\.0*$/, '').replace(/^\+/, ''))
  return Number.isSafeInteger(Number(integer)) ? Number(integer) : integer
}

function parseBoolean(cell: string): unknown {
  const text = cell.trim().toLowerCase()
  if (text === 'true' || text === '1') return true
  return text === 'false' || text === '0' ? false : cell
}

/** Takes one feature out of the cells of a row, and puts it where `packObject` looks for it. */
export type FeatureCells = (cells: readonly string[], into: Record<string, unknown>) => void

/**
 * How to find a feature in rows of these columns: in the column of its name, or, if it is an array, in columns `name[0]`,
 * `name[1]`, … Undefined where they are not there and the feature has a default; a text that says what lacks otherwise.
 */
export function findFeature(
  feature: FeatureSpec,
  type: ElementType,
  header: readonly string[],
): FeatureCells | string | undefined {
  const { name, array, length } = feature
  const at = header.indexOf(name)
  if (at >= 0) {
    const parse = array ? parseArray : (cell: string) => parseCell(cell, type)
    return (cells, into) => placeFeature(into, name, parse(cells[at]!))
  }
  const names = array ? Array.from({ length }, (_, e) => elementName(name, e)) : [name]
  const places = names.map(each => header.indexOf(each))
  const missing = places.indexOf(-1)
  if (missing < 0) {
    return (cells, into) => {
      const elements = places.map(place => parseCell(cells[place]!, type))
      placeFeature(into, name, elements.every(element => element === null) ? null : elements)
    }
  }
  return feature.default === undefined ? `it has no column "${names[missing]}"` : undefined
}

/** The values of a JSON array: null where the cell is empty, the text itself where it is no array. */
export function parseArray(cell: string): unknown {
  if (cell === '') return null
  try {
    const values: unknown = JSON.parse(cell)
    return Array.isArray(values) ? values : cell
  } catch {
    return cell
  }
}
