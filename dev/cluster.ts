import { Broker, findKafka, newClusterId, QUICK_START } from './broker.ts'
import type { Address, BrokerListeners, ServerProperties } from './broker-config.ts'
import { probeCoordinators, probeMembership, underReplicated } from './broker-probe.ts'
import { freePorts } from './ports.ts'
import { retry } from './ready.ts'

/** How to start a cluster; the defaults suit a test. */
export interface ClusterOptions {
  /** How many, 3 unless given; each is a broker and a voter of the controllers' quorum. */
  readonly nodes?: number
  /** Server properties of every node on top of ours; they win. */
  readonly properties?: ServerProperties
  /** Addresses of proxies, one for each node, in their order: see `BrokerOptions.advertise`. */
  readonly advertise?: readonly Address[]
  /** How long the coordinators may take to answer, for each start of a node. */
  readonly startTimeoutMs?: number
  /** Hears one line per step that takes long. */
  readonly report?: (line: string) => void
}

/**
 * Starts a Kafka of several nodes on free ports of 127.0.0.1, and resolves when all have joined and all coordinators
 * answer. Topics, offsets and transaction state have a replica on each of three nodes, and `acks=all` needs two of
 * them (`min.insync.replicas`), so that one node may be down. The nodes stop with this process, however that ends.
 * Throws as `startBroker` does.
 */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const { nodes: count = 3, properties = {}, advertise, startTimeoutMs = 90_000 } = options
  if (advertise !== undefined && advertise.length !== count) {
    throw new Error(`A cluster of ${count} nodes was given ${advertise.length} addresses to advertise.`)
  }
  const kafka = await findKafka(options.report)
  const ports = await freePorts(3 * count)
  const listeners = Array.from({ length: count }, (_, i): BrokerListeners => {
    const [port, controllerPort, proxiedPort] = ports.slice(3 * i) as [number, number, number]
    const proxied = advertise && { port: proxiedPort, advertise: advertise[i]! }
    return { port, controllerPort, proxied, sasl: undefined }
  })
  const voters = listeners.map(({ controllerPort }, i) => `${i + 1}@127.0.0.1:${controllerPort}`).join(',')
  const clusterId = newClusterId()

  const create = (own: BrokerListeners, nodeId: number) => {
    const bootstrap = `127.0.0.1:${own.port}`
    const identity = { 'node.id': nodeId, 'controller.quorum.voters': voters }
    return Broker.create({
      ...kafka,
      listeners: own,
      properties: [identity, replicationProperties(count), QUICK_TO_NOTICE, properties],
      format: [`--cluster-id=${clusterId}`],
      jvmFlags: ['-Xmx320m', ...QUICK_START],
      probe: async () => {
        await probeMembership(bootstrap, nodeId)
        await probeCoordinators(bootstrap)
      },
      startTimeoutMs,
    })
  }
  const cluster = new Cluster(await Promise.all(listeners.map((own, i) => create(own, i + 1))))
  try {
    await Promise.all(cluster.nodes.map(node => node.start()))
    return cluster
  } catch (error) {
    await cluster.close()
    throw error
  }
}

/** As many replicas as there are nodes, three at the most; of three, two must have a record before it is acknowledged. */
function replicationProperties(nodes: number): ServerProperties {
  const replicas = Math.min(nodes, 3)
  const inSync = Math.max(1, replicas - 1)
  return {
    'default.replication.factor': replicas,
    'min.insync.replicas': inSync,
    'offsets.topic.replication.factor': replicas,
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': inSync,
    'share.coordinator.state.topic.replication.factor': replicas,
    'share.coordinator.state.topic.min.isr': inSync,
  }
}

/** A node that is dead or paused is missed after seconds. Kafka's own defaults are three to ten times as long. */
const QUICK_TO_NOTICE: ServerProperties = {
  // A node that was away leads again, and has traffic to be struck: by default it would idle for up to five minutes.
  'leader.imbalance.check.interval.seconds': 5,
  'broker.heartbeat.interval.ms': 500,
  'broker.session.timeout.ms': 3_000,
  'replica.lag.time.max.ms': 4_000,
  // A follower, or a broker, that waits for a paused leader or controller asks the next one.
  'replica.socket.timeout.ms': 3_000,
  'controller.socket.timeout.ms': 2_000,
  'controller.quorum.request.timeout.ms': 1_000,
  'controller.quorum.fetch.timeout.ms': 2_000,
  'controller.quorum.election.timeout.ms': 1_000,
  'controller.quorum.election.backoff.max.ms': 500,
}

/**
 * A Kafka of several nodes. Each node is a `Broker` that can be stopped, killed, paused and started by itself; when it
 * is started again, `start()` resolves once it has joined, and `inSync()` once it has caught up as well.
 */
export class Cluster {
  /** Node ids count from 1: `nodes[0]` is node 1. */
  readonly nodes: readonly Broker[]

  constructor(nodes: readonly Broker[]) {
    this.nodes = nodes
  }

  /** `host:port,host:port,…` of all nodes' plain listeners, as clients take it. */
  get bootstrap(): string {
    return this.nodes.map(node => node.bootstrap).join(',')
  }

  /**
   * Resolves when every replica of every partition, internal topics included, is in sync and every partition has a
   * leader, as every node that runs sees it. It says what the cluster knows: a node that was killed or paused a moment
   * ago counts as in sync until its session of 3 s is over. Throws after `timeoutMs` with the partitions that are not.
   */
  async inSync(timeoutMs = 30_000): Promise<void> {
    const running = this.nodes.filter(node => node.pid !== undefined)
    const allInSync = async () => {
      for (const { bootstrap } of running) {
        const lacking = await underReplicated(bootstrap)
        if (lacking.length > 0) throw new Error(`${lacking.length} partitions, among them ${lacking[0]}`)
      }
    }
    try {
      await retry(allInSync, AbortSignal.timeout(timeoutMs))
    } catch (error) {
      const lacking = error instanceof Error ? error.message : String(error)
      throw new Error(`Not in sync after ${timeoutMs / 1000} s: ${lacking}.`, { cause: error })
    }
  }

  /** Kills all nodes, paused ones too, and removes their data. May be called again. */
  async close(): Promise<void> {
    await Promise.all(this.nodes.map(node => node.stop()))
  }
}
