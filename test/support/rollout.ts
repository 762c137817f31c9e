import { systemClock } from '../../src/core/clock.ts'
import type { SluiceError } from '../../src/core/errors.ts'
import type { Log } from '../../src/core/log.ts'
import type { ReplicaReport, RolloutState } from '../../src/core/rollout.ts'
import { type ClusterTools, clusterTools } from '../../src/kafka/cluster.ts'
import { batchOfOne } from '../../src/kafka/keyed-record.ts'
import { partitionCount } from '../../src/kafka/offsets.ts'
import { produceBatches } from '../../src/kafka/produce-protocol.ts'
import { RolloutFollower } from '../../src/kafka/rollout-topic.ts'
import { until } from './broker.ts'

/** A log that keeps its warnings. */
export function keptLog(): Log & { readonly warnings: string[] } {
  const warnings: string[] = []
  const nothing = () => {}
  const log: Log & { warnings: string[] } = {
    warnings,
    debug: nothing,
    info: nothing,
    warn: (fields, message) => void warnings.push(`${message} ${JSON.stringify(fields)}`),
    error: nothing,
    child: () => log,
  }
  return log
}

export function toolsFor(brokers: readonly string[], requestTimeoutMs = 10_000): ClusterTools {
  return clusterTools({ brokers, clientId: 'rollout-test', requestTimeoutMs, metadataMaxAgeMs: 60_000 }, keptLog())
}

export interface FollowerStage {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly model?: string
  readonly group?: string
  readonly replica?: string
  readonly requestTimeoutMs?: number
}

/** A real follower, and what it was told. */
export class Followed {
  readonly states: RolloutState[] = []
  readonly troubles: (SluiceError | undefined)[] = []
  readonly log = keptLog()
  readonly follower: RolloutFollower
  #heard: () => void = () => {}

  constructor({ brokers, topic, model = 'iris', group = 'g', replica = 'r1', requestTimeoutMs }: FollowerStage) {
    this.follower = new RolloutFollower({
      tools: toolsFor(brokers, requestTimeoutMs),
      topic,
      model,
      group,
      replica,
      clock: systemClock,
      log: this.log,
      onState: state => {
        this.states.push(state)
        this.#heard()
      },
      onTrouble: error => {
        this.troubles.push(error)
        this.#heard()
      },
    })
  }

  /** Resolves when `holds`, looked at whenever something was heard. */
  async hears(holds: (followed: this) => boolean): Promise<void> {
    while (!holds(this)) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#heard = resolve
      await promise
    }
  }

  /** Resolves when a plan of this revision was told, or is. */
  hearsRevision(revision: number): Promise<void> {
    return this.hears(({ states }) => states.some(state => state.revision === revision))
  }
}

export function stateOf(revision: number, changes: Partial<RolloutState> = {}): RolloutState {
  const live = { stable: String(revision), shadows: [] }
  return { model: 'iris', revision, live, proposed: undefined, former: [], at: 1_700_000_000_000, ...changes }
}

export function reportOf(changes: Partial<ReplicaReport> = {}): ReplicaReport {
  return {
    group: 'g',
    replica: 'r1',
    place: 'host:1',
    members: ['m1'],
    model: 'iris',
    serving: { plan: { stable: '1', shadows: [] }, revision: 0, pinned: false },
    prepared: undefined,
    at: 1_700_000_000_000,
    ...changes,
  }
}

/** Appends a record to partition 0 of a topic, without a transaction. Waits until the broker leads it. */
export async function append(
  brokers: readonly string[],
  topic: string,
  record: { readonly key: string; readonly value: string | null },
): Promise<void> {
  const cluster = toolsFor(brokers).create()
  await cluster.connect()
  const noProducer = { producerId: -1n, producerEpoch: -1, baseSequence: -1, transactional: false }
  try {
    const done = async () => {
      if ((await partitionCount(cluster, topic)) === undefined) return false
      const nodeId = cluster.findTopicPartitionMetadata(topic)[0]!.leader
      if (nodeId < 0) return false
      const batches = [batchOfOne(topic, 0, { ...record, timestamp: Date.now() }).seal(noProducer)]
      const [answer] = await produceBatches(await cluster.findBroker({ nodeId }), { timeoutMs: 5_000, batches })
      return answer!.errorCode === 0
    }
    await until(done, () => `${topic} takes no record`)
  } finally {
    await cluster.disconnect()
  }
}
