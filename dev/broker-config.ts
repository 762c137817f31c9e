import { join } from 'node:path'

/** Partitions of each coordinator's topic: few, so that all of them are loaded soon after the port opens. */
export const COORDINATOR_PARTITIONS = 4

/** A user of the SASL/PLAIN listener. */
export interface BrokerUser {
  readonly username: string
  readonly password: string
}

/** Where a broker listens, always on 127.0.0.1; with `sasl`, the users of its SASL/PLAIN listener. */
export interface BrokerListeners {
  readonly port: number
  readonly controllerPort: number
  readonly sasl:
    | { readonly port: number; readonly superUser: BrokerUser; readonly users: readonly BrokerUser[] }
    | undefined
}

/**
 * The text of `server.properties` for a broker that is its own controller (KRaft) and keeps everything under `folder`.
 * `extra` comes last and wins.
 */
export function serverProperties(
  folder: string,
  listeners: BrokerListeners,
  extra: Readonly<Record<string, string | number | boolean>>,
): string {
  const properties = { ...baseProperties(folder, listeners), ...saslProperties(listeners), ...extra }
  return Object.entries(properties)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('')
}

function baseProperties(folder: string, { port, controllerPort }: BrokerListeners) {
  return {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.bootstrap.servers': `127.0.0.1:${controllerPort}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'log.dirs': join(folder, 'data'),

    // Nobody to replicate to.
    'offsets.topic.replication.factor': 1,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,

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
  }
}

function saslProperties({ port, controllerPort, sasl }: BrokerListeners) {
  if (sasl === undefined) return {}
  const users = [sasl.superUser, ...sasl.users].map(user => `user_${user.username}="${user.password}"`).join(' ')
  return {
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort},SASL://127.0.0.1:${sasl.port}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT',
    'listener.name.sasl.sasl.enabled.mechanisms': 'PLAIN',
    'listener.name.sasl.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required ${users};`,
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    // The listener without passwords stays open to everything, for the test's own set-up and for the broker itself.
    'super.users': `User:${sasl.superUser.username};User:ANONYMOUS`,
  }
}

/** JVM flags of a broker that shares two cores and a few gigabytes with what is being tested. */
export const JVM_FLAGS: readonly string[] = [
  '-Xmx768m',
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
