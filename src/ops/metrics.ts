import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import {
  type ApiTelemetry,
  BATCH_TRIGGERS,
  type BatcherTelemetry,
  type BatchTrigger,
  type PartitionTelemetry,
  type PoolTelemetry,
  type SessionEvent,
} from '../core/telemetry.ts'
import { METRICS, type MetricTable } from './metric-table.ts'

interface MetricsOptions {
  /** Release of Sluice; undefined on a thread that another one speaks for. */
  readonly release: string | undefined
  /** Whether to add prom-client's metrics of the process: CPU, memory, event loop, garbage collection. */
  readonly process: boolean
}

interface ModelLabels {
  readonly model: string
  readonly version: string
}

interface PartitionLabels extends ModelLabels {
  readonly topic: string
  readonly partition: number
}

/** What a thread has counted, as prom-client hands it over: plain data, for a message. */
export type MetricsSnapshot = readonly object[]

/** What the worker has done since it started, over all partitions. */
export interface Totals {
  readonly recordsIn: number
  readonly predictions: number
  readonly deadLetters: number
}

type MetricOf<Type, Label extends string> = {
  counter: Counter<Label>
  gauge: Gauge<Label>
  histogram: Histogram<Label>
}[Type & ('counter' | 'gauge' | 'histogram')]

type Metric = {
  readonly [K in keyof MetricTable]: MetricOf<MetricTable[K]['type'], MetricTable[K]['labels'][number]>
}

/**
 * All metrics of one worker, or of one of its I/O threads. A reporter binds its labels once, and its series exist, at zero,
 * from the moment that it does, so that a rate sees the first event. All the calls for a batch and its transaction take
 * about 5 µs together, most of which prom-client spends on joining the bound labels; that is why nothing here is called once
 * a record.
 */
export class Metrics {
  readonly #registry = new Registry()
  readonly #process = new Registry()
  readonly #metric: Metric
  readonly #totals = { recordsIn: 0, predictions: 0, deadLetters: 0 }
  readonly #versions: Record<string, number> = {}
  #ofThreads: () => Promise<readonly MetricsSnapshot[]> = async () => []

  constructor(options: MetricsOptions) {
    this.#metric = createMetrics(this.#registry)
    const { release } = options
    if (release !== undefined) this.#metric.buildInfo.set({ release, node: process.version }, 1)
    if (options.process) collectDefaultMetrics({ register: this.#process })
  }

  get totals(): Totals {
    return { ...this.#totals }
  }

  /** Predictions by model version. */
  get versions(): Readonly<Record<string, number>> {
    return { ...this.#versions }
  }

  rebalanced(): void {
    this.#metric.rebalances.inc()
  }

  ready(value: boolean): void {
    this.#metric.ready.set(Number(value))
  }

  /** Whether an input partition is halted; undefined when it is not ours any more. */
  halted(topic: string, partition: number, value: boolean | undefined): void {
    const at = { topic, partition: String(partition) }
    if (value === undefined) this.#metric.halted.remove(at)
    else this.#metric.halted.set(at, Number(value))
  }

  /** The reporter of one assignment of an input partition, which `version` of the model answers at first. */
  partition(labels: PartitionLabels): PartitionTelemetry {
    const metric = this.#metric
    const totals = this.#totals
    const versions = this.#versions
    const at = { topic: labels.topic, partition: String(labels.partition) }
    const recordsIn = started(metric.recordsIn.labels(at))
    const { model } = labels
    const predictions = lazily((version: string) => started(metric.predictions.labels({ ...at, model, version })))
    predictions(labels.version)
    const deadLetters = lazily((code: string) => metric.deadLetters.labels({ ...at, code }))
    const output = metric.output.labels(at)
    const endToEnd = metric.endToEnd.labels(at)
    const commit = metric.commit.labels(at)
    const commitWait = metric.commitWait.labels(at)
    const lag = metric.lag.labels(at)
    const inFlightRecords = metric.inFlightRecords.labels(at)
    const inFlightBytes = metric.inFlightBytes.labels(at)
    const paused = metric.paused.labels(at)
    const outcomes = {
      committed: started(metric.transactions.labels({ ...at, outcome: 'committed' })),
      aborted: started(metric.transactions.labels({ ...at, outcome: 'aborted' })),
      fenced: started(metric.transactions.labels({ ...at, outcome: 'fenced' })),
    }
    paused.set(0)

    return {
      recordsIn(count) {
        totals.recordsIn += count
        recordsIn.inc(count)
      },
      predictions(version, count) {
        totals.predictions += count
        versions[version] = (versions[version] ?? 0) + count
        predictions(version).inc(count)
      },
      shadow(version) {
        const of = { ...at, model, version }
        const shadowed = started(metric.shadowPredictions.labels(of))
        const dropped = lazily((reason: string) => metric.shadowDropped.labels({ ...of, reason }))
        return { predictions: count => shadowed.inc(count), dropped: (reason, count) => dropped(reason).inc(count) }
      },
      deadLetter(code) {
        totals.deadLetters++
        deadLetters(code).inc()
      },
      outputMs: ms => output.observe(ms / 1000),
      endToEndMs: ms => endToEnd.observe(ms / 1000),
      transaction(outcome, ms) {
        outcomes[outcome].inc()
        if (outcome === 'committed') commit.observe(ms / 1000)
      },
      commitWaitMs: ms => commitWait.observe(ms / 1000),
      lag: records => lag.set(records),
      inFlight(records, bytes) {
        inFlightRecords.set(records)
        inFlightBytes.set(bytes)
      },
      paused: value => paused.set(Number(value)),
      remove() {
        metric.lag.remove(at)
        metric.inFlightRecords.remove(at)
        metric.inFlightBytes.remove(at)
        metric.paused.remove(at)
      },
    }
  }

  /** The reporter of the batcher of one model version. */
  batcher({ model, version }: ModelLabels): BatcherTelemetry {
    const metric = this.#metric
    const at = { model, version }
    const size = metric.batchSize.labels(at)
    const triggers = Object.fromEntries(
      BATCH_TRIGGERS.map(trigger => [trigger, started(metric.batchTrigger.labels({ ...at, trigger }))]),
    ) as Record<BatchTrigger, Counter.Internal>
    const queue = metric.queue.labels(at)
    const input = metric.input.labels(at)
    const compute = metric.compute.labels(at)
    const sessions = metric.sessions.labels(at)
    const sessionsBusy = metric.sessionsBusy.labels(at)
    const sessionBusy = lazily((provider: string) => metric.sessionBusy.labels({ ...at, provider }))

    return {
      batch(rows, trigger, timings) {
        size.observe(rows)
        triggers[trigger].inc()
        queue.observe(timings.queueMs / 1000)
        input.observe(timings.inputMs / 1000)
        compute.observe(timings.computeMs / 1000)
      },
      sessions(busy, size) {
        sessionsBusy.set(busy)
        sessions.set(size)
      },
      sessionBusyMs: (provider, ms) => sessionBusy(provider).inc(ms / 1000),
      runCost(provider, { rowMs, fixedMs, tailMs }) {
        metric.runCostRow.set({ ...at, provider }, rowMs / 1000)
        metric.runCostFixed.set({ ...at, provider }, fixedMs / 1000)
        metric.runCostTail.set({ ...at, provider }, tailMs / 1000)
      },
      batchLimit(rows, budgetMs) {
        metric.batchLimit.set(at, rows)
        metric.batchBudget.set(at, budgetMs / 1000)
      },
    }
  }

  /** The reporter of the session pool of one model version. */
  pool({ model, version }: ModelLabels): PoolTelemetry {
    const at = { model, version }
    const { sessionEvents, threadsLeftBehind } = this.#metric
    threadsLeftBehind.set(at, 0)
    return {
      sessionOpened(provider) {
        for (const event of SESSION_EVENTS) sessionEvents.inc({ ...at, provider, event }, 0)
      },
      sessionEvent: (provider, event) => sessionEvents.inc({ ...at, provider, event }),
      threadsLeftBehind: count => threadsLeftBehind.set(at, count),
    }
  }

  /** The reporter of the inference API. */
  api(): ApiTelemetry {
    const { apiRequests, apiRows, apiSeconds, apiWaiting } = this.#metric
    apiWaiting.set(0)
    const served = lazily((key: string) => {
      const [model, version] = key.split('\0') as [string, string]
      const at = { model, version }
      const ok = started(apiRequests.labels({ ...at, outcome: 'ok' }))
      return { ok, rows: started(apiRows.labels(at)), seconds: apiSeconds.labels(at) }
    })
    return {
      waiting: requests => apiWaiting.set(requests),
      answered(model, version, rows, ms) {
        const series = served(`${model}\0${version}`)
        series.ok.inc()
        series.rows.inc(rows)
        series.seconds.observe(ms / 1000)
      },
      refused: (model, version, outcome) => apiRequests.inc({ model, version, outcome }),
    }
  }

  /** For the thread that shows them. */
  async snapshot(): Promise<MetricsSnapshot> {
    return this.#registry.getMetricsAsJSON()
  }

  /** Has what other threads have counted shown as this worker's own; `snapshots` is asked each time. */
  include(snapshots: () => Promise<readonly MetricsSnapshot[]>): void {
    this.#ofThreads = snapshots
  }

  /** Everything in the text format of Prometheus. */
  async expose(): Promise<{ readonly contentType: string; readonly body: string }> {
    const others = await this.#ofThreads()
    const registry = others.length === 0 ? this.#registry : await this.#mergedWith(others)
    const parts = await Promise.all([registry.metrics(), this.#process.metrics()])
    return { contentType: this.#registry.contentType, body: parts.join('\n') }
  }

  /** Its own come first: what only one thread can know, this one does. */
  async #mergedWith(others: readonly MetricsSnapshot[]): Promise<Registry> {
    return AggregatorRegistry.aggregate([await this.snapshot(), ...others])
  }
}

const SESSION_EVENTS: readonly SessionEvent[] = ['crashed', 'hung', 'distrusted', 'restarted']

function createMetrics(registry: Registry): Metric {
  const metrics = Object.entries(METRICS).map(([key, row]) => [key, createMetric(row, registry)])
  return Object.fromEntries(metrics)
}

function createMetric(row: MetricTable[keyof MetricTable], registry: Registry) {
  const options = {
    name: row.name,
    help: row.help,
    labelNames: [...row.labels],
    registers: [registry],
    aggregator: 'ofThreads' in row ? row.ofThreads : ('sum' as const),
  }
  switch (row.type) {
    case 'counter':
      return new Counter(options)
    case 'gauge':
      return new Gauge(options)
    case 'histogram':
      return new Histogram({ ...options, buckets: [...row.buckets] })
  }
}

/** Makes the series of a counter visible at zero. */
function started<C extends { inc(by: number): void }>(counter: C): C {
  counter.inc(0)
  return counter
}

/** Remembers what `make` made, for labels whose values are not known beforehand but are few. */
function lazily<T>(make: (value: string) => T): (value: string) => T {
  const made = new Map<string, T>()
  return value => {
    let it = made.get(value)
    if (it === undefined) {
      it = make(value)
      made.set(value, it)
    }
    return it
  }
}
