import { createRequire } from 'node:module'
import Cluster from 'kafkajs/src/cluster/index.js'
import loggers from 'kafkajs/src/loggers/index.js'
import './kafkajs-fixes.ts'
import './pieced-requests.ts'
import { SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { createSocket } from './receiving.ts'

/** How to reach the brokers. Secrets in here never reach a log. */
export interface ConnectionOptions {
  readonly brokers: readonly string[]
  readonly clientId: string
  readonly requestTimeoutMs: number
  /** Leaders are looked up again when a broker says that it is none; this catches what nobody says. */
  readonly metadataMaxAgeMs: number
  /** Options of node:tls, or undefined for plain text. */
  readonly tls?: Readonly<Record<string, unknown>> | undefined
  readonly sasl?: { readonly mechanism: string; readonly username: string; readonly password: string } | undefined
}

/** The version whose internals `kafkajs-internals.d.ts` describes. */
const KAFKAJS_VERSION = '2.2.4'

/** Short: the loops above retry with their own backoff, and tell people about it. */
const RETRY: KafkajsRetry = { initialRetryTime: 20, maxRetryTime: 500, retries: 3 }
const CONNECT_TIMEOUT_MS = 5_000

export interface ClusterTools {
  /** A new set of connections; the caller disconnects it. Nothing is opened until `connect`. */
  create(): KafkajsCluster
  readonly logger: KafkajsLogger
  readonly retry: KafkajsRetry
}

/**
 * Prepares connections to the brokers. A broker serves one request of a connection at a time, so whatever may block
 * (joining a group, a long fetch, a produce that waits for replicas) gets a cluster of its own.
 * @throws SluiceError `internal` when another kafkajs is installed than the one whose internals are used
 */
export function clusterTools(options: ConnectionOptions, log: Log): ClusterTools {
  checkVersion()
  const logger = kafkajsLogger(log)
  const create = () =>
    new Cluster({
      logger,
      retry: RETRY,
      socketFactory: createSocket,
      brokers: options.brokers,
      clientId: options.clientId,
      ssl: options.tls,
      sasl: options.sasl,
      connectionTimeout: CONNECT_TIMEOUT_MS,
      authenticationTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: options.requestTimeoutMs,
      enforceRequestTimeout: true,
      metadataMaxAge: options.metadataMaxAgeMs,
      allowAutoTopicCreation: false,
      isolationLevel: 1,
    })
  return { create, logger, retry: RETRY }
}

function checkVersion(): void {
  const { version } = createRequire(import.meta.url)('kafkajs/package.json') as { version: string }
  if (version === KAFKAJS_VERSION) return
  throw new SluiceError(
    'internal',
    `kafkajs ${version} is installed, but Sluice is built on the internals of ${KAFKAJS_VERSION}. Run npm ci.`,
  )
}

/**
 * kafkajs's own log goes to debug: what a person must know of it is said once, as a condition, in Sluice's words. Only
 * its message travels, because its fields may hold whole requests.
 */
function kafkajsLogger(log: Log): KafkajsLogger {
  const forward = (entry: { log: { message: string } }) => log.debug({}, `kafkajs: ${entry.log.message}`)
  const WARN = 2
  return loggers.createLogger({ level: WARN, logCreator: () => forward })
}

/** An API that arrived in some version with a release of Kafka, and what needs that release. */
interface Milestone {
  readonly api: string
  readonly key: number
  readonly version: number
  readonly release: string
  readonly need: string
}

/** Topics are read by their ids (Fetch 13, KIP-516). */
const TOPIC_IDS: Milestone = { api: 'Fetch', key: 1, version: 13, release: '3.1', need: 'Sluice needs' }

/** Before, coordinators may show a committed offset before they applied the transaction that moved it (KIP-890). */
const TRANSACTIONS: Milestone = { api: 'EndTxn', key: 26, version: 5, release: '4.0', need: 'exactly-once needs' }

/**
 * Refuses brokers that are older than the guarantee allows.
 * @throws SluiceError `broker-too-old`
 */
export function requireRelease(cluster: KafkajsCluster, exactlyOnce: boolean): void {
  const versions = cluster.brokerPool.seedBroker?.versions ?? {}
  for (const { api, key, version, release, need } of exactlyOnce ? [TRANSACTIONS, TOPIC_IDS] : [TOPIC_IDS]) {
    const newest = versions[key]?.maxVersion ?? 0
    if (newest >= version) continue
    throw new SluiceError(
      'broker-too-old',
      `The broker speaks ${api} up to version ${newest}, so it is older than Kafka ${release}, which ${need} here.`,
    )
  }
}

/**
 * Drops the connection to a broker that did not answer, because it may be half open. The next metadata refresh makes a
 * new one; the old one is ended in the background, since it first waits for its requests to time out. Not kafkajs's
 * `removeBroker`: with the last broker that takes the seed away, on which a refresh under way then fails for good.
 */
export async function forgetBroker(cluster: KafkajsCluster, broker: KafkajsBroker): Promise<void> {
  const { brokerPool: pool } = cluster
  const { host, port, rack } = broker.connectionPool
  const place = rack === undefined ? { host, port } : { host, port, rack }
  if (pool.seedBroker === broker) {
    const connectionPool = await pool.connectionPoolBuilder.build(place)
    const { nodeId } = broker
    if (pool.seedBroker === broker)
      pool.seedBroker = pool.createBroker({ connectionPool, logger: pool.rootLogger, nodeId })
  }
  // Others may have failed on the same connection before, and a new one may be in its place already: leave that alone.
  if (broker.nodeId !== null && pool.brokers[broker.nodeId] === broker) {
    delete pool.brokers[broker.nodeId]
    pool.metadataExpireAt = null
  }
  broker.disconnect().catch(() => {})
}

/** For when it is not known which broker did not answer. What is under way on the old connections is still answered. */
export async function forgetAllBrokers(cluster: KafkajsCluster): Promise<void> {
  await Promise.all(Object.values(cluster.brokerPool.brokers).map(broker => forgetBroker(cluster, broker)))
}
