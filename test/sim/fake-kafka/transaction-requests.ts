import {
  type ClusterState,
  coordinatorOf,
  type EncodedRequests,
  type RequestOf,
  type Requests,
  requireCoordinator,
} from './cluster-state.ts'
import { ErrorCode, requireNone } from './error-code.ts'
import type { ProducerClaim } from './transaction-coordinator.ts'
import { decodeDescribeTransactionsRequest, encodeDescribeTransactionsResponse } from './transactional-ids-codec.ts'

/** What a node does for the transactional ids that it coordinates. */
export function transactionRequests(node: number, state: ClusterState): Requests {
  const { transactions } = state
  return {
    InitProducerId({ transactionalId, transactionTimeout }: RequestOf<'initProducerId'>) {
      if (transactionalId) requireCoordinator(node, transactionalId, state)
      const { producerId, producerEpoch } = transactions.initProducerId(transactionalId, transactionTimeout)
      return { producerId: producerId.toString(), producerEpoch }
    },

    AddPartitionsToTxn(request: RequestOf<'addPartitionsToTxn'>) {
      requireCoordinator(node, request.transactionalId, state)
      const partitions = request.topics.flatMap(({ topic, partitions }) =>
        partitions.map(partition => ({ topic, partition })),
      )
      const missing = partitions.map(({ topic, partition }) => state.topics.partition(topic, partition) === undefined)
      if (missing.includes(true)) {
        // kafkajs throws the error of the first partition: one that exists is not even attempted.
        requireNone(missing[0] ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : ErrorCode.OPERATION_NOT_ATTEMPTED)
      }
      requireNone(transactions.add(claimOf(request), partitions))
    },

    AddOffsetsToTxn(request: RequestOf<'addOffsetsToTxn'>) {
      requireCoordinator(node, request.transactionalId, state)
      requireNone(transactions.add(claimOf(request), [{ group: request.groupId }]))
    },

    EndTxn(request: RequestOf<'endTxn'>) {
      requireCoordinator(node, request.transactionalId, state)
      requireNone(transactions.end(claimOf(request), request.transactionResult))
    },
  }
}

export function encodedTransactionRequests(node: number, { transactions, brokers }: ClusterState): EncodedRequests {
  const describe = (transactionalId: string) => {
    const description = transactions.describe(transactionalId)
    const known = description === undefined ? ErrorCode.TRANSACTIONAL_ID_NOT_FOUND : ErrorCode.NONE
    const coordinated = coordinatorOf(transactionalId, brokers) === node
    return { errorCode: coordinated ? known : ErrorCode.NOT_COORDINATOR, transactionalId, description }
  }
  return {
    DescribeTransactions: {
      apiVersion: 0,
      answer: bytes => encodeDescribeTransactionsResponse(decodeDescribeTransactionsRequest(bytes).map(describe)),
    },
  }
}

export function claimOf({ transactionalId, producerId, producerEpoch }: KafkajsProducerState): ProducerClaim {
  return { transactionalId, producerId: BigInt(producerId), producerEpoch }
}
