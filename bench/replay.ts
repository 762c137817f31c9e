// A replay beside a live worker: how fast it is, what it does to the worker, and whether it says what the worker said. --help says more.

import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { readOptions, wholeNumber } from '../dev/command-line.ts'
import { copyVersions } from '../test/support/models.ts'
import { headerText, type LogRecord } from '../test/support/record-log.ts'
import { runSluice, spawnSluice } from '../test/support/sluice-process.ts'
import { readTopic } from '../test/support/topic-reader.ts'
import type { Contender } from './contender.ts'
import { ContenderProcess } from './contender-process.ts'
import { worker } from './contenders.ts'
import { fill } from './fill.ts'
import { latencyOf } from './latency/contender-latency.ts'
import type { LatencyResult } from './latency/measure.ts'
import { measure } from './measure.ts'
import { throughputOf, watch } from './progress.ts'
import { describeMachine, thisMachine } from './report/machine.ts'
import { markdownTable } from './report/markdown.ts'
import { record } from './report/record.ts'
import { ratiosOf, showSpread } from './report/statistics.ts'
import { type Input, Stage } from './stage.ts'
import { openWorkload, type Workload } from './workload.ts'

const HELP = `npm run bench:replay [-- options]

Starts a Kafka. First a worker and a replay go through the same full topic in turn: their records a second, and the ratio. Then
five versions of a model answer a topic, and while a live worker serves records at a fixed rate, a replay repeats what they said
(--model-version as-of), killed twice on the way: what that does to the worker's latency, and whether every value is the same,
byte for byte.

  --runs N      rounds of both, 5 unless given
  --seconds N   how long each run of the first part is measured, 6 unless given
  --records N   of the second part, 200000 unless given
  --rate N      records a second of the replay in the second part, 2500 unless given
  --live N      records a second of the live worker meanwhile, 1000 unless given
  --record      puts the tables into bench/RESULTS.md

Example: npm run bench:replay -- --runs 3`

const options = readOptions(HELP, {
  runs: { type: 'string' },
  seconds: { type: 'string' },
  records: { type: 'string' },
  rate: { type: 'string' },
  live: { type: 'string' },
  record: { type: 'boolean', default: false },
})
const RUNS = wholeNumber('runs', options.runs, 5, 1)
const SECONDS = wholeNumber('seconds', options.seconds, 6, 1)
const RECORDS = wholeNumber('records', options.records, 200_000, 1_000)
const RATE = wholeNumber('rate', options.rate, 2_500, 1)
const LIVE = wholeNumber('live', options.live, 1_000, 1)

const PARTITIONS = 4
/** More than a worker or a replay does in a second. */
const MOST_PER_SECOND = 1_800_000
const MODEL = 'iris-classifier'
const VERSIONS = ['1', '2', '3', '4', '5']
const KILLS_AT = [0.25, 0.6]
/** Each look costs the broker two requests, which the worker's latency pays for as well. */
const LOOK_EVERY_MS = 250

const FAULTS = ['lost', 'doubled', 'different'] as const
type Fault = (typeof FAULTS)[number]

const say = (line: string) => console.error(line)

interface Speeds {
  readonly worker: number[]
  readonly replay: number[]
}

/** Records a second of both, once a round. */
async function measureSpeeds(stage: Stage, workload: Workload): Promise<Speeds> {
  const input = await stage.createInput(workload, PARTITIONS, MOST_PER_SECOND * SECONDS)
  const speeds: Speeds = { worker: [], replay: [] }
  await measure(stage, worker(), input, { seconds: 2 })
  for (let round = 1; round <= RUNS; round++) {
    speeds.worker.push((await measure(stage, worker(), input, { seconds: SECONDS })).recordsPerSecond)
    speeds.replay.push(await measureReplay(stage, input))
    const [slow, fast] = [speeds.worker, speeds.replay].map(each => Math.round(each.at(-1)! / 1_000))
    say(`round ${round}/${RUNS}: worker ${slow} k/s, replay ${fast} k/s`)
  }
  await stage.dropInput(input)
  return speeds
}

async function measureReplay(stage: Stage, { workload, topic, records }: Input): Promise<number> {
  const id = stage.name('bench')
  const outputTopic = `${id}-out`
  await stage.createTopics([outputTopic, `${outputTopic}.dlq`], PARTITIONS)
  const folder = await stage.folder(workload)
  const groupId = `replay-${id}`
  const job = { brokers: stage.bootstrap, groupId, inputTopic: topic, outputTopic, workload, folder }
  const running = await ContenderProcess.start(
    replayer(id).command({ ...job, guarantee: 'exactly-once' }),
    folder,
    'replay',
  )
  try {
    const look = async () => ({ done: await stage.done(groupId, topic), cpu: undefined, brokerCpu: undefined })
    return throughputOf(await watch({ look, seconds: SECONDS, records, died: running.died })).recordsPerSecond
  } finally {
    await running.stop()
    await stage.deleteTopics([outputTopic, `${outputTopic}.dlq`])
  }
}

/** `sluice replay` with the settings of the worker. */
function replayer(id: string): Contender {
  const base = worker('replay')
  return {
    name: 'replay',
    command: job => {
      const { file, args, env } = base.command({ ...job, groupId: 'nobody' })
      return {
        file,
        args: [args[0]!, 'replay', '--replay-id', id],
        env: { ...env, DEAD_LETTER_TOPIC: `${job.outputTopic}.dlq` },
      }
    },
  }
}

/** A topic that five versions have answered, a fifth of the records each. */
class Answered {
  readonly env: Readonly<Record<string, string>>
  readonly #input: string
  readonly #output: string
  /** The live worker, in whose folder the schemas are. */
  readonly #running: ContenderProcess
  #predictions: ReadonlyMap<string, string> = new Map()

  private constructor(env: Record<string, string>, input: string, output: string, running: ContenderProcess) {
    this.env = env
    this.#input = input
    this.#output = output
    this.#running = running
  }

  static async create(stage: Stage, workload: Workload, store: string): Promise<Answered> {
    copyVersions(store, MODEL, VERSIONS, [MODEL, 'iris-xgboost'])
    const groupId = stage.name('answered')
    const [input, output] = [`${groupId}-in`, `${groupId}-out`]
    await stage.createTopics([input, output, `${input}.dlq`], PARTITIONS)
    const folder = await stage.folder(workload)
    const env = {
      KAFKA_BROKERS: stage.bootstrap,
      GROUP_ID: groupId,
      INPUT_TOPIC: input,
      ROLLOUT_TOPIC: `${groupId}-rollout`,
      TIMELINE_TOPIC: `${groupId}-timeline`,
      MODEL_STORE: store,
      MODEL_NAME: MODEL,
      SCHEMA_DIR: join(folder, 'schemas'),
    }
    const live = { ...env, OUTPUT_TOPIC: output, HTTP_PORT: '0', LOG_FORMAT: 'json' }
    const args = [new URL('../src/cli.ts', import.meta.url).pathname, 'worker']
    const running = await ContenderProcess.start({ file: process.execPath, args, env: live }, folder, 'worker')
    const answered = new Answered(env, input, output, running)
    await running.ready()
    const share = Math.floor(RECORDS / VERSIONS.length)
    for (const [i, version] of VERSIONS.entries()) {
      const { code, stderr } = await runSluice(['model', 'promote', MODEL, version], { env: live })
      if (code !== 0) throw new Error(stderr)
      await fill({
        brokers: [stage.bootstrap],
        topic: input,
        partitions: PARTITIONS,
        values: workload.values,
        records: share,
      })
      while ((await stage.done(groupId, input)) < share * (i + 1)) await Promise.race([delay(20), running.died])
    }
    answered.#predictions = valuesOf(await read(stage, output))
    say(`${answered.#predictions.size} records of ${input} are answered by ${VERSIONS.length} versions`)
    return answered
  }

  async close(): Promise<void> {
    await this.#running.stop()
  }

  /** Replays it as of then, killed twice on the way. */
  async replay(stage: Stage, id: string): Promise<void> {
    const output = this.#outputOf(id)
    const args = [
      'replay',
      '--replay-id',
      id,
      '--output-topic',
      output,
      '--model-version',
      'as-of',
      '--rate',
      String(RATE),
    ]
    for (const share of KILLS_AT) {
      const killed = spawnSluice(args, { env: this.env })
      const over = once(killed, 'close')
      while ((await stage.done(`replay-${id}`, this.#input)) < share * RECORDS && killed.exitCode === null)
        await delay(LOOK_EVERY_MS)
      killed.kill('SIGKILL')
      await over
    }
    const last = spawnSluice(args, { env: this.env })
    let errors = ''
    last.stderr!.on('data', chunk => {
      errors += chunk
    })
    last.stdout!.resume()
    const [code] = await once(last, 'close')
    if (code !== 0) throw new Error(`The replay ended with ${code}: ${errors}`)
  }

  /** @returns how many values of a replay are missing, twice there, or different */
  async compare(stage: Stage, id: string): Promise<Record<Fault, number>> {
    const output = this.#outputOf(id)
    const records = await read(stage, output)
    const again = valuesOf(records)
    await stage.deleteTopics([output, `${output}.dlq`])
    const different = [...again].filter(([source, value]) => this.#predictions.get(source) !== value).length
    return { lost: this.#predictions.size - again.size, doubled: records.length - again.size, different }
  }

  #outputOf(id: string): string {
    return `${this.#output}-${id}`
  }
}

async function read(stage: Stage, topic: string): Promise<LogRecord[]> {
  process.env.KAFKA_BROKERS = stage.bootstrap
  return readTopic(topic)
}

/** Confluent's framing: the schema of another topic has another id. */
const FRAME_BYTES = 5

/** Version and value by source. */
function valuesOf(records: readonly LogRecord[]): Map<string, string> {
  return new Map(
    records.map(record => {
      const value = `${headerText(record, 'model-version')} ${record.value?.toString('latin1', FRAME_BYTES)}`
      return [headerText(record, 'source')!, value]
    }),
  )
}

interface Beside {
  readonly alone: LatencyResult[]
  readonly beside: LatencyResult[]
  readonly faults: Record<Fault, number>
}

/** The worker's latency alone and beside a replay, in turn. */
async function measureBeside(stage: Stage, workload: Workload, answered: Answered): Promise<Beside> {
  const found: Beside = { alone: [], beside: [], faults: { lost: 0, doubled: 0, different: 0 } }
  const seconds = Math.ceil(RECORDS / RATE) + 10
  for (let round = 1; round <= RUNS; round++) {
    const load = {
      workload,
      guarantee: 'exactly-once',
      partitions: PARTITIONS,
      steps: [{ rate: LIVE, seconds }],
      seed: round,
    } as const
    found.alone.push(await latencyOf(stage, worker(), load))
    const id = `again-${round}`
    const [beside] = await Promise.all([latencyOf(stage, worker(), load), answered.replay(stage, id)])
    found.beside.push(beside)
    // Afterwards: reading two hundred thousand records takes more than the replay does.
    const faults = await answered.compare(stage, id)
    for (const kind of FAULTS) found.faults[kind] += faults[kind]
    const p99 = (result: LatencyResult) => result.whole.latencyMs.p99.toFixed(1)
    say(
      `round ${round}/${RUNS}: p99 ${p99(found.alone.at(-1)!)} ms alone, ${p99(beside)} ms beside; ${JSON.stringify(faults)}`,
    )
  }
  return found
}

function report(speeds: Speeds, { alone, beside, faults }: Beside): string {
  const quantile = (results: readonly LatencyResult[], of: 'p50' | 'p99') =>
    results.map(({ whole }) => whole.latencyMs[of])
  const thousands = (values: readonly number[]) =>
    showSpread(
      values.map(value => value / 1_000),
      0,
    )
  const rows = (['p50', 'p99'] as const).map(of => {
    const [without, with_] = [quantile(alone, of), quantile(beside, of)]
    return [`${of}, ms`, showSpread(without, 1), showSpread(with_, 1), showSpread(ratiosOf(with_, without), 2)]
  })
  return [
    '## Predicting again',
    '',
    `\`npm run bench:replay -- --record\`. ${describeMachine(thisMachine())}`,
    '',
    markdownTable(
      ['iris, records/s', 'worker', 'replay', 'times'],
      [
        [
          'thousands',
          thousands(speeds.worker),
          thousands(speeds.replay),
          showSpread(ratiosOf(speeds.replay, speeds.worker), 2),
        ],
      ],
    ),
    '',
    `A live worker at ${LIVE} records/s, alone and beside a replay as of then at ${RATE} records/s that is killed twice on its way`,
    `through ${RECORDS} records of ${VERSIONS.length} versions. Over all ${RUNS} rounds: lost ${faults.lost}, doubled ${faults.doubled}, with another value`,
    `${faults.different}.`,
    '',
    markdownTable(['live worker', 'alone', 'beside a replay', 'times'], rows),
  ].join('\n')
}

const stage = await Stage.open(say)
const store = await mkdtemp(join(tmpdir(), 'sluice-replay-'))
try {
  const speeds = await measureSpeeds(stage, await openWorkload('iris'))
  const workload = await openWorkload('iris-forest')
  const answered = await Answered.create(stage, workload, store)
  try {
    const beside = await measureBeside(stage, workload, answered)
    const text = report(speeds, beside)
    console.log(text)
    if (options.record) record([{ name: 'replay', text, data: { speeds, beside } }])
  } finally {
    await answered.close()
  }
} finally {
  await rm(store, { recursive: true, force: true })
  await stage.close()
}
