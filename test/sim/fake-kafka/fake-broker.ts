import type { ClusterState, EncodedRequests, Requests } from './cluster-state.ts'
import { groupRequests } from './group-requests.ts'
import { encodedPartitionRequests, partitionRequests } from './partition-requests.ts'
import { encodedTransactionRequests, transactionRequests } from './transaction-requests.ts'

/** A request that Sluice encodes itself. */
export interface EncodedRequest {
  readonly apiVersion: number
  /** The body, after the request header that kafkajs writes. */
  readonly bytes: Buffer
}

/** One node of the cluster. */
export class FakeBroker {
  readonly node: number
  /** Of this run of the broker: connections to a former one are closed. */
  run = {}
  readonly #requests: Requests
  readonly #encoded: EncodedRequests

  constructor(node: number, state: ClusterState) {
    this.node = node
    this.#requests = {
      ...partitionRequests(node, state),
      ...transactionRequests(node, state),
      ...groupRequests(node, state),
    }
    this.#encoded = { ...encodedPartitionRequests(node, state), ...encodedTransactionRequests(node, state) }
  }

  /** Carries a request out. Rejects with what kafkajs throws for a refusal. */
  async handle(api: string, request: unknown, clientId: string): Promise<unknown> {
    const handler = this.#requests[api]
    if (handler === undefined) throw new Error(`The fake broker does not know ${api}.`)
    return handler(request as never, clientId)
  }

  /** The same for a request in bytes; answers in bytes. */
  async handleEncoded(api: string, { apiVersion, bytes }: EncodedRequest): Promise<Buffer> {
    const encoded = this.#encoded[api]
    if (encoded?.apiVersion === apiVersion) return encoded.answer(bytes)
    throw new Error(`The fake broker does not know version ${apiVersion} of ${api}.`)
  }
}
