import { join } from 'node:path'

/** Partitions of each coordinator's topic: few, so that all of them are loaded soon after the port opens. */
export const COORDINATOR_PARTITIONS = 4

/** Server properties, as `server.properties` has them. */
export type ServerProperties = Readonly<Record<string, string | number | boolean>>

/** Where something listens, or says that it does. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** A user of the SASL/PLAIN listener. */
export interface BrokerUser {
  readonly username: string
  readonly password: string
}

/** Where a broker listens, always on 127.0.0.1. */
export interface BrokerListeners {
  readonly port: number
  readonly controllerPort: number
  /** The listener behind a proxy: clients that come by it are told to connect to `advertise`, never to the broker. */
  readonly proxied: { readonly port: number; readonly advertise: Address } | undefined
  /** The SASL/PLAIN listener and its users. */
  readonly sasl:
    | { readonly port: number; readonly superUser: BrokerUser; readonly users: readonly BrokerUser[] }
    | undefined
}

/**
 * The text of `server.properties` for a broker that is a controller too (KRaft) and keeps everything under `folder`.
 * Of two layers that set the same property the later one wins.
 */
export function serverProperties(
  folder: string,
  listeners: BrokerListeners,
  ...layers: readonly ServerProperties[]
): string {
  const base = { ...BASE, 'log.dirs': join(folder, 'data'), ...listenerProperties(listeners) }
  const properties: ServerProperties = Object.assign({}, base, saslProperties(listeners), ...layers)
  return Object.entries(properties)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('')
}

const BASE: ServerProperties = {
  'process.roles': 'broker,controller',

  'offsets.topic.num.partitions': COORDINATOR_PARTITIONS,
  'transaction.state.log.num.partitions': COORDINATOR_PARTITIONS,
  'share.coordinator.state.topic.num.partitions': 1,

  // A group's first member need not wait for others, and a topic is there because somebody meant it.
  'group.initial.rebalance.delay.ms': 0,
  // Tests that wait for a session to time out need not wait for the 6 s that is the least otherwise.
  'group.min.session.timeout.ms': 1_000,
  'auto.create.topics.enable': false,

  // The default, 128 MiB of heap for compaction, is for servers.
  'log.cleaner.dedupe.buffer.size': 8 * 1024 * 1024,
  // Indexes are mapped whole, with holes. Where the disk reads ahead by megabytes, the first look at each fills 10 MiB of page
  // cache with zeros: with 256 partitions that was a third of the broker's processor time.
  'log.index.size.max.bytes': 1024 * 1024,
}

/** A broker that is its own controller and has nobody to replicate to. */
export function aloneProperties({ controllerPort }: BrokerListeners): ServerProperties {
  return {
    'node.id': 1,
    'controller.quorum.bootstrap.servers': `127.0.0.1:${controllerPort}`,
    'offsets.topic.replication.factor': 1,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
  }
}

function listenerProperties({ port, controllerPort, proxied, sasl }: BrokerListeners): ServerProperties {
  const plain = `PLAINTEXT://127.0.0.1:${port}`
  const listeners = [plain, `CONTROLLER://127.0.0.1:${controllerPort}`]
  const advertised = [plain]
  const protocols = ['PLAINTEXT:PLAINTEXT', 'CONTROLLER:PLAINTEXT']
  if (proxied !== undefined) {
    listeners.push(`PROXIED://127.0.0.1:${proxied.port}`)
    advertised.push(`PROXIED://${proxied.advertise.host}:${proxied.advertise.port}`)
    protocols.push('PROXIED:PLAINTEXT')
  }
  if (sasl !== undefined) {
    listeners.push(`SASL://127.0.0.1:${sasl.port}`)
    advertised.push(`SASL://127.0.0.1:${sasl.port}`)
    protocols.push('SASL:SASL_PLAINTEXT')
  }
  return {
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    listeners: listeners.join(','),
    'advertised.listeners': advertised.join(','),
    'listener.security.protocol.map': protocols.join(','),
  }
}

function saslProperties({ sasl }: BrokerListeners): ServerProperties {
  if (sasl === undefined) return {}
  const users = [sasl.superUser, ...sasl.users].map(user => `user_${user.username}="${user.password}"`).join(' ')
  return {
    'listener.name.sasl.sasl.enabled.mechanisms': 'PLAIN',
    'listener.name.sasl.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required ${users};`,
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    // The listener without passwords stays open to everything, for the test's own set-up and for the broker itself.
    'super.users': `User:${sasl.superUser.username};User:ANONYMOUS`,
  }
}

/** JVM flags of every broker, which shares two cores and a few gigabytes with what is being tested. */
export const JVM_FLAGS: readonly string[] = [
  '-XX:+UseG1GC',
  '-XX:+ExitOnOutOfMemoryError',
  '-Djava.awt.headless=true',
  ...logFlags({
    showDateTime: 'true',
    dateTimeFormat: 'HH:mm:ss.SSS',
    showThreadName: 'false',
    showShortLogName: 'true',
    levelInBrackets: 'true',
    // The whole configuration, twice, would push everything else out of an error message's tail.
    'log.org.apache.kafka.common.config': 'warn',
    'log.kafka.server.KafkaConfig': 'warn',
  }),
]

function logFlags(settings: Readonly<Record<string, string>>): string[] {
  return Object.entries(settings).map(([key, value]) => `-Dorg.slf4j.simpleLogger.${key}=${value}`)
}
