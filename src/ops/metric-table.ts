/** The one table of metrics: the registry is made from it, and `docs/metrics.md` is generated from it. */

export const METRIC_GROUPS = ['Records', 'Batches', 'Latency', 'Partitions', 'Sessions', 'API', 'Worker'] as const

interface MetricRow {
  readonly group: (typeof METRIC_GROUPS)[number]
  readonly type: 'counter' | 'gauge' | 'histogram'
  /** Ends in its unit, and in `_total` if it is a counter, as Prometheus asks. */
  readonly name: `sluice_${string}`
  readonly labels: readonly string[]
  readonly help: string
  /** Upper bounds, of a histogram. */
  readonly buckets?: readonly number[]
  /** How the values of several I/O threads become the worker's: by their sum unless this says otherwise. */
  readonly ofThreads?: 'max' | 'min' | 'first'
}

const PARTITION = ['topic', 'partition'] as const
const MODEL = ['model', 'version'] as const

/** Seconds: from a row on an idle CPU to a stalled broker. */
const SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
] as const
/** Seconds: records may have waited in the topic for long. */
const LONG_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600,
] as const
/** Powers of two up to the most that MAX_BATCH_SIZE may be. */
const ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] as const

export const METRICS = {
  recordsIn: {
    group: 'Records',
    type: 'counter',
    name: 'sluice_records_in_total',
    labels: PARTITION,
    help: 'Records taken from the input topic.',
  },
  predictions: {
    group: 'Records',
    type: 'counter',
    name: 'sluice_predictions_total',
    labels: [...PARTITION, ...MODEL],
    help: 'Predictions made, by input partition.',
  },
  shadowPredictions: {
    group: 'Records',
    type: 'counter',
    name: 'sluice_shadow_predictions_total',
    labels: [...PARTITION, ...MODEL],
    help: 'Predictions of shadow versions made, by input partition.',
  },
  shadowDropped: {
    group: 'Records',
    type: 'counter',
    name: 'sluice_shadow_dropped_total',
    labels: [...PARTITION, ...MODEL, 'reason'],
    help: 'Records that go without the prediction of a shadow: it was `behind`, was `closed`, or the code of an error.',
  },
  deadLetters: {
    group: 'Records',
    type: 'counter',
    name: 'sluice_dead_letters_total',
    labels: [...PARTITION, 'code'],
    help: 'Records sent to the dead-letter topic, by error code.',
  },
  batchSize: {
    group: 'Batches',
    type: 'histogram',
    name: 'sluice_batch_size',
    labels: MODEL,
    buckets: ROWS,
    help: 'Rows in one run of the model.',
  },
  batchTrigger: {
    group: 'Batches',
    type: 'counter',
    name: 'sluice_batch_trigger_total',
    labels: [...MODEL, 'trigger'],
    help: 'Batches by what closed them: session-free, full or delay; with TARGET_LATENCY_MS also target-size, target-time or behind (docs/inference.md).',
  },
  batchLimit: {
    group: 'Batches',
    type: 'gauge',
    name: 'sluice_batch_limit_rows',
    labels: MODEL,
    ofThreads: 'max',
    help: 'With TARGET_LATENCY_MS: rows that a batch may have now.',
  },
  batchBudget: {
    group: 'Batches',
    type: 'gauge',
    name: 'sluice_batch_budget_seconds',
    labels: MODEL,
    ofThreads: 'min',
    help: 'With TARGET_LATENCY_MS: what of it is left for waiting and running, after the p99 of the time to commit. Negative: it cannot be held.',
  },
  runCostRow: {
    group: 'Batches',
    type: 'gauge',
    name: 'sluice_run_cost_row_seconds',
    labels: [...MODEL, 'provider'],
    ofThreads: 'max',
    help: 'What each row adds to the time of a run, by a line fitted to the runs of late.',
  },
  runCostFixed: {
    group: 'Batches',
    type: 'gauge',
    name: 'sluice_run_cost_fixed_seconds',
    labels: [...MODEL, 'provider'],
    ofThreads: 'max',
    help: 'What a run takes whatever its rows, by the same line.',
  },
  runCostTail: {
    group: 'Batches',
    type: 'gauge',
    name: 'sluice_run_cost_tail_seconds',
    labels: [...MODEL, 'provider'],
    ofThreads: 'max',
    help: 'How much longer than by that line a run takes at the p99.',
  },
  queue: {
    group: 'Latency',
    type: 'histogram',
    name: 'sluice_queue_seconds',
    labels: MODEL,
    buckets: SECONDS,
    help: 'Time that the oldest row of a batch waited for a session.',
  },
  input: {
    group: 'Latency',
    type: 'histogram',
    name: 'sluice_input_seconds',
    labels: MODEL,
    buckets: SECONDS,
    help: 'Time to decode the rows of a batch into its tensors.',
  },
  compute: {
    group: 'Latency',
    type: 'histogram',
    name: 'sluice_compute_seconds',
    labels: MODEL,
    buckets: SECONDS,
    help: 'Time of a batch in the runtime.',
  },
  output: {
    group: 'Latency',
    type: 'histogram',
    name: 'sluice_output_seconds',
    labels: PARTITION,
    buckets: SECONDS,
    help: 'Time to encode the predictions of a batch.',
  },
  commit: {
    group: 'Latency',
    type: 'histogram',
    name: 'sluice_commit_seconds',
    labels: PARTITION,
    buckets: SECONDS,
    help: 'Length of the transactions that committed.',
  },
  commitWait: {
    group: 'Latency',
    type: 'histogram',
    name: 'sluice_commit_wait_seconds',
    labels: PARTITION,
    buckets: SECONDS,
    help: 'From the first result of a transaction to its beginning: gathering, COMMIT_INTERVAL_MS, and waiting for a turn (MAX_CONCURRENT_COMMITS).',
  },
  endToEnd: {
    group: 'Latency',
    type: 'histogram',
    name: 'sluice_end_to_end_seconds',
    labels: PARTITION,
    buckets: LONG_SECONDS,
    help: "From a record's timestamp to the end of the transaction that carried its prediction; the oldest of a batch.",
  },
  lag: {
    group: 'Partitions',
    type: 'gauge',
    name: 'sluice_lag_records',
    labels: PARTITION,
    help: 'Records between the committed position and the end of the log (its last stable offset) as the last fetch saw it: it does not grow while nothing is fetched.',
  },
  inFlightRecords: {
    group: 'Partitions',
    type: 'gauge',
    name: 'sluice_in_flight_records',
    labels: PARTITION,
    help: 'Records read and not yet committed; MAX_IN_FLIGHT_RECORDS bounds them, MAX_IN_FLIGHT_RECORDS_TOTAL their sum.',
  },
  inFlightBytes: {
    group: 'Partitions',
    type: 'gauge',
    name: 'sluice_in_flight_bytes',
    labels: PARTITION,
    help: 'Memory of the records read and not yet committed; MAX_IN_FLIGHT_BYTES bounds it, MAX_IN_FLIGHT_BYTES_TOTAL the sum.',
  },
  paused: {
    group: 'Partitions',
    type: 'gauge',
    name: 'sluice_partition_paused',
    labels: PARTITION,
    help: '1 while the reading of a partition is paused because enough of it is in flight, otherwise 0.',
  },
  halted: {
    group: 'Partitions',
    type: 'gauge',
    name: 'sluice_partition_halted',
    labels: PARTITION,
    help: '1 while a partition is halted until a person decides, because records would be skipped or repeated; otherwise 0. /health/ready says why.',
  },
  transactions: {
    group: 'Partitions',
    type: 'counter',
    name: 'sluice_transactions_total',
    labels: [...PARTITION, 'outcome'],
    help: 'Transactions by outcome: committed, aborted or fenced.',
  },
  sessions: {
    group: 'Sessions',
    type: 'gauge',
    name: 'sluice_sessions',
    labels: MODEL,
    ofThreads: 'first',
    help: 'Sessions that could take a batch.',
  },
  sessionsBusy: {
    group: 'Sessions',
    type: 'gauge',
    name: 'sluice_sessions_busy',
    labels: MODEL,
    ofThreads: 'first',
    help: 'Sessions that run a batch now.',
  },
  sessionBusy: {
    group: 'Sessions',
    type: 'counter',
    name: 'sluice_session_busy_seconds_total',
    labels: [...MODEL, 'provider'],
    help: 'Time that sessions spent running batches; its rate over the sessions is their use.',
  },
  sessionEvents: {
    group: 'Sessions',
    type: 'counter',
    name: 'sluice_session_events_total',
    labels: [...MODEL, 'provider', 'event'],
    help: 'Sessions that crashed, hung or were distrusted because they failed on a good row, and that restarted after it.',
  },
  threadsLeftBehind: {
    group: 'Sessions',
    type: 'gauge',
    name: 'sluice_session_threads_left_behind',
    labels: MODEL,
    help: 'Threads that hang, in a run or while they open the model, and were left behind. The worker ends when there are 16, without those of requests.',
  },
  apiRequests: {
    group: 'API',
    type: 'counter',
    name: 'sluice_api_requests_total',
    labels: [...MODEL, 'outcome'],
    help: 'Requests for inference by outcome: `ok`, or the code of the error that they were refused with (docs/errors.md). Those refused before a model was known have none.',
  },
  apiRows: {
    group: 'API',
    type: 'counter',
    name: 'sluice_api_rows_total',
    labels: MODEL,
    help: 'Rows of the requests that were answered.',
  },
  apiSeconds: {
    group: 'API',
    type: 'histogram',
    name: 'sluice_api_request_seconds',
    labels: MODEL,
    buckets: SECONDS,
    help: 'From a request having been read to its answer being ready, of those answered.',
  },
  apiWaiting: {
    group: 'API',
    type: 'gauge',
    name: 'sluice_api_requests_waiting',
    labels: [],
    ofThreads: 'first',
    help: 'Requests for inference that are under way: being read, waiting or running. API_MAX_WAITING bounds them.',
  },
  rebalances: {
    group: 'Worker',
    type: 'counter',
    name: 'sluice_rebalances_total',
    labels: [],
    ofThreads: 'max',
    help: 'Times that the group handed out its partitions anew.',
  },
  ready: {
    group: 'Worker',
    type: 'gauge',
    name: 'sluice_ready',
    labels: [],
    help: '1 while the worker is ready, otherwise 0; /health/ready says why.',
  },
  buildInfo: {
    group: 'Worker',
    type: 'gauge',
    name: 'sluice_build_info',
    labels: ['release', 'node'],
    help: 'Always 1: the release of Sluice and the version of Node.',
  },
} as const satisfies Record<string, MetricRow>

export type MetricTable = typeof METRICS
