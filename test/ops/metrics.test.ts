import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { METRICS } from '../../src/ops/metric-table.ts'
import { Metrics } from '../../src/ops/metrics.ts'

const MODEL = { model: 'iris', version: '3' }
const AT = { topic: 'iris-features', partition: 2 }

interface Family {
  type: string
  help: string
  /** Names of labels that were seen, but for the buckets' `le`. */
  labels: Set<string>
  /** Value by series, labels in order of their names. */
  series: Map<string, number>
}

/** Reads the text format of Prometheus as its specification has it, apart from escapes. */
function parseExposition(body: string): Map<string, Family> {
  const families = new Map<string, Family>()
  const family = (name: string) => {
    if (!families.has(name)) families.set(name, { type: '', help: '', labels: new Set(), series: new Map() })
    return families.get(name)!
  }
  for (const line of body.split('\n')) {
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line)
    if (comment) {
      const [, kind, name, text] = comment
      family(name!)[kind === 'HELP' ? 'help' : 'type'] = text!
      continue
    }
    if (line === '') continue
    const [, name, labels = '', value] = /^([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? (\S+)$/i.exec(line) ?? assert.fail(line)
    const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([pair, label]) => [label!, pair] as const)
    const owner = families.has(name!) ? name! : name!.replace(/_(bucket|sum|count)$/, '')
    for (const [label] of pairs) if (label !== 'le') family(owner).labels.add(label)
    const sorted = pairs.map(([, pair]) => pair).sort()
    family(owner).series.set(`${name}{${sorted.join(',')}}`, Number(value))
  }
  return families
}

/** One of everything, so that every series is there. */
function exercised(): Metrics {
  const metrics = new Metrics({ release: '1.2.3', process: false })
  const partition = metrics.partition({ ...AT, ...MODEL })
  partition.recordsIn(10)
  partition.predictions(MODEL.version, 8)
  const shadow = partition.shadow('4')
  shadow.predictions(3)
  shadow.dropped('behind', 2)
  partition.deadLetter('invalid-avro')
  partition.deadLetter('invalid-avro')
  partition.outputMs(2)
  partition.endToEndMs(1500)
  partition.transaction('committed', 20)
  partition.transaction('aborted', 9000)
  partition.commitWaitMs(5)
  partition.lag(42)
  partition.inFlight(7, 4096)
  partition.paused(true)
  const batcher = metrics.batcher(MODEL)
  batcher.batch(64, 'full', { queueMs: 4, inputMs: 0.3, computeMs: 7 })
  batcher.batch(1, 'session-free', { queueMs: 0, inputMs: 0.1, computeMs: 1 })
  batcher.sessions(1, 2)
  batcher.sessionBusyMs('cpu', 2500)
  batcher.runCost('cpu', { rowMs: 0.25, fixedMs: 2, tailMs: 1 })
  batcher.batchLimit(96, 45)
  const pool = metrics.pool(MODEL)
  pool.sessionOpened('cpu')
  pool.sessionEvent('cpu', 'hung')
  pool.threadsLeftBehind(1)
  metrics.halted(AT.topic, AT.partition, true)
  const api = metrics.api()
  api.waiting(2)
  api.answered(MODEL.model, MODEL.version, 3, 5)
  api.refused(MODEL.model, MODEL.version, 'overloaded')
  metrics.rebalanced()
  metrics.ready(true)
  return metrics
}

const read = async (metrics: Metrics) => parseExposition((await metrics.expose()).body)

describe('metrics', () => {
  test('what is served is what the table says, both ways', async () => {
    const families = await read(exercised())
    const rows = Object.values(METRICS)
    assert.deepEqual([...families.keys()].sort(), rows.map(row => row.name).sort())
    for (const row of rows) {
      const family = families.get(row.name)!
      assert.equal(family.type, row.type, row.name)
      assert.equal(family.help, row.help, row.name)
      assert.deepEqual([...family.labels].sort(), [...row.labels].sort(), row.name)
      assert.ok(family.series.size > 0, row.name)
    }
  })

  test('names follow the rules of Prometheus', () => {
    for (const { name, type } of Object.values(METRICS)) {
      assert.match(name, /^sluice_[a-z_]+$/)
      assert.equal(name.endsWith('_total'), type === 'counter', name)
    }
  })

  test('numbers arrive, in seconds, under their labels', async () => {
    const families = await read(exercised())
    const value = (series: string) => families.get(series.replace(/(_bucket|_sum|_count)?\{.*/, ''))?.series.get(series)
    const at = 'partition="2",topic="iris-features"'
    const model = 'model="iris",version="3"'
    const expected: Record<string, number> = {
      [`sluice_records_in_total{${at}}`]: 10,
      [`sluice_predictions_total{model="iris",${at},version="3"}`]: 8,
      [`sluice_dead_letters_total{code="invalid-avro",${at}}`]: 2,
      [`sluice_output_seconds_sum{${at}}`]: 0.002,
      [`sluice_end_to_end_seconds_sum{${at}}`]: 1.5,
      [`sluice_commit_seconds_sum{${at}}`]: 0.02,
      [`sluice_commit_seconds_count{${at}}`]: 1,
      [`sluice_transactions_total{outcome="aborted",${at}}`]: 1,
      [`sluice_transactions_total{outcome="fenced",${at}}`]: 0,
      [`sluice_lag_records{${at}}`]: 42,
      [`sluice_partition_paused{${at}}`]: 1,
      [`sluice_partition_halted{${at}}`]: 1,
      [`sluice_batch_size_bucket{le="1",${model}}`]: 1,
      [`sluice_batch_size_bucket{le="64",${model}}`]: 2,
      [`sluice_batch_size_sum{${model}}`]: 65,
      'sluice_batch_trigger_total{model="iris",trigger="delay",version="3"}': 0,
      'sluice_batch_trigger_total{model="iris",trigger="full",version="3"}': 1,
      'sluice_batch_trigger_total{model="iris",trigger="behind",version="3"}': 0,
      'sluice_run_cost_row_seconds{model="iris",provider="cpu",version="3"}': 0.00025,
      'sluice_run_cost_fixed_seconds{model="iris",provider="cpu",version="3"}': 0.002,
      'sluice_run_cost_tail_seconds{model="iris",provider="cpu",version="3"}': 0.001,
      [`sluice_batch_limit_rows{${model}}`]: 96,
      [`sluice_batch_budget_seconds{${model}}`]: 0.045,
      [`sluice_queue_seconds_sum{${model}}`]: 0.004,
      [`sluice_compute_seconds_sum{${model}}`]: 0.008,
      [`sluice_sessions{${model}}`]: 2,
      [`sluice_sessions_busy{${model}}`]: 1,
      'sluice_session_busy_seconds_total{model="iris",provider="cpu",version="3"}': 2.5,
      'sluice_rebalances_total{}': 1,
      'sluice_ready{}': 1,
      [`sluice_build_info{node="${process.version}",release="1.2.3"}`]: 1,
    }
    const actual = Object.fromEntries(Object.keys(expected).map(series => [series, value(series)]))
    assert.deepEqual(actual, expected)
  })

  test('a partition that leaves takes its gauges along, keeps its counters, and may come back', async () => {
    const metrics = new Metrics({ release: '1', process: false })
    const first = metrics.partition({ ...AT, ...MODEL })
    first.lag(5)
    first.recordsIn(3)
    first.remove()
    metrics.halted(AT.topic, AT.partition, true)
    metrics.halted(AT.topic, AT.partition, undefined)
    const gone = await read(metrics)
    assert.equal(gone.get('sluice_lag_records')!.series.size, 0)
    assert.equal(gone.get('sluice_partition_paused')!.series.size, 0)
    assert.equal(gone.get('sluice_partition_halted')!.series.size, 0)
    metrics.partition({ ...AT, ...MODEL }).recordsIn(4)
    const back = await read(metrics)
    assert.deepEqual([...back.get('sluice_records_in_total')!.series.values()], [7])
    assert.deepEqual([...back.get('sluice_partition_paused')!.series.values()], [0])
  })

  test('totals are sums over partitions', () => {
    const metrics = exercised()
    metrics.partition({ topic: 'iris-features', partition: 0, ...MODEL }).recordsIn(5)
    assert.deepEqual(metrics.totals, { recordsIn: 15, predictions: 8, deadLetters: 2 })
  })

  test('what several threads have counted is shown as one worker’s', async () => {
    const thread = (partition: number, records: number) => {
      const metrics = new Metrics({ release: undefined, process: false })
      const of = metrics.partition({ topic: 'iris-features', partition, ...MODEL })
      of.recordsIn(records)
      of.lag(records)
      of.transaction('committed', 40)
      metrics.batcher(MODEL).batch(records, 'full', { queueMs: 1, inputMs: 1, computeMs: 1 })
      // Threads see the same sessions, and the same rebalances or fewer of them.
      metrics.batcher(MODEL).sessions(2, 2)
      for (let i = 0; i < records; i++) metrics.rebalanced()
      return metrics
    }
    const worker = new Metrics({ release: '1.2.3', process: true })
    worker.batcher(MODEL).sessions(1, 2)
    worker.ready(true)
    worker.include(async () => structuredClone(await Promise.all([thread(0, 3), thread(1, 5)].map(t => t.snapshot()))))
    const families = await read(worker)
    const series = (name: string) => Object.fromEntries(families.get(name)!.series)
    const model = 'model="iris",version="3"'
    const at = (partition: number) => `{partition="${partition}",topic="iris-features"}`
    assert.deepEqual(series('sluice_records_in_total'), {
      [`sluice_records_in_total${at(0)}`]: 3,
      [`sluice_records_in_total${at(1)}`]: 5,
    })
    assert.equal(series('sluice_lag_records')[`sluice_lag_records${at(1)}`], 5)
    const sizes = series('sluice_batch_size')
    assert.equal(sizes[`sluice_batch_size_count{${model}}`], 2)
    assert.equal(sizes[`sluice_batch_size_sum{${model}}`], 8)
    assert.equal(sizes[`sluice_batch_size_bucket{le="4",${model}}`], 1)
    assert.equal(sizes[`sluice_batch_size_bucket{le="+Inf",${model}}`], 2)
    assert.deepEqual(Object.values(series('sluice_sessions')), [2])
    assert.deepEqual(Object.values(series('sluice_sessions_busy')), [1])
    assert.deepEqual(Object.values(series('sluice_rebalances_total')), [5])
    assert.deepEqual(Object.values(series('sluice_ready')), [1])
    assert.deepEqual(Object.values(series('sluice_build_info')), [1])
    assert.ok(families.has('process_start_time_seconds'))
  })

  test('the process says how it is, if asked', async () => {
    const families = await read(new Metrics({ release: '1', process: true }))
    for (const name of ['process_cpu_seconds_total', 'process_resident_memory_bytes', 'nodejs_eventloop_lag_seconds']) {
      assert.ok(families.has(name), name)
    }
  })
})
