// Opens and closes a model version again and again, as rollouts do, and shows that its memory returns.
//
//   npm run soak:versions [-- --cycles N]

import { fileURLToPath } from 'node:url'
import { readOptions, wholeNumber } from '../../dev/command-line.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLog } from '../../src/core/log.ts'
import { openModel } from '../../src/serving/serving.ts'

const HELP = `npm run soak:versions [-- --cycles N]

Loads, verifies and unloads a model N times (400 unless given), and samples the memory of the process. The first half warms it up: the
allocator keeps what threads that have ended had. Exit code 0 when the median of the last quarter is at most a tenth above that of
the one before.

Example: npm run soak:versions -- --cycles 800`

const MODEL = 'iris-classifier'
const MOST_GROWTH = 0.1
const SAMPLES = 16

const options = readOptions(HELP, { cycles: { type: 'string' } })
const CYCLES = wholeNumber('cycles', options.cycles, 400, SAMPLES)

const SETTINGS = {
  modelStore: fileURLToPath(new URL('../../models', import.meta.url)),
  modelStoreTimeoutMs: 10_000,
  modelCacheDir: '',
  modelName: MODEL,
  modelVersion: undefined,
  sessions: 'cpu*2',
  intraOpThreads: 1,
  maxBatchSize: 4_096,
  runTimeoutMs: 60_000,
}

/** In MiB, after a collection where the process was started with --expose-gc. */
function residentMiB(): number {
  globalThis.gc?.()
  return process.memoryUsage.rss() / 2 ** 20
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!

const samples: number[] = []
for (let cycle = 1; cycle <= CYCLES; cycle++) {
  const model = await openModel(SETTINGS, { log: silentLog, clock: systemClock })
  await model.close()
  if (cycle % Math.floor(CYCLES / SAMPLES) !== 0) continue
  samples.push(residentMiB())
  console.error(`  ${cycle}/${CYCLES} cycles: ${samples.at(-1)!.toFixed(0)} MiB`)
}
const quarter = SAMPLES / 4
const [before, after] = [samples.slice(2 * quarter, 3 * quarter), samples.slice(3 * quarter)].map(median) as [
  number,
  number,
]
const growth = after / before - 1
console.log(`${CYCLES} cycles: ${before.toFixed(0)} MiB, then ${after.toFixed(0)} MiB (${(growth * 100).toFixed(1)} %)`)
process.exit(growth <= MOST_GROWTH ? 0 : 1)
