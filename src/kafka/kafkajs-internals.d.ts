/**
 * Types of the parts of kafkajs 2.2.4 that Sluice builds on: connections, authentication, metadata, coordinators, the
 * group protocol and the plain requests. kafkajs ships no types for them; `cluster.ts` checks the version at start.
 * Why these and not its Consumer and Producer: docs/adr/0001-protocol-on-kafkajs-connections.md.
 */

/** One connection to a broker, as far as a request of our own goes through it. */
interface KafkajsConnection {
  readonly clientId: string
  /** Undefined before the first connection. */
  readonly socket: import('node:net').Socket
  isConnected(): boolean
  /** While it authenticates. */
  readonly authHandlers: object | null
  processData(this: KafkajsConnection, chunk: Uint8Array): void
  readonly requestQueue: {
    push(queued: {
      entry: {
        apiKey: number
        apiName: string
        apiVersion: number
        correlationId: number
        resolve(answer: { payload: Buffer }): void
        reject(error: Error): void
      }
      expectResponse: boolean
      requestTimeout: number | null
      sendRequest(): void
    }): void
    fulfillRequest(answer: { correlationId: number; payload: Buffer; size: number }): void
    maybeThrottle(throttleMs: number | undefined): void
  }
  isAuthenticated(): boolean
  authenticate(): Promise<void>
  failIfNotConnected(): void
  nextCorrelationId(): number
  send(this: KafkajsConnection, exchange: unknown): Promise<unknown>
}

interface KafkajsProtocolRequest {
  readonly apiKey: number
  readonly apiVersion: number
  readonly apiName: string
  encode(): Promise<unknown>
  /** See `pieced-requests.ts`. */
  readonly pieces?: readonly Uint8Array[]
  expectResponse?(): boolean
}

interface KafkajsProtocolResponse<T> {
  decode(raw: Buffer): Promise<T>
  parse(decoded: T): Promise<T>
}

interface KafkajsTopicPartitions<P> {
  topic: string
  partitions: P[]
}

interface KafkajsBroker {
  readonly nodeId: number | null
  readonly versions: Record<number, { minVersion: number; maxVersion: number }>
  readonly connectionPool: {
    readonly host: string
    readonly port: number
    readonly rack?: string
    /** The first is for everything but fetches. One that was closed is opened again, with another socket, by the next request. */
    readonly pool: readonly { readonly socket?: unknown; isConnected(): boolean }[]
    send<T>(exchange: {
      request: KafkajsProtocolRequest
      response: KafkajsProtocolResponse<T>
      requestTimeout?: number
      logResponseError?: boolean
    }): Promise<T>
  }
  isConnected(): boolean
  connect(): Promise<void>
  disconnect(): Promise<void>
  findGroupCoordinator(o: KafkajsCoordinatorRequest): Promise<unknown>
  initProducerId(o: {
    transactionalId?: string | undefined
    transactionTimeout: number
  }): Promise<{ producerId: string; producerEpoch: number }>
  addPartitionsToTxn(o: KafkajsProducerState & { topics: readonly KafkajsTopicPartitions<number>[] }): Promise<unknown>
  addOffsetsToTxn(o: KafkajsProducerState & { groupId: string }): Promise<unknown>
  txnOffsetCommit(
    o: KafkajsProducerState & { groupId: string; topics: KafkajsTopicPartitions<KafkajsOffset>[] },
  ): Promise<unknown>
  endTxn(o: KafkajsProducerState & { transactionResult: boolean }): Promise<unknown>
  offsetCommit(o: {
    groupId: string
    groupGenerationId: number
    memberId: string
    topics: KafkajsTopicPartitions<KafkajsOffset>[]
  }): Promise<unknown>
  offsetFetch(o: { groupId: string; topics: KafkajsTopicPartitions<{ partition: number }>[] }): Promise<{
    responses: KafkajsTopicPartitions<{ partition: number; offset: string; metadata: string | null }>[]
  }>
  leaveGroup(o: { groupId: string; memberId: string }): Promise<unknown>
  describeGroups(o: { groupIds: string[] }): Promise<{ groups: { groupId: string; members: KafkajsGroupMember[] }[] }>
  listOffsets(o: {
    isolationLevel: 0 | 1
    topics: KafkajsTopicPartitions<{ partition: number; timestamp: number }>[]
  }): Promise<{ responses: KafkajsTopicPartitions<{ partition: number; offset: string }>[] }>
}

interface KafkajsGroupMember {
  memberId: string
  clientId: string
  /** As the broker sees it, with a slash in front: `/10.0.0.7`. */
  clientHost: string
}

interface KafkajsCoordinatorRequest {
  groupId: string
  coordinatorType?: 0 | 1
}

interface KafkajsProducerState {
  transactionalId: string
  producerId: string
  producerEpoch: number
}

interface KafkajsOffset {
  partition: number
  offset: string
  metadata?: string | null
}

interface KafkajsPartitionMetadata {
  partitionId: number
  leader: number
  partitionErrorCode: number
}

interface KafkajsCluster {
  readonly brokerPool: {
    seedBroker?: KafkajsBroker
    readonly brokers: Record<string, KafkajsBroker>
    readonly rootLogger: KafkajsLogger
    /** Null: the metadata is asked for before it is used again. */
    metadataExpireAt: number | null
    readonly connectionPoolBuilder: {
      build(at: { host: string; port: number; rack?: string }): Promise<KafkajsBroker['connectionPool']>
    }
    createBroker(o: {
      connectionPool: KafkajsBroker['connectionPool']
      logger: KafkajsLogger
      nodeId: number | null
    }): KafkajsBroker
    /** One that has a connection, or is given one. */
    findConnectedBroker(): Promise<KafkajsBroker>
    /** Asks one broker after another until the callback succeeds; null when it never does. */
    withBroker<T>(ask: (found: { broker: KafkajsBroker }) => Promise<T>): Promise<T | null>
  }
  connect(): Promise<void>
  disconnect(): Promise<void>
  isConnected(): boolean
  refreshMetadata(): Promise<void>
  refreshMetadataIfNecessary(): Promise<void>
  /** Topics whose metadata every refresh asks for. */
  readonly targetTopics: Set<string>
  addMultipleTargetTopics(topics: readonly string[]): Promise<void>
  findBroker(o: { nodeId: number | string }): Promise<KafkajsBroker>
  findTopicPartitionMetadata(topic: string): KafkajsPartitionMetadata[]
  findGroupCoordinator(o: KafkajsCoordinatorRequest): Promise<KafkajsBroker>
  findGroupCoordinatorMetadata(o: KafkajsCoordinatorRequest): Promise<unknown>
}

interface KafkajsConsumerGroup {
  readonly generationId: number
  memberId: string | null
  /** Wall time of the last heartbeat, in ms; a heartbeat that comes too soon after it is not sent. */
  lastRequest: number
  coordinator: KafkajsBroker
  readonly partitionsPerSubscribedTopic: Map<string, number[]> | null
  connect(): Promise<void>
  joinAndSync(): Promise<void>
  heartbeat(o: { interval: number }): Promise<void>
  leave(): Promise<void>
  assigned(): KafkajsTopicPartitions<number>[]
}

interface KafkajsLogger {
  namespace(name: string): KafkajsLogger
}

interface KafkajsRetry {
  initialRetryTime: number
  maxRetryTime: number
  retries: number
}

declare module 'kafkajs/src/broker/index.js' {
  const Broker: {
    prototype: { connect(this: KafkajsBroker): Promise<void>; isConnected(this: KafkajsBroker): boolean }
  }
  export default Broker
}

declare module 'kafkajs/src/cluster/index.js' {
  const Cluster: { new (options: Record<string, unknown>): KafkajsCluster; prototype: KafkajsCluster }
  export default Cluster
}

declare module 'kafkajs/src/consumer/consumerGroup.js' {
  const ConsumerGroup: new (options: Record<string, unknown>) => KafkajsConsumerGroup
  export default ConsumerGroup
}

declare module 'kafkajs/src/consumer/assigners/index.js' {
  const assigners: { roundRobin(o: { cluster: KafkajsCluster }): unknown }
  export default assigners
}

declare module 'kafkajs/src/instrumentation/emitter.js' {
  const InstrumentationEventEmitter: new () => unknown
  export default InstrumentationEventEmitter
}

declare module 'kafkajs/src/loggers/index.js' {
  interface Entry {
    level: number
    log: { message: string } & Record<string, unknown>
  }
  const loggers: {
    createLogger(o: { level: number; logCreator: () => (entry: Entry) => void }): KafkajsLogger
  }
  export default loggers
}

declare module 'kafkajs/src/protocol/error.js' {
  const errors: { createErrorFromCode(code: number): Error & { type: string } }
  export default errors
}

declare module 'kafkajs/src/network/requestQueue/index.js' {
  const RequestQueue: { prototype: { readonly pending: readonly unknown[]; scheduleCheckPendingRequests(): void } }
  export default RequestQueue
}

declare module 'kafkajs/src/network/connection.js' {
  const Connection: { prototype: KafkajsConnection & { connect(this: object): Promise<boolean> } }
  export default Connection
}

declare module 'kafkajs/src/network/socketFactory.js' {
  const createSocketFactory: () => unknown
  export default createSocketFactory
}
