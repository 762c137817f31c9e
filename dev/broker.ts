import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Address,
  aloneProperties,
  type BrokerListeners,
  type BrokerUser,
  JVM_FLAGS,
  type ServerProperties,
  serverProperties,
} from './broker-config.ts'
import { probeCoordinators } from './broker-probe.ts'
import { GuardedServer } from './guarded.ts'
import { findJava, runJava } from './java.ts'
import { mavenFolder } from './maven.ts'
import { freePorts } from './ports.ts'
import { untilReady } from './ready.ts'

/** How to start a broker; the defaults suit a test. */
export interface BrokerOptions {
  /** Server properties on top of ours; they win. */
  readonly properties?: ServerProperties
  /** Adds a SASL/PLAIN listener and an authorizer that lets the `restricted` user do nothing until an ACL allows it. */
  readonly acls?: boolean
  /** Address of a proxy. Adds a listener for it to forward to, whose clients are told to connect to the proxy. */
  readonly advertise?: Address
  /** Up in two thirds of the time, and slower once it is warm: for a broker that lives for seconds. */
  readonly quickStart?: boolean
  /** How long the coordinators may take to answer. */
  readonly startTimeoutMs?: number
  /** Hears one line per step that takes long. */
  readonly report?: (line: string) => void
}

/** The listener that asks who you are: SASL/PLAIN without TLS. */
export interface SaslListener {
  readonly bootstrap: string
  /** May do everything. */
  readonly admin: BrokerUser
  /** May do what ACLs for `User:restricted` say, at first nothing. */
  readonly restricted: BrokerUser
}

const STOP_PATIENCE_MS = 20_000

/** JVM flags: the first compiler tier alone. Most of a broker's start is compilation. */
export const QUICK_START: readonly string[] = ['-XX:TieredStopAtLevel=1']

/**
 * Starts a single-node Kafka on free ports of 127.0.0.1 with an empty data folder, and resolves when all its group and
 * transaction coordinators answer. It stops with this process, however that ends; `stop()` it when done.
 * Throws, with the broker's log from its first error on, when it does not come up, and with what to install when Java or
 * Maven is missing.
 */
export async function startBroker(options: BrokerOptions = {}): Promise<Broker> {
  const kafka = await findKafka(options.report)
  const [port, controllerPort, saslPort, proxiedPort] = (await freePorts(4)) as [number, number, number, number]
  const sasl = options.acls
    ? { port: saslPort, superUser: newUser('admin'), users: [newUser('restricted')] as const }
    : undefined
  const proxied = options.advertise && { port: proxiedPort, advertise: options.advertise }
  const listeners: BrokerListeners = { port, controllerPort, proxied, sasl }
  const bootstrap = `127.0.0.1:${port}`

  const broker = await Broker.create({
    ...kafka,
    listeners,
    properties: [aloneProperties(listeners), options.properties ?? {}],
    // Makes this node the only voter of its own quorum.
    format: ['--standalone', `--cluster-id=${newClusterId()}`],
    jvmFlags: ['-Xmx768m', ...(options.quickStart ? QUICK_START : [])],
    probe: () => probeCoordinators(bootstrap),
    startTimeoutMs: options.startTimeoutMs ?? 90_000,
  })
  try {
    await broker.start()
    return broker
  } catch (error) {
    await broker.stop()
    throw error
  }
}

/** What runs a broker. */
export interface KafkaProgram {
  readonly java: string
  /** Class path (`…/*`) of the broker and its Java client. */
  readonly classpath: string
}

/** Finds Java, and Kafka's jars, which are downloaded when first asked for. Throws with what to install. */
export async function findKafka(report: (line: string) => void = () => {}): Promise<KafkaProgram> {
  const java = await findJava()
  return { java, classpath: join(await mavenFolder('kafka', report), '*') }
}

/** A new cluster's id, as `kafka-storage.sh random-uuid` makes them. */
export function newClusterId(): string {
  return randomBytes(16).toString('base64url')
}

/** The class path of Kafka's command-line tools, `org.apache.kafka.tools.*`; downloaded when first asked for. */
export async function toolsClasspath(report: (line: string) => void = () => {}): Promise<string> {
  return join(await mavenFolder('kafka-tools', report), '*')
}

/** What a broker is made of. */
export interface BrokerParts extends KafkaProgram {
  readonly listeners: BrokerListeners
  /** On top of what the listeners need; of two layers the later one wins. */
  readonly properties: readonly ServerProperties[]
  /** How `kafka-storage.sh format` is to prepare an empty data folder: cluster id and quorum. */
  readonly format: readonly string[]
  /** On top of those of every broker; the size of the heap at least. */
  readonly jvmFlags: readonly string[]
  /** Throws unless the broker is of use. */
  readonly probe: () => Promise<void>
  readonly startTimeoutMs: number
}

/**
 * One broker in a throw-away folder. It stops with this process, however that ends.
 *
 *     new ──start()──▶ running ──stop({ keepData: true }), kill(signal)──▶ down ──start()──▶ running   same ports and data
 *                       │   ▲ │
 *                 pause()   │ └─── stop() ──▶ gone    data removed
 *                       ▼   │
 *                     paused ──resume()           (stop and kill work here too)
 *
 * The caller calls one method at a time.
 */
export class Broker {
  /** `host:port` of the listener that asks for nothing. */
  readonly bootstrap: string
  /** The listener for a proxy to forward to, of a broker that advertises one. */
  readonly upstream: Address | undefined
  /** The SASL/PLAIN listener of a broker with `acls`. */
  readonly sasl: SaslListener | undefined
  /** The broker's own log since its last `start()`; removed with the data. */
  readonly logFile: string
  /** The throw-away folder with data, log and properties. */
  readonly folder: string
  /** Class path (`…/*`) of the broker and its Java client, for Java programs that talk to it. */
  readonly classpath: string
  readonly #parts: BrokerParts
  readonly #server: GuardedServer

  private constructor(parts: BrokerParts, folder: string) {
    const { port, proxied, sasl } = parts.listeners
    this.bootstrap = `127.0.0.1:${port}`
    this.upstream = proxied && { host: '127.0.0.1', port: proxied.port }
    this.sasl = sasl && { bootstrap: `127.0.0.1:${sasl.port}`, admin: sasl.superUser, restricted: sasl.users[0]! }
    this.folder = folder
    this.logFile = join(folder, 'server.log')
    this.classpath = parts.classpath
    this.#parts = parts
    this.#server = new GuardedServer(folder)
  }

  /** Makes the folder and the guardian of a broker that does not run yet. The caller stops it, started or not. */
  static async create(parts: BrokerParts): Promise<Broker> {
    const broker = new Broker(parts, await mkdtemp(join(tmpdir(), 'sluice-kafka-')))
    await writeFile(broker.#propertiesFile, serverProperties(broker.folder, parts.listeners, ...parts.properties))
    return broker
  }

  /** Process id of the broker's Java, undefined while it is down. */
  get pid(): number | undefined {
    return this.#server.pid
  }

  /**
   * Brings a broker that is new or down up, and resolves when it is of use: when all coordinators answer.
   * Throws as `startBroker` does.
   */
  async start(): Promise<void> {
    const { java, classpath, format, jvmFlags, probe, startTimeoutMs } = this.#parts
    if (!existsSync(join(this.folder, 'data', 'meta.properties'))) {
      await runJava(java, classpath, ['kafka.tools.StorageTool', 'format', ...format, '-c', this.#propertiesFile])
    }
    const args = [...JVM_FLAGS, ...jvmFlags, '-cp', classpath, 'kafka.Kafka', this.#propertiesFile]
    await this.#server.start(java, args, this.logFile)
    const starting = { name: `Kafka on ${this.bootstrap}`, logFile: this.logFile, timeoutMs: startTimeoutMs }
    await untilReady(this.#server, starting, probe)
  }

  /**
   * Ends the broker. With `keepData` it shuts down in good order and `start()` continues where it was; without, there
   * is nothing to put in order: it is killed and its folder removed. May be called again.
   */
  async stop({ keepData = false }: { keepData?: boolean } = {}): Promise<void> {
    if (keepData) await this.#server.signal('SIGTERM', STOP_PATIENCE_MS)
    else await this.#server.close()
  }

  /**
   * Ends the broker by a signal, SIGKILL for a crash, and resolves when it has exited. Its data stays for `start()`.
   * After a crash `start()` takes longer by `broker.session.timeout.ms`, 9 s unless set: only then does the controller
   * let the node in again. And a transaction that was committed or aborted in the last moments before the crash may
   * stay open on its partitions and hold read_committed readers back: the restarting Kafka 4.4 finds them without a
   * leader for a while and drops the transaction's markers ("likely deleted already"). What readers had seen stays.
   */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#server.signal(signal, STOP_PATIENCE_MS)
  }

  /**
   * Stops the broker in its tracks (SIGSTOP): its port still takes connections and nobody answers. What its clients and
   * the other nodes of a cluster waited for meanwhile comes all at once after `resume()`. Throws if it does not run.
   */
  pause(): void {
    this.#server.pause()
  }

  /** Lets a paused broker go on. Throws if it does not run; nothing happens if it was not paused. */
  resume(): void {
    this.#server.resume()
  }

  get #propertiesFile(): string {
    return join(this.folder, 'server.properties')
  }
}

// Passwords without a character that properties or JAAS would have to quote.
function newUser(username: string): BrokerUser {
  return { username, password: randomBytes(12).toString('hex') }
}
