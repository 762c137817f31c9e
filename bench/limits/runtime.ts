// ONNX Runtime alone: rows of a workload through as many sessions as are asked for, each on a thread of its own as in the
// worker, in batches of the sizes that the worker had. Prints its result as one line of JSON.
//
//   node bench/limits/runtime.ts      RUNTIME_JOB, as JSON, in the environment

import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { cpuSeconds, peakRssMiB } from '../usage.ts'
import type { RuntimeJob, RuntimeResult, ThreadJob } from './runtime-job.ts'

const WARM_UP_MS = 500
const POLL_MS = 10

const job = JSON.parse(process.env.RUNTIME_JOB!) as RuntimeJob
const counts = new BigInt64Array(new SharedArrayBuffer(8 * job.sessions))
const stop = new Int32Array(new SharedArrayBuffer(4))
const url = new URL('./runtime-thread.ts', import.meta.url)
const threads = Array.from({ length: job.sessions }, (_, index) => {
  return new Worker(url, { workerData: { job, index, counts, stop } satisfies ThreadJob })
})

while (counts.some((_, i) => Atomics.load(counts, i) === 0n)) await delay(POLL_MS)
await delay(WARM_UP_MS)
const begin = sample()
await delay(job.seconds * 1000)
const end = sample()
Atomics.store(stop, 0, 1)
await Promise.all(threads.map(thread => once(thread, 'exit')))
const result: RuntimeResult = {
  rows: end.rows - begin.rows,
  seconds: (end.at - begin.at) / 1000,
  cpuSeconds: end.cpu === undefined || begin.cpu === undefined ? undefined : end.cpu - begin.cpu,
  rssMiB: peakRssMiB(process.pid),
}
console.log(JSON.stringify(result))

function sample() {
  const rows = Number(counts.reduce((sum, _, i) => sum + Atomics.load(counts, i), 0n))
  return { rows, at: performance.now(), cpu: cpuSeconds(process.pid) }
}
