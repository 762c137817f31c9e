import { Random } from '../../dev/demo/random.ts'

/** Records at a rate, for some time. */
export interface Step {
  /** Records a second, on average. */
  readonly rate: number
  readonly seconds: number
}

/**
 * When the records of a run are due, and in which partition. The first ones, one for each partition, are *knocks*: due
 * since ever, published before the clock starts, to find out whether anybody answers. All memory is shared, so threads
 * see one plan, and compute from it which record lies at an offset instead of reading it from the record.
 */
export interface Arrivals {
  readonly count: number
  readonly partitions: number
  /** When record i is due, in ms from the start, ascending; `-Infinity` for a knock. */
  readonly times: Float64Array
  readonly partitionOf: Uint16Array
  /** Records of partition p in their order: `order[starts[p]]` to `order[starts[p + 1] - 1]`. */
  readonly order: Int32Array
  readonly starts: Int32Array
}

/**
 * Draws Poisson arrivals: gaps between records are exponential, of the rate of the step that they begin in, and a new
 * step draws anew from its beginning, which a process without memory may. Partitions are drawn evenly, so that each of
 * them sees Poisson arrivals, too. The same for the same seed.
 */
export function planArrivals(steps: readonly Step[], partitions: number, seed: number): Arrivals {
  let count = partitions
  drawTimes(steps, seed, () => count++)
  const times = new Float64Array(shared(count * Float64Array.BYTES_PER_ELEMENT))
  const partitionOf = new Uint16Array(shared(count * Uint16Array.BYTES_PER_ELEMENT))
  times.fill(Number.NEGATIVE_INFINITY, 0, partitions)
  let next = partitions
  drawTimes(steps, seed, time => {
    times[next++] = time
  })
  const random = new Random(~seed)
  for (let i = 0; i < count; i++) partitionOf[i] = i < partitions ? i : random.below(partitions)
  return { count, partitions, times, partitionOf, ...groupByPartition(partitionOf, partitions) }
}

/** The record that is the `rank`-th of its partition, or -1 where the plan has none. */
export function recordAt({ starts, order, partitions }: Arrivals, partition: number, rank: number): number {
  if (partition >= partitions || rank < 0) return -1
  const at = starts[partition]! + rank
  return at < starts[partition + 1]! ? order[at]! : -1
}

/** The first record that is due at `ms` or later; `count` where none is. */
export function firstDue({ times, count }: Arrivals, ms: number): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (times[middle]! < ms) low = middle + 1
    else high = middle
  }
  return low
}

function drawTimes(steps: readonly Step[], seed: number, visit: (ms: number) => void): void {
  const random = new Random(seed)
  let begin = 0
  for (const { rate, seconds } of steps) {
    const end = begin + seconds * 1000
    const gap = () => (-Math.log1p(-random.uniform()) * 1000) / rate
    for (let at = begin + gap(); at < end; at += gap()) visit(at)
    begin = end
  }
}

/** A counting sort, which keeps the order within a partition. */
function groupByPartition(partitionOf: Uint16Array, partitions: number): Pick<Arrivals, 'order' | 'starts'> {
  const starts = new Int32Array(shared((partitions + 1) * Int32Array.BYTES_PER_ELEMENT))
  for (const partition of partitionOf) starts[partition + 1]!++
  for (let partition = 0; partition < partitions; partition++) starts[partition + 1]! += starts[partition]!
  const order = new Int32Array(shared(partitionOf.length * Int32Array.BYTES_PER_ELEMENT))
  const next = starts.slice()
  for (let i = 0; i < partitionOf.length; i++) order[next[partitionOf[i]!]!++] = i
  return { order, starts }
}

function shared(bytes: number): SharedArrayBuffer {
  return new SharedArrayBuffer(bytes)
}
