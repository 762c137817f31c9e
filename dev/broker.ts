import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BrokerListeners, type BrokerUser, JVM_FLAGS, serverProperties } from './broker-config.ts'
import { probeCoordinators } from './broker-probe.ts'
import { GuardedServer } from './guarded.ts'
import { findJava, runJava } from './java.ts'
import { mavenFolder } from './maven.ts'
import { freePorts } from './ports.ts'
import { untilReady } from './ready.ts'

/** How to start a broker; the defaults suit a test. */
export interface BrokerOptions {
  /** Server properties on top of ours; they win. */
  readonly properties?: Readonly<Record<string, string | number | boolean>>
  /** Adds a SASL/PLAIN listener and an authorizer that lets the `restricted` user do nothing until an ACL allows it. */
  readonly acls?: boolean
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

/**
 * Starts a single-node Kafka on free ports of 127.0.0.1 with an empty data folder, and resolves when all its group and
 * transaction coordinators answer. It stops with this process, however that ends; `stop()` it when done.
 * Throws, with the broker's log from its first error on, when it does not come up, and with what to install when Java or
 * Maven is missing.
 */
export async function startBroker(options: BrokerOptions = {}): Promise<Broker> {
  const report = options.report ?? (() => {})
  const java = await findJava()
  const classpath = join(await mavenFolder('kafka', report), '*')
  const [port, controllerPort, saslPort] = (await freePorts(3)) as [number, number, number]
  const sasl = options.acls
    ? { port: saslPort, superUser: newUser('admin'), users: [newUser('restricted')] as const }
    : undefined
  const listeners: BrokerListeners = { port, controllerPort, sasl }

  const folder = await mkdtemp(join(tmpdir(), 'sluice-kafka-'))
  const server = new GuardedServer(folder)
  try {
    await writeFile(join(folder, 'server.properties'), serverProperties(folder, listeners, options.properties ?? {}))
    const broker = new Broker({
      java,
      classpath,
      folder,
      server,
      bootstrap: `127.0.0.1:${port}`,
      sasl: sasl && { bootstrap: `127.0.0.1:${sasl.port}`, admin: sasl.superUser, restricted: sasl.users[0] },
      startTimeoutMs: options.startTimeoutMs ?? 90_000,
    })
    await broker.start()
    return broker
  } catch (error) {
    await server.close()
    throw error
  }
}

/** The class path of Kafka's command-line tools, `org.apache.kafka.tools.*`; downloaded when first asked for. */
export async function toolsClasspath(report: (line: string) => void = () => {}): Promise<string> {
  return join(await mavenFolder('kafka-tools', report), '*')
}

interface BrokerParts {
  readonly java: string
  readonly classpath: string
  readonly folder: string
  readonly server: GuardedServer
  readonly bootstrap: string
  readonly sasl: SaslListener | undefined
  readonly startTimeoutMs: number
}

/**
 * One broker: made running by `startBroker`, and from then on
 *
 *     running ──stop({ keepData: true }), kill(signal)──▶ down ──start()──▶ running      same ports, same data
 *        └───────────────── stop() ──────────────────────▶ gone                          data removed
 *
 * The caller calls one method at a time.
 */
export class Broker {
  /** `host:port` of the listener that asks for nothing. */
  readonly bootstrap: string
  /** The SASL/PLAIN listener of a broker with `acls`. */
  readonly sasl: SaslListener | undefined
  /** The broker's own log since its last `start()`; removed with the data. */
  readonly logFile: string
  /** The throw-away folder with data, log and properties. */
  readonly folder: string
  /** Class path (`…/*`) of the broker and its Java client, for Java programs that talk to it. */
  readonly classpath: string
  readonly #java: string
  readonly #server: GuardedServer
  readonly #startTimeoutMs: number

  constructor(parts: BrokerParts) {
    this.bootstrap = parts.bootstrap
    this.sasl = parts.sasl
    this.folder = parts.folder
    this.logFile = join(parts.folder, 'server.log')
    this.classpath = parts.classpath
    this.#java = parts.java
    this.#server = parts.server
    this.#startTimeoutMs = parts.startTimeoutMs
  }

  /** Process id of the broker's Java, undefined while it is down. */
  get pid(): number | undefined {
    return this.#server.pid
  }

  /** Brings a broker that is down up again, and resolves when its coordinators answer. Throws as `startBroker` does. */
  async start(): Promise<void> {
    const properties = join(this.folder, 'server.properties')
    // --standalone makes this node the only voter of its own quorum.
    if (!existsSync(join(this.folder, 'data', 'meta.properties'))) {
      const clusterId = randomBytes(16).toString('base64url')
      const format = [
        'kafka.tools.StorageTool',
        'format',
        '--standalone',
        `--cluster-id=${clusterId}`,
        '-c',
        properties,
      ]
      await runJava(this.#java, this.classpath, format)
    }
    await this.#server.start(this.#java, [...JVM_FLAGS, '-cp', this.classpath, 'kafka.Kafka', properties], this.logFile)
    const starting = { name: `Kafka on ${this.bootstrap}`, logFile: this.logFile, timeoutMs: this.#startTimeoutMs }
    await untilReady(this.#server, starting, () => probeCoordinators(this.bootstrap))
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
}

// Passwords without a character that properties or JAAS would have to quote.
function newUser(username: string): BrokerUser {
  return { username, password: randomBytes(12).toString('hex') }
}
