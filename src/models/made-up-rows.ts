import type { InputSpec } from '../core/model.ts'
import { placeFeature } from '../core/rows.ts'
import type { ElementType } from '../core/tensor.ts'

/** A row, as an object of features by name. */
export type MadeUpRow = Record<string, unknown>

/** Enough rows to show a broken kernel, as long as golden.jsonl stays small. */
const MOST_ROWS = 8
const MOST_VALUES = 20_000

/** How many rows are made of a model whose inputs and outputs together have so many values in a row. */
export function rowsFor(width: number): number {
  return Math.max(1, Math.min(MOST_ROWS, Math.floor(MOST_VALUES / width)))
}

/**
 * Rows that a model may well take, the same each time: the first of zeros, the second of ones, the others of small numbers
 * and short words, drawn by a fixed seed.
 */
export function madeUpRows(inputs: readonly InputSpec[], count: number): MadeUpRow[] {
  const random = mulberry32(1)
  return Array.from({ length: count }, (_, index) => {
    const row: MadeUpRow = {}
    for (const { type, features } of inputs) {
      for (const { name, length, array } of features) {
        const values = Array.from({ length }, () => madeUpValue(type, index, random))
        placeFeature(row, name, array ? values : values[0])
      }
    }
    return row
  })
}

const WORDS = ['a', 'b', 'one', 'two', '', 'x']

function madeUpValue(type: ElementType, row: number, random: () => number): unknown {
  switch (type) {
    case 'float16':
    case 'float32':
    case 'float64':
      return row < 2 ? row : Math.round(4000 * random() - 2000) / 1000
    case 'int64':
    case 'int32':
      return row < 2 ? row : Math.floor(10 * random())
    case 'bool':
      return row < 2 ? row === 1 : random() < 0.5
    case 'string':
      return WORDS[row < 2 ? row : Math.floor(WORDS.length * random())]
  }
}

/** Numbers from 0 to 1, by Tommy Ettinger's mulberry32. */
function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
