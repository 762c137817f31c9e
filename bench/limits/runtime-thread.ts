/** One session of `runtime.ts`, with the options of the worker's: runs batch after batch until it is to stop. */
import { workerData } from 'node:worker_threads'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { Random } from '../../dev/demo/random.ts'
import { sessionOptions } from '../../src/inference/providers.ts'
import { openWorkload, type Workload } from '../workload.ts'
import type { BatchSize, ThreadJob } from './runtime-job.ts'

const CPU = { name: 'cpu', device: null }
/** What the worker's INTRA_OP_THREADS is unless set. */
const INTRA_OP_THREADS = 1
/** Batches in one round of the sizes. */
const ROUND = 256

const { job, index, counts, stop } = workerData as ThreadJob
const workload = await openWorkload(job.workload)
const session = await InferenceSession.create(workload.modelFile, sessionOptions(CPU, INTRA_OP_THREADS))
const rounds = shuffled(roundOf(job.sizes), index)
const feeds = feedsOf(workload, rounds)

for (let run = 0; Atomics.load(stop, 0) === 0; run++) {
  const rows = rounds[run % rounds.length]!
  await session.run(feeds.get(rows)!, [...workload.modelOutputs])
  Atomics.add(counts, index, BigInt(rows))
}

/** Sizes of batches, each at least once and otherwise in proportion to its runs. */
function roundOf(sizes: readonly BatchSize[]): number[] {
  const total = sizes.reduce((sum, { runs }) => sum + runs, 0)
  return sizes.flatMap(({ rows, runs }) => {
    return new Array<number>(Math.max(1, Math.round((ROUND * runs) / total))).fill(rows)
  })
}

/** Fisher and Yates. */
function shuffled(items: readonly number[], seed: number): number[] {
  const random = new Random(seed)
  const copy = [...items]
  for (let i = copy.length - 1; i > 0; i--) {
    const j = random.below(i + 1)
    ;[copy[i], copy[j]] = [copy[j]!, copy[i]!]
  }
  return copy
}

/** A tensor for each size, all views of one that holds the rows of the workload in turn. */
function feedsOf({ rows, bundle, modelInput, features }: Workload, sizes: readonly number[]) {
  const most = Math.max(...sizes)
  const data = new Float32Array(most * features)
  for (let row = 0; row < most; row++) data.set(rows[row % rows.length]!, row * features)
  const { rowShape } = bundle.spec.inputs[0]!
  return new Map(
    [...new Set(sizes)].map(size => {
      const tensor = new Tensor('float32', data.subarray(0, size * features), [size, ...rowShape])
      return [size, { [modelInput]: tensor }]
    }),
  )
}
