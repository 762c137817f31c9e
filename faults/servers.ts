import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Broker, type BrokerOptions, startBroker } from '../dev/broker.ts'
import { startCluster } from '../dev/cluster.ts'
import { startBrokerBehindProxy, startClusterBehindProxies } from './proxy/behind-proxy.ts'
import type { KafkaProxy } from './proxy/kafka-proxy.ts'

/** What a fault needs to run on. */
export type ServerKind =
  /** One broker. */
  | 'broker'
  /** Three, with three replicas of everything, of which two must have a record before it is acknowledged. */
  | 'cluster'
  /** One broker that the workers reach through a proxy. */
  | 'proxied'
  /** Three brokers, each behind a proxy. */
  | 'proxied cluster'
  /** One broker at which the workers have only the rights that they are given. */
  | 'guarded'
  /** One broker with its data on a disk of a few hundred megabytes. */
  | 'small disk'

/** Kafka as a stage has it. */
export interface Servers {
  readonly kind: ServerKind
  /** `host:port,…` of the plain listeners, for whoever is not to be struck: generator and oracle. */
  readonly bootstrap: string
  /** What the workers are told of Kafka. */
  readonly workerEnv: Readonly<Record<string, string>>
  readonly nodes: readonly Broker[]
  /** One for each node, in their order; none where the workers come straight. */
  readonly proxies: readonly KafkaProxy[]
  /** Of a small disk: the folder that it is mounted at. */
  readonly disk?: string
  /** Resolves when everything has all its replicas. */
  inSync(): Promise<void>
  close(): Promise<void>
}

/** A node that was killed may come back after this, instead of Kafka's 9 s. */
const QUICK_RETURN = { 'broker.session.timeout.ms': 3_000, 'broker.heartbeat.interval.ms': 500 }

type Report = (line: string) => void

/** Starts them; the caller closes them. Throws as `startBroker` does, and for a small disk when none can be mounted. */
export function startServers(kind: ServerKind, report: Report): Promise<Servers> {
  switch (kind) {
    case 'broker':
      return one(kind, { report })
    case 'guarded':
      return one(kind, { report, acls: true })
    case 'cluster':
      return three(report)
    case 'proxied':
      return oneBehindProxy(report)
    case 'proxied cluster':
      return threeBehindProxies(report)
    case 'small disk':
      return oneOnSmallDisk(report)
  }
}

async function one(kind: ServerKind, options: BrokerOptions): Promise<Servers> {
  const broker = await startBroker({ properties: QUICK_RETURN, ...options })
  return {
    kind,
    bootstrap: broker.bootstrap,
    workerEnv: broker.sasl === undefined ? { KAFKA_BROKERS: broker.bootstrap } : credentials(broker.sasl),
    nodes: [broker],
    proxies: [],
    inSync: async () => {},
    close: () => broker.stop(),
  }
}

function credentials({ bootstrap, restricted }: NonNullable<Broker['sasl']>): Record<string, string> {
  const { username, password } = restricted
  return {
    KAFKA_BROKERS: bootstrap,
    KAFKA_SASL_MECHANISM: 'plain',
    KAFKA_SASL_USERNAME: username,
    KAFKA_SASL_PASSWORD: password,
  }
}

async function three(report: Report): Promise<Servers> {
  const cluster = await startCluster({ report })
  return {
    kind: 'cluster',
    bootstrap: cluster.bootstrap,
    workerEnv: { KAFKA_BROKERS: cluster.bootstrap },
    nodes: cluster.nodes,
    proxies: [],
    inSync: () => cluster.inSync(60_000),
    close: () => cluster.close(),
  }
}

async function oneBehindProxy(report: Report): Promise<Servers> {
  const { broker, proxy, close } = await startBrokerBehindProxy({ report, properties: QUICK_RETURN })
  return {
    kind: 'proxied',
    bootstrap: broker.bootstrap,
    workerEnv: { KAFKA_BROKERS: proxy.bootstrap },
    nodes: [broker],
    proxies: [proxy],
    inSync: async () => {},
    close,
  }
}

async function threeBehindProxies(report: Report): Promise<Servers> {
  const { cluster, proxies, bootstrap, close } = await startClusterBehindProxies({ report })
  return {
    kind: 'proxied cluster',
    bootstrap: cluster.bootstrap,
    workerEnv: { KAFKA_BROKERS: bootstrap },
    nodes: cluster.nodes,
    proxies,
    inSync: () => cluster.inSync(60_000),
    close,
  }
}

const DISK = '400m'

/** A file system in memory, which takes the right to mount one. */
async function oneOnSmallDisk(report: Report): Promise<Servers> {
  const disk = await mkdtemp(join(tmpdir(), 'sluice-disk-'))
  const unmount = async () => {
    spawnSync('umount', [disk])
    await rm(disk, { recursive: true, force: true })
  }
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK}`, 'tmpfs', disk], { encoding: 'utf8' })
  if (mounted.status !== 0) {
    await unmount()
    throw new Error(`A small disk could not be mounted, which takes root on Linux: ${mounted.stderr}`)
  }
  const usual = process.env.TMPDIR
  try {
    process.env.TMPDIR = disk // where the broker makes its folder
    const servers = await one('small disk', { report })
    return { ...servers, disk, close: () => servers.close().finally(unmount) }
  } catch (error) {
    await unmount()
    throw error
  } finally {
    if (usual === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = usual
  }
}
