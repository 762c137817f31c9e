import { type Broker, type BrokerOptions, startBroker } from '../../dev/broker.ts'
import { type Cluster, type ClusterOptions, startCluster } from '../../dev/cluster.ts'
import { KafkaProxy } from './kafka-proxy.ts'

/** A broker, and the proxy that its clients come by when they bootstrap there. `broker.bootstrap` leads past it. */
export interface ProxiedBroker {
  readonly broker: Broker
  readonly proxy: KafkaProxy
  close(): Promise<void>
}

/** Starts a broker behind a proxy. Throws as `startBroker` does. */
export async function startBrokerBehindProxy(options: Omit<BrokerOptions, 'advertise'> = {}): Promise<ProxiedBroker> {
  const proxy = await KafkaProxy.listen()
  try {
    const broker = await startBroker({ ...options, advertise: proxy.address })
    proxy.forwardTo(broker.upstream!)
    return { broker, proxy, close: () => closeAll([proxy], broker) }
  } catch (error) {
    await proxy.close()
    throw error
  }
}

/** A cluster, and a proxy before each of its nodes. `cluster.bootstrap` leads past them. */
export interface ProxiedCluster {
  readonly cluster: Cluster
  /** In the order of `cluster.nodes`. */
  readonly proxies: readonly KafkaProxy[]
  /** For clients that are to stay behind the proxies. */
  readonly bootstrap: string
  close(): Promise<void>
}

/** Starts a cluster behind proxies. Throws as `startCluster` does. */
export async function startClusterBehindProxies(
  options: Omit<ClusterOptions, 'advertise'> = {},
): Promise<ProxiedCluster> {
  const proxies = await Promise.all(Array.from({ length: options.nodes ?? 3 }, () => KafkaProxy.listen()))
  try {
    const cluster = await startCluster({ ...options, advertise: proxies.map(proxy => proxy.address) })
    for (const [i, proxy] of proxies.entries()) proxy.forwardTo(cluster.nodes[i]!.upstream!)
    const bootstrap = proxies.map(proxy => proxy.bootstrap).join(',')
    return { cluster, proxies, bootstrap, close: () => closeAll(proxies, { stop: () => cluster.close() }) }
  } catch (error) {
    await Promise.all(proxies.map(proxy => proxy.close()))
    throw error
  }
}

async function closeAll(proxies: readonly KafkaProxy[], servers: { stop(): Promise<void> }): Promise<void> {
  await Promise.all([...proxies.map(proxy => proxy.close()), servers.stop()])
}
