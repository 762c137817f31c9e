import {
  type ClusterState,
  coordinatorOf,
  type EncodedRequests,
  type RequestOf,
  type Requests,
} from './cluster-state.ts'
import { ErrorCode, protocolError } from './error-code.ts'
import { decodeFetchRequest, encodeFetchResponse, type FetchRequest } from './fetch-codec.ts'
import { decodeEpochRequest, encodeEpochResponse } from './leader-epoch-codec.ts'
import { decodeMetadataRequest, encodeMetadataResponse, type TopicAnswer } from './metadata-codec.ts'
import type { Isolation, PartitionLog } from './partition-log.ts'
import { decodeProduceRequest, encodeProduceResponse } from './produce-codec.ts'

const EARLIEST = -2
const LATEST = -1

/** The topics asked for, as kafkajs keeps them. */
export type FakeMetadata = readonly {
  readonly topic: string
  readonly partitionMetadata: KafkajsPartitionMetadata[]
}[]

/** What a node tells of the cluster, and of the partitions that it leads. */
export function partitionRequests(node: number, { topics, leader, brokers }: ClusterState): Requests {
  return {
    FindCoordinator: ({ groupId }: KafkajsCoordinatorRequest) => coordinatorOf(groupId, brokers),

    Metadata: (names: readonly string[]): FakeMetadata =>
      names.map(topic => {
        const found = topics.get(topic)
        if (found === undefined) throw Object.assign(protocolError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), { topic })
        const leaders = found.partitions.map(({ leader }) => leader)
        const described = (leader: number, partitionId: number) => ({ partitionId, leader, partitionErrorCode: 0 })
        return { topic, partitionMetadata: leaders.map(described) }
      }),

    ListOffsets({ isolationLevel, topics: asked }: RequestOf<'listOffsets'>) {
      const responses = asked.map(({ topic, partitions }) => ({
        topic,
        partitions: partitions.map(({ partition, timestamp }) => {
          const led = leader.find(node, topic, partition)
          if (!('log' in led)) throw protocolError(led.errorCode)
          return { partition, ...listOffset(led.log, timestamp, isolationLevel) }
        }),
      }))
      return { responses }
    },
  }
}

function listOffset(log: PartitionLog, time: number, isolation: Isolation): { timestamp: string; offset: string } {
  if (time === EARLIEST) return { timestamp: '-1', offset: String(log.start) }
  if (time === LATEST) return { timestamp: '-1', offset: String(isolation === 1 ? log.stable : log.end) }
  const found = log.offsetForTime(time, isolation)
  return { timestamp: String(found?.timestamp ?? -1), offset: String(found?.offset ?? -1) }
}

export function encodedPartitionRequests(node: number, state: ClusterState): EncodedRequests {
  const { topics, leader, changes, brokers } = state
  const describe = (name: string): TopicAnswer => {
    const topic = topics.get(name)
    const errorCode = topic === undefined ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : ErrorCode.NONE
    return { errorCode, name, topicId: topic?.id, leaders: topic?.partitions.map(({ leader }) => leader) ?? [] }
  }
  return {
    Metadata: {
      apiVersion: 12,
      answer: bytes => encodeMetadataResponse(brokers, decodeMetadataRequest(bytes).map(describe)),
    },
    Produce: {
      apiVersion: 7,
      answer: bytes => {
        const answers = leader.produce(node, decodeProduceRequest(bytes))
        changes.notify()
        return encodeProduceResponse(answers)
      },
    },
    Fetch: { apiVersion: 13, answer: bytes => fetchWhenThere(node, state, decodeFetchRequest(bytes)) },
    OffsetForLeaderEpoch: {
      apiVersion: 3,
      answer: bytes => encodeEpochResponse(leader.endsOfEpochs(node, decodeEpochRequest(bytes))),
    },
  }
}

/** Answers when there is something to read or to complain of, at the latest when the request's time is up. */
async function fetchWhenThere(node: number, state: ClusterState, request: FetchRequest): Promise<Buffer> {
  const { clock, leader, changes, waitOnFetch } = state
  const deadline = clock.now() + request.maxWaitMs
  for (;;) {
    const answers = leader.fetch(node, request)
    const something = answers.some(({ errorCode, records, diverging }) => {
      return errorCode !== ErrorCode.NONE || records.length > 0 || diverging !== undefined
    })
    if (something || !waitOnFetch || clock.now() >= deadline) return encodeFetchResponse(answers)
    await changes.wait(deadline - clock.now())
  }
}
