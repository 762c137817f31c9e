import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
// Before kafkajs does anything: without it Node prints a warning about kafkajs's timers.
import '../../src/kafka/kafkajs-fixes.ts'
import { Kafka, type KafkaConfig, logLevel } from 'kafkajs'
import { loadSettings } from '../../src/config/load.ts'
import { envName, SETTING_KEYS, type Settings, settingOf } from '../../src/config/settings.ts'
import { connectionOptions } from '../../src/connection.ts'
import { startBroker } from '../broker.ts'
import { probeCoordinators } from '../broker-probe.ts'

/** `ConfigResourceTypes.BROKER`, which kafkajs exports in a way that ESM does not see. */
const BROKER_RESOURCE = 4

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const DOTENV = resolve(ROOT, '.env')
const COMPOSE_SERVICE = 'kafka'
const COMPOSE_BROKER = '127.0.0.1:9092'
const COMPOSE_TIMEOUT_MS = 60_000

/** Sessions of the demo's replicas: short, so that the crash is noticed soon. */
const SESSION_TIMEOUT_MS = 2_000
/** Kafka's default of `group.min.session.timeout.ms`. */
const USUAL_MIN_SESSION_MS = 6_000

/** How to talk to a Kafka. */
interface KafkaClient {
  readonly brokers: readonly string[]
  readonly client: Kafka
  /** KAFKA_*: how a worker reaches it, with its secrets. */
  readonly env: NodeJS.ProcessEnv
}

/** A Kafka for the demo. */
export interface DemoKafka extends KafkaClient {
  /** Where it comes from, for people: `started for this demo on 127.0.0.1:20123`. */
  readonly origin: string
  /** Whether topics and groups must be removed at the end, because the broker stays. */
  readonly stays: boolean
  /** Ends what was started for it. */
  stop(): Promise<void>
}

/**
 * The broker that KAFKA_BROKERS (environment or `.env`) names; otherwise one started from Maven Central's jars, which
 * cannot outlive this process; otherwise that of docker-compose.yml.
 * @throws with what to install when none of them works; the reason of `signal` when it was aborted; SluiceError
 *   `invalid-config` for a setting that is not allowed
 */
export async function findKafka(report: (line: string) => void, signal: AbortSignal): Promise<DemoKafka> {
  const { settings, sources } = loadSettings({ env: process.env, dotenvFile: DOTENV })
  if (sources.kafkaBrokers !== 'default') {
    const theirs = clientOf(settings)
    await requireAnswer(settings)
    return { ...theirs, origin: `yours on ${theirs.brokers.join(',')}`, stays: true, stop: async () => {} }
  }
  try {
    const broker = await startBroker({ report, properties: { 'group.min.session.timeout.ms': SESSION_TIMEOUT_MS } })
    const origin = `started for this demo on ${broker.bootstrap}`
    return { ...plainClient(broker.bootstrap), origin, stays: false, stop: () => broker.stop() }
  } catch (error) {
    // Ctrl-C reaches Maven too, and makes it fail.
    signal.throwIfAborted()
    const docker = await composeBroker(report)
    if (docker === undefined) throw error
    return docker
  }
}

/** The Kafka at these addresses, reached as the other KAFKA_* of the environment and of `.env` say. */
export function clientAt(brokers: string): KafkaClient {
  const env = { ...process.env, KAFKA_BROKERS: brokers }
  return clientOf(loadSettings({ env, dotenvFile: DOTENV }).settings)
}

/** The shortest session time-out that suits the demo and that the broker allows, in milliseconds. */
export async function sessionTimeoutMs(client: Kafka): Promise<number> {
  const name = 'group.min.session.timeout.ms'
  const admin = client.admin()
  try {
    await admin.connect()
    const { controller, brokers } = await admin.describeCluster()
    const node = String(controller ?? brokers[0]!.nodeId)
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: BROKER_RESOURCE, name: node, configNames: [name] }],
    })
    const least = Number(resources[0]?.configEntries[0]?.configValue)
    return Math.max(SESSION_TIMEOUT_MS, Number.isFinite(least) ? least : USUAL_MIN_SESSION_MS)
  } catch {
    // Not everybody may read the broker's configuration.
    return USUAL_MIN_SESSION_MS
  } finally {
    await admin.disconnect()
  }
}

async function requireAnswer(settings: Settings): Promise<void> {
  const brokers = settings.kafkaBrokers
  const admin = new Kafka({ ...configOf(settings), retry: { retries: 1, initialRetryTime: 200 } }).admin()
  try {
    await admin.connect()
    await admin.describeCluster()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(
      `KAFKA_BROKERS is ${brokers.join(',')}, and no broker answers there (${reason}). ` +
        'Start that broker, name another, or unset KAFKA_BROKERS: then the demo starts one of its own.',
      { cause: error },
    )
  } finally {
    await admin.disconnect().catch(() => {})
  }
}

/** Undefined without a Docker that answers. A broker that ran before is left running. */
async function composeBroker(report: (line: string) => void): Promise<DemoKafka | undefined> {
  const run = promisify(execFile)
  const compose = (...args: string[]) => run('docker', ['compose', ...args], { cwd: ROOT })
  const running = await compose('ps', '--status', 'running', '--services').catch(() => undefined)
  if (running === undefined) return undefined
  const ranBefore = running.stdout.split('\n').includes(COMPOSE_SERVICE)
  report('Starting the broker of docker-compose.yml. Docker may download it first…')
  await compose('up', '-d', COMPOSE_SERVICE)
  const stop = async () => {
    if (!ranBefore) await compose('stop', COMPOSE_SERVICE)
  }
  try {
    await untilCoordinatorsAnswer(COMPOSE_BROKER)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    ...plainClient(COMPOSE_BROKER),
    origin: `that of docker-compose.yml, on ${COMPOSE_BROKER}`,
    stays: true,
    stop,
  }
}

async function untilCoordinatorsAnswer(bootstrap: string): Promise<void> {
  const deadline = performance.now() + COMPOSE_TIMEOUT_MS
  for (;;) {
    try {
      return await probeCoordinators(bootstrap)
    } catch (error) {
      if (performance.now() > deadline) {
        throw new Error(
          `The broker of docker-compose.yml does not answer on ${bootstrap}; see "docker compose logs".`,
          {
            cause: error,
          },
        )
      }
      await delay(250)
    }
  }
}

/** For a broker that asks for nothing, whatever the environment says about others. */
function plainClient(bootstrap: string): KafkaClient {
  return clientOf(loadSettings({ env: { KAFKA_BROKERS: bootstrap } }).settings)
}

function clientOf(settings: Settings): KafkaClient {
  return { brokers: settings.kafkaBrokers, client: new Kafka(configOf(settings)), env: connectionEnv(settings) }
}

function configOf(settings: Settings): KafkaConfig {
  const { brokers, requestTimeoutMs, tls, sasl } = connectionOptions(settings)
  return {
    brokers: [...brokers],
    clientId: 'sluice-demo',
    requestTimeout: requestTimeoutMs,
    ...(tls === undefined ? {} : { ssl: tls }),
    ...(sasl === undefined ? {} : { sasl: sasl as NonNullable<KafkaConfig['sasl']> }),
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 50, retries: 8 },
  }
}

/** The connection's settings as text, secrets included; paths are absolute, because replicas run elsewhere. */
function connectionEnv(settings: Settings): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {}
  for (const key of SETTING_KEYS) {
    const value = settings[key]
    if (!key.startsWith('kafka') || value === undefined) continue
    const text = settingOf(key).kind.show(value)
    const isPath = key === 'kafkaSslCa' || key === 'kafkaSslCert' || key === 'kafkaSslKey'
    env[envName(key)] = isPath ? resolve(text) : text
  }
  return env
}
