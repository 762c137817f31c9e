import {
  boolean,
  brokers,
  fraction,
  integer,
  type Kind,
  milliseconds,
  name,
  oneOf,
  path,
  store,
  text,
  topic,
  url,
} from './kinds.ts'

/**
 * The one table of settings. The type {@link Settings}, the loader, the options of the command line, `sluice config`
 * and `docs/settings.md` all come from it.
 */

/** In the order of the docs. */
export const GROUPS = [
  'Kafka',
  'Topics',
  'Rollout',
  'Model',
  'Format',
  'Threads',
  'Batching',
  'Delivery',
  'Limits',
  'HTTP',
  'API',
  'Log',
] as const
type Group = (typeof GROUPS)[number]

/** One row. `D` is the type of its default: the value's, or undefined where a setting may be left out. */
interface Setting<T, D extends T | undefined = T | undefined> {
  readonly group: Group
  readonly kind: Kind<T>
  readonly default: D
  /** One line, for people. */
  readonly doc: string
  readonly unit?: string
  /** A value that is never shown. */
  readonly secret?: true
  /** A default that follows from another setting: its value with a suffix, unset when that is unset. */
  readonly derived?: { readonly of: string; readonly suffix: string }
}

type Extras<T> = Pick<Setting<T>, 'unit' | 'secret' | 'derived'>

const set = <T>(
  group: Group,
  kind: Kind<T>,
  value: NoInfer<T>,
  doc: string,
  extras: Extras<T> = {},
): Setting<T, T> => ({
  group,
  kind,
  default: value,
  doc,
  ...extras,
})

const unset = <T>(group: Group, kind: Kind<T>, doc: string, extras: Extras<T> = {}): Setting<T, undefined> => ({
  group,
  kind,
  default: undefined,
  doc,
  ...extras,
})

const ms = { unit: 'ms' }
const bytes = { unit: 'bytes' }
const secret = { secret: true } as const
const MAX_BYTES = 1 << 30
const FORMATS = oneOf('avro', 'avro-raw', 'json')

const SETTINGS = {
  kafkaBrokers: set('Kafka', brokers, ['127.0.0.1:9092'], 'Brokers to ask first; they name the rest of the cluster.'),
  kafkaClientId: set('Kafka', text, 'sluice', 'Name of this client in the logs and quotas of the brokers.'),
  kafkaSsl: set('Kafka', boolean, false, 'Talk TLS to the brokers.'),
  kafkaSslCa: unset('Kafka', path, 'PEM file of the authorities to trust instead of the usual ones.'),
  kafkaSslCert: unset('Kafka', path, 'PEM file of the certificate that this client shows.'),
  kafkaSslKey: unset('Kafka', path, 'PEM file of the private key of KAFKA_SSL_CERT.'),
  kafkaSslVerify: set(
    'Kafka',
    boolean,
    true,
    'Refuse brokers whose certificate is not trusted. Turn off only to test.',
  ),
  kafkaSaslMechanism: set(
    'Kafka',
    oneOf('none', 'plain', 'scram-sha-256', 'scram-sha-512'),
    'none',
    'How this client proves who it is.',
  ),
  kafkaSaslUsername: unset('Kafka', text, 'User name for SASL.'),
  kafkaSaslPassword: unset('Kafka', text, 'Password for SASL.', secret),
  metadataMaxAgeMs: set(
    'Kafka',
    milliseconds(100),
    60_000,
    'How long leaders and partition counts are believed; so long a new partition may wait for a reader.',
    ms,
  ),
  requestTimeoutMs: set('Kafka', milliseconds(100), 10_000, 'How long a request to a broker may take.', ms),

  groupId: set('Topics', text, 'sluice', 'Consumer group; replicas with the same one share the partitions.'),
  inputTopic: unset('Topics', topic, 'Topic of feature records.'),
  outputTopic: unset('Topics', topic, 'Topic of predictions.'),
  deadLetterTopic: unset('Topics', topic, 'Topic of the records that cannot be predicted.', {
    derived: { of: 'inputTopic', suffix: '.dlq' },
  }),
  startFrom: set(
    'Topics',
    oneOf('earliest', 'latest'),
    'earliest',
    'Where to begin on a partition on which the group has never worked.',
  ),
  onOffsetLoss: set(
    'Topics',
    oneOf('stop', 'continue'),
    'stop',
    'When input records were lost (docs/exactly-once.md): stop the partition until a person decides, or read on.',
  ),

  rolloutTopic: set(
    'Rollout',
    topic,
    'rollout',
    'Compacted topic that says which versions of a model serve; `sluice model promote` and its like write it.',
  ),
  timelineTopic: set(
    'Rollout',
    topic,
    'timeline',
    'Topic that keeps which version answered from which offset on, written in the transaction that makes it true.',
  ),

  modelOpenTimeoutMs: set(
    'Rollout',
    milliseconds(1_000),
    600_000,
    'How long a version that is rolled out may take to open and to repeat its golden samples. At the start of a worker it may take for ever.',
    ms,
  ),

  modelStore: set(
    'Model',
    store,
    'models',
    'Where model bundles are, `<name>/<version>/` each: a folder, or `s3://bucket/prefix` (docs/models.md).',
  ),
  modelStoreEndpoint: unset('Model', url, 'S3-compatible server of the bucket. Unset: Amazon S3.'),
  modelStoreRegion: unset(
    'Model',
    text,
    'Region of the bucket. Unset: AWS_REGION or the profile says it, or us-east-1.',
  ),
  modelStorePathStyle: unset(
    'Model',
    boolean,
    'Name the bucket in the path of the address instead of its host. Unset: if MODEL_STORE_ENDPOINT is set.',
  ),
  modelStoreTimeoutMs: set(
    'Model',
    milliseconds(100),
    10_000,
    'How long a bucket may be silent, and a small request to it may take with all its retries; then it counts as away.',
    ms,
  ),
  modelCacheDir: set(
    'Model',
    path,
    '.cache/models',
    'Folder for what was downloaded from a bucket. Workers may share it; a worker starts from it when the bucket is away.',
  ),
  modelName: unset('Model', name, 'Model to serve.'),
  modelVersion: unset('Model', name, 'Version to serve. Unset: the highest.'),
  sessions: set(
    'Model',
    text,
    'cpu*1',
    'Sessions by execution provider, device and count: `cpu*2`, `cuda:0*2,cuda:1*2`, `tensorrt:0,cpu`; `cuda:0|cpu` falls back.',
  ),
  intraOpThreads: set(
    'Model',
    integer(0, 1024),
    1,
    'Threads of one session on a CPU; 0 divides the cores by sessions. With 1 a row gives the same bits in every batch of two rows or more (docs/inference.md).',
    {
      unit: 'threads',
    },
  ),

  runTimeoutMs: set(
    'Model',
    milliseconds(0),
    60_000,
    'How long one run of the model may take; then its thread is left behind and its rows run again. 0 waits for ever.',
    ms,
  ),

  inputFormat: set(
    'Format',
    FORMATS,
    'avro',
    'How records are encoded: `avro` has the Confluent framing, `avro-raw` none and one schema for all.',
  ),
  inputSchema: unset('Format', path, 'Avro schema file that all records were written with, for `avro-raw`.'),
  outputFormat: set('Format', FORMATS, 'avro', 'How predictions are encoded.'),
  schemaRegistryUrl: unset('Format', url, 'Confluent-compatible schema registry. Unset: SCHEMA_DIR stands in for it.'),
  schemaRegistryUsername: unset('Format', text, 'User name for the registry.'),
  schemaRegistryPassword: unset('Format', text, 'Password for the registry.', secret),
  schemaDir: set('Format', path, 'schemas', 'Folder whose `ids.json` maps schema ids to files, without a registry.'),
  allowNonFinite: set(
    'Format',
    boolean,
    false,
    'Take NaN and infinity as features instead of dead-lettering the record.',
  ),

  ioThreads: set(
    'Threads',
    integer(1, 64),
    1,
    'Threads that read, decode, encode and write, each a member of the group; all share the sessions (docs/operations.md). With more than one, limits of the worker are divided among them.',
    { unit: 'threads' },
  ),

  maxBatchSize: set('Batching', integer(1, 65_536), 4096, 'Most rows in one run of the model.', { unit: 'rows' }),
  maxQueueDelayMs: set(
    'Batching',
    milliseconds(0),
    0,
    'How long a free session may wait for a fuller batch; 0 takes what is there. With TARGET_LATENCY_MS, the most that it may wait, and 0 sets no bound.',
    ms,
  ),
  targetLatencyMs: set(
    'Batching',
    milliseconds(0),
    0,
    'What 99 of 100 records may take from being fetched to the commit of their predictions; batches then adapt to hold it, unless the worker is behind (docs/inference.md). 0 for no target.',
    ms,
  ),

  processingGuarantee: set(
    'Delivery',
    oneOf('exactly-once', 'at-least-once'),
    'exactly-once',
    'Predictions and offsets in one transaction, or offsets after predictions: faster, with repeats after a failure.',
  ),
  commitIntervalMs: set(
    'Delivery',
    milliseconds(0),
    0,
    'Least time from the beginning of one transaction of a partition to that of the next. A partition reads at most MAX_IN_FLIGHT_RECORDS in that time, so it bounds the throughput, too. 0: as soon as it pays.',
    ms,
  ),
  maxConcurrentCommits: set(
    'Delivery',
    integer(1, 1024),
    2,
    'Commits of this worker under way at once, of either guarantee; other partitions wait their turn and commit more at a time. At least one for each of IO_THREADS; one that takes more than 200 ms gives its turn away.',
    { unit: 'transactions' },
  ),
  sessionTimeoutMs: set(
    'Delivery',
    milliseconds(1000),
    10_000,
    'How long the group waits for a sign of life before others take the partitions. Brokers refuse less than their group.min.session.timeout.ms, usually 6000.',
    ms,
  ),
  rebalanceTimeoutMs: set(
    'Delivery',
    milliseconds(1000),
    30_000,
    'How long the group waits for its members to rejoin in a rebalance.',
    ms,
  ),
  transactionTimeoutMs: set(
    'Delivery',
    milliseconds(1000),
    30_000,
    'After this the broker aborts a transaction that its owner left open.',
    ms,
  ),
  drainTimeoutMs: set(
    'Delivery',
    milliseconds(0),
    20_000,
    'How long a stopping worker may take to finish what is in flight; the rest is left to its successor.',
    ms,
  ),

  maxInFlightRecords: set(
    'Limits',
    integer(1, 10_000_000),
    32_768,
    'Records of one partition that are read but not committed; then its reading pauses. A partition that catches up commits about half of it at a time.',
    { unit: 'records' },
  ),
  maxInFlightBytes: set(
    'Limits',
    integer(1024, MAX_BYTES),
    33_554_432,
    'Memory of the records of one partition (decompressed, and 40 bytes each) that are read but not committed; then its reading pauses.',
    bytes,
  ),
  maxInFlightRecordsTotal: set(
    'Limits',
    integer(1, 100_000_000),
    262_144,
    'Records of all partitions of this worker that are read but not committed. No partition may hold more than is left: a hot one gets half at most, each of n hot ones 1/(n+1).',
    { unit: 'records' },
  ),
  maxInFlightBytesTotal: set(
    'Limits',
    integer(1024, 2 ** 40),
    134_217_728,
    'Memory of the records of all partitions that are read but not committed, likewise.',
    bytes,
  ),
  maxRecordBytes: set(
    'Limits',
    integer(1, MAX_BYTES),
    1_048_576,
    'Largest value of a record; larger are dead letters.',
    bytes,
  ),
  maxOutputBytes: set(
    'Limits',
    integer(1024, MAX_BYTES),
    900_000,
    "Largest prediction, and largest batch, that is produced; keep it below the output topics' max.message.bytes.",
    bytes,
  ),
  fetchMaxWaitMs: set('Limits', milliseconds(0), 100, 'How long a broker may hold a fetch that finds nothing new.', ms),
  fetchMaxBytes: set(
    'Limits',
    integer(1024, MAX_BYTES),
    1_048_576,
    'Most bytes of one partition in one fetch (Kafka calls it max.partition.fetch.bytes); a whole answer has at most 16 MiB.',
    bytes,
  ),

  httpHost: set('HTTP', text, '127.0.0.1', 'Address to listen on; `0.0.0.0` for all.'),
  httpPort: set(
    'HTTP',
    integer(0, 65_535),
    0,
    'Port to listen on; 0 picks a free one and logs it, so replicas on one machine need no care.',
  ),

  httpApi: set(
    'API',
    boolean,
    true,
    'Answer the Open Inference Protocol v2 in the worker too, with its sessions (docs/api.md). `sluice serve` always does.',
  ),
  apiDeadlineMs: set(
    'API',
    milliseconds(1),
    1_000,
    'How long a request may wait for a session; then it is refused with 503 and not run. A request may ask for less (`timeout`).',
    ms,
  ),
  apiShare: set(
    'API',
    fraction(0, 0.9),
    0.1,
    "Share of the time of a version's sessions that requests get while records wait for them; what records leave over they get besides. 0: only that.",
  ),
  apiMaxBodyBytes: set(
    'API',
    integer(1024, MAX_BYTES),
    33_554_432,
    'Largest body of a request, and of an answer.',
    bytes,
  ),
  apiMaxRows: set('API', integer(1, 10_000_000), 65_536, 'Most rows of a request.', { unit: 'rows' }),
  apiMaxWaiting: set(
    'API',
    integer(1, 1_000_000),
    1_024,
    'Requests that are under way at once, over all models; more are refused with 503.',
    { unit: 'requests' },
  ),
  apiMaxWaitingBytes: set(
    'API',
    integer(1024, 2 ** 40),
    268_435_456,
    'Bodies of the requests that are under way at once, and answers that are not yet sent, likewise.',
    bytes,
  ),

  logLevel: set(
    'Log',
    oneOf('debug', 'info', 'warn', 'error', 'silent'),
    'info',
    'Least important level that is logged.',
  ),
  logFormat: set('Log', oneOf('auto', 'json', 'pretty'), 'auto', '`auto` is pretty on a terminal, otherwise JSON.'),
}

type Table = typeof SETTINGS
type ValueOf<S> = S extends { kind: Kind<infer T>; default: infer D }
  ? D extends undefined
    ? T | undefined
    : T
  : never

export type SettingKey = keyof Table

/** Values of all settings, after every check. Undefined is what has no default and was not set. */
export type Settings = { readonly [K in SettingKey]: ValueOf<Table[K]> }

export const SETTING_KEYS = Object.keys(SETTINGS) as readonly SettingKey[]

/** A row, seen without knowing its type; `kind.show` then takes a value of this very setting only. */
export function settingOf(key: SettingKey): Setting<unknown> {
  return SETTINGS[key] as unknown as Setting<unknown>
}

/** `maxBatchSize` → `MAX_BATCH_SIZE`. */
export function envName(key: SettingKey): string {
  return key.replace(/[A-Z]/g, letter => `_${letter}`).toUpperCase()
}

/** `maxBatchSize` → `max-batch-size`, without the dashes in front. */
export function optionName(key: SettingKey): string {
  return key.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)
}
