import { readFileSync } from 'node:fs'

const FRAME_BYTES = 5
const ROWS = readFileSync(new URL('../dev/data/iris.csv', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .slice(1)
  .map(line => line.split(',').slice(0, 4).map(Number))

/** Real iris rows in turn, framed with schema id 1: 21 bytes each, with their number as the key. */
export function irisBatch(first: number, count: number): { key: string; value: Buffer }[] {
  return Array.from({ length: count }, (_, i) => {
    const value = Buffer.alloc(FRAME_BYTES + 16)
    value.writeInt32BE(1, 1)
    for (const [at, feature] of ROWS[(first + i) % ROWS.length]!.entries())
      value.writeFloatLE(feature, FRAME_BYTES + 4 * at)
    return { key: String(first + i), value }
  })
}
