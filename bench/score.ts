// `sluice score` beside ONNX Runtime alone, which has its rows in memory already: rows a second and memory, for a file of any size.
//
//   node bench/score.ts --help

import { execFile, spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { readOptions, refuse, wholeNumber } from '../dev/command-line.ts'
import { READ_BYTES } from '../src/files/file-window.ts'
import type { ScoreSummary } from '../src/scoring/scoring.ts'
import type { RuntimeJob, RuntimeResult } from './limits/runtime-job.ts'
import { describeMachine, thisMachine } from './report/machine.ts'
import { markdownTable } from './report/markdown.ts'
import { record } from './report/record.ts'
import { countRuns, ratiosOf, showNumber, showSpread } from './report/statistics.ts'
import { peakRssMiB } from './usage.ts'
import { openWorkload, WORKLOADS, type Workload, type WorkloadName } from './workload.ts'

const HELP = `node bench/score.ts [OPTIONS]

Makes an Avro container file of a workload's records, scores it into another, and measures ONNX Runtime alone in batches of as
many rows as the worker's sessions are given at once from such a file: in turn, round by round. The files go when it is done.

  --rows N           of the file; 1000000 unless given
  --workload NAME    ffnn unless given; any whose records are Avro
  --sessions N       on the CPU; 1 unless given
  --runs N           rounds; 5 unless given
  --record           puts the table into bench/RESULTS.md, the figures into RESULTS.jsonl

Example: five million rows, 16 GB, in bounded memory
  node bench/score.ts --rows 5000000 --runs 1`

const CLI = fileURLToPath(new URL('../src/cli.ts', import.meta.url))
const RUNTIME = fileURLToPath(new URL('./limits/runtime.ts', import.meta.url))
const RUNTIME_SECONDS = 3
/** Of the Confluent framing, which a container file does not have. */
const FRAME_BYTES = 5
const SYNC = Buffer.alloc(16, 0x5a)
const POLL_MS = 50

interface Run {
  readonly rowsPerSecond: number
  readonly rssMiB: number
  readonly runtimeRowsPerSecond: number
}

const options = readOptions(HELP, {
  rows: { type: 'string' },
  workload: { type: 'string' },
  sessions: { type: 'string' },
  runs: { type: 'string' },
  record: { type: 'boolean', default: false },
})
const rows = wholeNumber('rows', options.rows, 1_000_000, 1)
const runs = wholeNumber('runs', options.runs, 5, 1)
const sessions = wholeNumber('sessions', options.sessions, 1, 1)
const name = WORKLOADS.find(each => each === (options.workload ?? 'ffnn')) ?? refuse(`there is no ${options.workload}`)
const workload = await openWorkload(name)
if (workload.format !== 'avro') refuse(`the records of ${name} are not Avro`)

const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-score-'))
try {
  const input = join(folder, 'input.avro')
  const written = writeContainer(input, workload, rows)
  const results: Run[] = []
  for (let run = 0; run < runs; run++) {
    const runtimeRowsPerSecond = await measureRuntime(name)
    results.push({ ...(await measureScore(input, join(folder, 'output.avro'))), runtimeRowsPerSecond })
  }
  report(results, written, statSync(input).size)
} finally {
  rmSync(folder, { recursive: true, force: true })
}

/** Writes at least so many rows, in blocks of the workload's records. Returns how many. */
function writeContainer(file: string, { values, bundle, field }: Workload, least: number): number {
  const records = Buffer.concat(values.map(value => value.subarray(FRAME_BYTES)))
  const fields = bundle.spec.inputs[0]!.features.map(feature => ({
    name: feature.name,
    type: feature.array ? { type: 'array', items: 'float' } : 'float',
  }))
  const schema = JSON.stringify({ type: 'record', name: field, fields })
  const block = Buffer.concat([long(values.length), long(records.length), records, SYNC])
  const out = openSync(file, 'wx')
  writeSync(out, Buffer.concat([Buffer.from('Obj\u0001'), long(1), ascii('avro.schema'), ascii(schema), long(0), SYNC]))
  let done = 0
  for (; done < least; done += values.length) writeSync(out, block)
  closeSync(out)
  return done
}

function ascii(value: string): Buffer {
  return Buffer.concat([long(value.length), Buffer.from(value)])
}

/** A whole number from 0 as an Avro long. */
function long(value: number): Buffer {
  const bytes: number[] = []
  let rest = value * 2
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Buffer.of(...bytes, rest)
}

async function measureScore(input: string, output: string): Promise<Omit<Run, 'runtimeRowsPerSecond'>> {
  const model = ['--model-store', workload.store, '--model', workload.modelName, '--sessions', `cpu*${sessions}`]
  const args = [CLI, 'score', '--json', '--force', '--input', input, '--output', output, ...model]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let rssMiB = 0
  const watch = setInterval(() => {
    rssMiB = Math.max(rssMiB, peakRssMiB(child.pid) ?? 0)
  }, POLL_MS)
  const printed = await text(child.stdout)
  clearInterval(watch)
  const { rowsPerSecond, deadLetters } = JSON.parse(printed) as ScoreSummary
  if (deadLetters > 0) throw new Error(`${deadLetters} rows of the bench are dead letters`)
  return { rowsPerSecond, rssMiB }
}

async function measureRuntime(workload: WorkloadName): Promise<number> {
  const bytes = statSync(join(folder, 'input.avro')).size / rows
  const size = Math.max(1, Math.min(4096, Math.floor(READ_BYTES / bytes)))
  const job: RuntimeJob = { workload, sizes: [{ rows: size, runs: 1 }], sessions, seconds: RUNTIME_SECONDS }
  const env = { ...process.env, RUNTIME_JOB: JSON.stringify(job) }
  const { stdout } = await promisify(execFile)(process.execPath, [RUNTIME], { env })
  const result = JSON.parse(stdout) as RuntimeResult
  return result.rows / result.seconds
}

function report(results: readonly Run[], written: number, bytes: number): void {
  const scored = results.map(({ rowsPerSecond }) => rowsPerSecond)
  const bare = results.map(({ runtimeRowsPerSecond }) => runtimeRowsPerSecond)
  const place = thisMachine()
  const lines = [
    `### score, ${name}`,
    `${showNumber(written)} rows, an Avro file of ${showNumber(bytes / 2 ** 20)} MiB, ${sessions === 1 ? 'one session' : `${sessions} sessions`}, ${countRuns(runs)}.`,
    markdownTable(
      ['', 'rows/s', 'RSS MiB'],
      [
        ['sluice score', showSpread(scored), showSpread(results.map(({ rssMiB }) => rssMiB))],
        ['limit: ONNX Runtime alone', showSpread(bare), '–'],
        ['ratio, run by run', showSpread(ratiosOf(scored, bare), 2), ''],
      ],
    ),
    `${describeMachine(place)}.`,
  ]
  const page = lines.join('\n\n')
  console.log(page)
  if (options.record)
    record([{ name: `score-${name}`, text: page, data: { place, rows: written, bytes, sessions, results } }])
}
