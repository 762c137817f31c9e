import { readFileSync } from 'node:fs'
import { Random } from '../dev/demo/random.ts'

const FLOWERS = new URL('../dev/data/iris.csv', import.meta.url)
const SEED = 42

/** The 150 flowers of Fisher's iris data: sepal length and width, petal length and width, in centimetres. */
export function flowerRows(): Float32Array[] {
  const [, ...lines] = readFileSync(FLOWERS, 'utf8').trim().split('\n')
  return lines.map(line => Float32Array.from(line.split(',').slice(0, 4), Number))
}

/** `count` rows of `width` numbers from [0, 1), as the generator of Crayfish draws them; the same in each run. */
export function uniformRows(count: number, width: number): Float32Array[] {
  const random = mulberry32(SEED)
  return Array.from({ length: count }, () => Float32Array.from({ length: width }, random))
}

/** A source of numbers from [0, 1), the same ones for the same seed. */
export function mulberry32(seed: number): () => number {
  const random = new Random(seed)
  return () => random.uniform()
}
