// Throughput of the worker against an echo that only copies records, in the same run, on a broker of its own.
//
//   npm run bench -- [--records N] [--runs N] [--json]

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import { startBroker } from '../dev/broker.ts'
import { type Measurement, measure } from './progress.ts'
import { type Table, table } from './table.ts'
import { irisBatch } from './workload.ts'

process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '1000000' },
    runs: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const RECORDS = Number(values.records)
const RUNS = Number(values.runs)
const PARTITIONS = 4
/** Bytes of an iris-classifier prediction: framing, label, three probabilities. */
const PREDICTION_BYTES = 20
const MODEL = 'iris-classifier'

if (values.help) {
  console.log(`npm run bench -- [--records N] [--runs N] [--json]

Publishes N iris records (default 1000000) to a topic of ${PARTITIONS} partitions, then lets an echo and a worker go through
them in turn, RUNS times (default 5), each in a fresh group. Prints medians and the ratio, run by run.

Example: npm run bench -- --records 200000 --runs 3`)
  process.exit(0)
}

const say = (line: string) => console.error(line)
const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
const broker = await startBroker({ report: say })
let child: ChildProcess | undefined
try {
  const kafka = new Kafka({ brokers: [broker.bootstrap], logLevel: logLevel.NOTHING })
  const admin = kafka.admin()
  await admin.connect()
  await cp('schemas', join(folder, 'schemas'), { recursive: true })
  await fill(kafka, admin)
  const pairs: { echo: Measurement; worker: Measurement }[] = []
  for (let run = 1; run <= RUNS; run++) {
    const echo = await measureOne(admin, `echo-${run}`, echoCommand)
    const worker = await measureOne(admin, `worker-${run}`, workerCommand)
    pairs.push({ echo, worker })
    say(`run ${run}/${RUNS}: echo ${rate(echo)}, worker ${rate(worker)}, ratio ${ratio(echo, worker).toFixed(2)}`)
  }
  await admin.disconnect()
  const result = summary(pairs)
  console.log(values.json ? JSON.stringify({ ...result, pairs }, null, 2) : table(result))
} finally {
  child?.kill('SIGKILL')
  await broker.stop()
  await rm(folder, { recursive: true, force: true })
}

async function fill(kafka: Kafka, admin: Admin): Promise<void> {
  const topics = ['features', 'features.dlq'].map(topic => ({ topic, numPartitions: PARTITIONS }))
  await admin.createTopics({ topics, waitForLeaders: true })
  const producer = kafka.producer()
  await producer.connect()
  const CHUNK = 5000
  for (let sent = 0; sent < RECORDS; sent += CHUNK) {
    await producer.send({ topic: 'features', messages: irisBatch(sent, Math.min(CHUNK, RECORDS - sent)) })
  }
  await producer.disconnect()
  say(`published ${RECORDS} iris records of 21 bytes`)
}

type StartCommand = (name: string) => readonly string[]

function echoCommand(name: string): readonly string[] {
  return ['bench/echo.ts', 'features', `${name}-out`, name, String(PREDICTION_BYTES)]
}

function workerCommand(name: string): readonly string[] {
  const options = {
    'group-id': name,
    'input-topic': 'features',
    'output-topic': `${name}-out`,
    'model-name': MODEL,
    'schema-dir': join(folder, 'schemas'),
    'http-port': '0',
    'log-level': 'error',
  }
  return ['src/cli.ts', 'worker', ...Object.entries(options).flatMap(([option, value]) => [`--${option}`, value])]
}

async function measureOne(admin: Admin, name: string, command: StartCommand): Promise<Measurement> {
  const topics = [{ topic: `${name}-out`, numPartitions: PARTITIONS }]
  await admin.createTopics({ topics, waitForLeaders: true })
  const env = { ...process.env, KAFKA_BROKERS: broker.bootstrap }
  child = spawn(process.execPath, [...command(name)], { env, stdio: ['ignore', 'inherit', 'inherit'] })
  const ended = once(child, 'exit')
  const died = ended.then(() => Promise.reject(new Error(`${name} ended before it was done`)))
  const measurement = await Promise.race([measure(admin, name, 'features', RECORDS, child.pid!), died])
  died.catch(() => {})
  child.kill('SIGTERM')
  await ended
  await admin.deleteTopics({ topics: [`${name}-out`] })
  return measurement
}

function ratio(echo: Measurement, worker: Measurement): number {
  return worker.recordsPerSecond / echo.recordsPerSecond
}

function rate({ recordsPerSecond, cpuSecondsPerMillion }: Measurement): string {
  const cpu = cpuSecondsPerMillion === undefined ? '' : ` (${cpuSecondsPerMillion.toFixed(1)} CPU s per million)`
  return `${Math.round(recordsPerSecond / 1000)} k/s${cpu}`
}

function summary(pairs: readonly { echo: Measurement; worker: Measurement }[]): Table {
  const machine = `${availableParallelism()} cores, ${cpus()[0]?.model ?? 'unknown processor'}, Node ${process.version}`
  return {
    title: `${MODEL}: ${RECORDS} records, ${PARTITIONS} partitions, exactly once, ${RUNS} runs; ${machine}`,
    echo: pairs.map(pair => pair.echo),
    worker: pairs.map(pair => pair.worker),
    ratios: pairs.map(pair => ratio(pair.echo, pair.worker)),
  }
}
