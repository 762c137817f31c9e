// Runs models on a GPU, or another execution provider, beside the CPU: are the predictions the same, and how fast are they?
//
//   npm run gpu-check [-- --sessions cuda:0 --workload ffnn --record]

import { performance } from 'node:perf_hooks'
import { describeMachine, thisMachine } from '../bench/report/machine.ts'
import { markdownTable } from '../bench/report/markdown.ts'
import { record } from '../bench/report/record.ts'
import { openWorkload, WORKLOADS, type Workload, type WorkloadName } from '../bench/workload.ts'
import { readOptions, refuse } from '../dev/command-line.ts'
import { systemClock } from '../src/core/clock.ts'
import { messageOf } from '../src/core/errors.ts'
import { silentLog } from '../src/core/log.ts'
import { unpackRow } from '../src/core/rows.ts'
import type { TensorSlot } from '../src/core/tensor.ts'
import { outputDifference } from '../src/models/verification.ts'
import { openModel, type ServedModel } from '../src/serving/serving.ts'

const HELP = `npm run gpu-check [-- options]

Opens models in the worker's own pool, once on the CPU and once as --sessions says, runs the same rows on both, and compares the
predictions within the tolerance of the bundle. Then measures rows a second for each batch size, median of five. Needs what
docs/inference.md says of GPUs: the provider's libraries beside the runtime, CUDA and cuDNN. Exit code 1 when a prediction differs,
or the provider cannot be had.

  --sessions S     as the setting SESSIONS; one session is measured. cuda:0 unless given
  --workload NAME  ${WORKLOADS.join(', ')}; may be repeated. Unless given: ffnn and heavy
  --record         puts the table into bench/RESULTS.md

Example: npm run gpu-check -- --sessions tensorrt:0 --workload heavy`

const BATCHES = [1, 8, 64, 256, 1_024, 4_096]
const RUNS = 5
/** Of one run of a batch size. */
const MEASURE_MS = 400
const WARM_UP_MS = 200

interface Measured {
  readonly provider: string
  /** Rows a second by batch size; those that the slot does not hold are missing. */
  readonly speeds: ReadonlyMap<number, number>
}

const options = readOptions(HELP, {
  sessions: { type: 'string', default: 'cuda:0' },
  workload: { type: 'string', multiple: true, default: ['ffnn', 'heavy'] },
  record: { type: 'boolean', default: false },
})
const unknown = options.workload.filter(name => !(WORKLOADS as readonly string[]).includes(name))
if (unknown.length > 0) refuse(`No workload is called ${unknown.join(', ')}`)

function open({ store, modelName, modelVersion }: Workload, sessions: string): Promise<ServedModel> {
  const settings = {
    modelStore: store,
    modelStoreTimeoutMs: 10_000,
    modelCacheDir: '',
    modelName,
    modelVersion,
    sessions,
  }
  const tools = { log: silentLog, clock: systemClock }
  return openModel({ ...settings, intraOpThreads: 0, maxBatchSize: BATCHES.at(-1)!, runTimeoutMs: 0 }, tools)
}

function fill(slot: TensorSlot, { rows, features }: Workload): void {
  const data = slot.inputs[0]!.data as Float32Array
  for (let row = 0; row < slot.capacity; row++) data.set(rows[row % rows.length]!, row * features)
}

/** Runs `batch` rows again and again. Returns rows a second. */
async function speed({ pool }: ServedModel, slot: TensorSlot, batch: number): Promise<number> {
  const runFor = async (ms: number) => {
    const begin = performance.now()
    let rows = 0
    while (performance.now() - begin < ms) {
      await pool.run(slot, 0, batch)
      rows += batch
    }
    return (rows / (performance.now() - begin)) * 1000
  }
  await runFor(WARM_UP_MS)
  const runs: number[] = []
  for (let run = 0; run < RUNS; run++) runs.push(await runFor(MEASURE_MS))
  return runs.toSorted((a, b) => a - b)[RUNS >> 1]!
}

async function measure(model: ServedModel, slot: TensorSlot): Promise<Measured> {
  const speeds = new Map<number, number>()
  for (const batch of BATCHES.filter(size => size <= slot.capacity)) speeds.set(batch, await speed(model, slot, batch))
  return { provider: (await model.pool.run(slot, 0, 1)).provider, speeds }
}

/** How the predictions of the two differ, in words; undefined where they are within the tolerance. */
async function difference(onCpu: ServedModel, there: ServedModel, slots: readonly [TensorSlot, TensorSlot]) {
  const rows = Math.min(slots[0].capacity, slots[1].capacity)
  await Promise.all([onCpu.pool.run(slots[0], 0, rows), there.pool.run(slots[1], 0, rows)])
  const { outputs, tolerance } = onCpu.spec
  for (let row = 0; row < rows; row++) {
    const [expected, got] = [unpackRow(outputs, slots[0].outputs, row), unpackRow(outputs, slots[1].outputs, row)]
    for (const output of outputs) {
      const problem = outputDifference(output, expected[output.field], got[output.field], output.tolerance ?? tolerance)
      if (problem !== undefined) return `row ${row}: ${problem} (the CPU's)`
    }
  }
  return undefined
}

/** A row of the table for each batch size. */
async function check(name: WorkloadName): Promise<string[][]> {
  const workload = await openWorkload(name)
  const onCpu = await open(workload, 'cpu')
  const there = await open(workload, options.sessions).catch(async error => {
    await onCpu.close()
    throw error
  })
  try {
    const slots = [onCpu.pool.acquire()!, there.pool.acquire()!] as const
    for (const slot of slots) fill(slot, workload)
    const wrong = await difference(onCpu, there, [...slots])
    if (wrong !== undefined) throw new Error(`${name} predicts otherwise on ${options.sessions}: ${wrong}`)
    console.error(`  ${name}: the predictions agree; measuring`)
    const [cpu, other] = [await measure(onCpu, slots[0]), await measure(there, slots[1])]
    return [...cpu.speeds].map(([batch, rows]) => {
      const on = other.speeds.get(batch) ?? 0
      return [name, String(batch), thousands(rows), `${thousands(on)} on ${other.provider}`, (on / rows).toFixed(2)]
    })
  } finally {
    await Promise.all([onCpu.close(), there.close()])
  }
}

const thousands = (value: number) => Math.round(value).toLocaleString('en')

try {
  const rows: string[][] = []
  for (const name of options.workload) rows.push(...(await check(name as WorkloadName)))
  const table = markdownTable(['model', 'batch', 'rows/s on the CPU', 'rows/s there', 'times'], rows)
  const machine = thisMachine()
  const text = `### ${options.sessions} beside the CPU\n\n${table}\n\nOne session each, medians of ${RUNS} runs. ${describeMachine(machine)}.`
  if (options.record)
    record([{ name: `provider-${options.sessions.replace(/\W+/g, '-')}`, text, data: { machine, rows } }])
  console.log(text)
  process.exit(0)
} catch (error) {
  console.error(messageOf(error))
  process.exit(1)
}
