import { createRequire } from 'node:module'
import Broker from 'kafkajs/src/broker/index.js'
import Cluster from 'kafkajs/src/cluster/index.js'
import Connection from 'kafkajs/src/network/connection.js'
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js'
import errors from 'kafkajs/src/protocol/error.js'

/**
 * kafkajs sets a timer after every response to look at requests that wait for a throttle to end, also when none waits:
 * with a negative delay, of which Node warns on standard error. The timer is kept for when something waits.
 */
const { prototype } = RequestQueue
const schedule = prototype.scheduleCheckPendingRequests

prototype.scheduleCheckPendingRequests = function scheduleIfPending(this: typeof prototype) {
  if (this.pending.length > 0) schedule.call(this)
}

/**
 * Two requests on a connection that was closed while idle open two sockets; one is never used, and when the broker closes
 * it ten minutes later its end rejects what is under way on the other. Here both wait for the same attempt.
 */
const { connect } = Connection.prototype
const connecting = new WeakMap<object, Promise<boolean>>()

Connection.prototype.connect = function connectOnce(this: object) {
  const attempt = connecting.get(this) ?? connect.call(this).finally(() => connecting.delete(this))
  connecting.set(this, attempt)
  return attempt
}

/**
 * kafkajs calls a broker connected as soon as its socket is, also when the handshake that must follow got no answer. Then
 * nobody connects it again, and every request fails with "Broker not connected", for as long as the socket is open.
 */
const { connect: shakeHands, isConnected } = Broker.prototype
const known = new WeakSet<KafkajsBroker>()

Broker.prototype.connect = async function connectWholly(this: KafkajsBroker) {
  await shakeHands.call(this)
  known.add(this)
}

Broker.prototype.isConnected = function isConnectedWholly(this: KafkajsBroker) {
  return known.has(this) && isConnected.call(this)
}

/**
 * kafkajs asks one broker after another who coordinates a group or a transactional id, and when none of them says, it
 * throws "Failed to find group coordinator" without their answers: a missing right would look like a missing broker.
 */
Cluster.prototype.findGroupCoordinatorMetadata = async function findOrSayWhy(this: KafkajsCluster, request) {
  let refusal: unknown
  const found = await this.brokerPool.withBroker(async ({ broker }) => {
    try {
      return await broker.findGroupCoordinator(request)
    } catch (error) {
      refusal = error
      throw error
    }
  })
  if (found === null) throw refusal
  return found
}

const METADATA_VERSIONS = [0, 1, 2, 3, 4, 5, 6]
const LEADER_NOT_AVAILABLE = 5

interface Metadata {
  readonly topicMetadata: readonly {
    readonly topic: string
    readonly topicErrorCode: number
    readonly partitionMetadata: readonly { readonly partitionErrorCode: number; leader: number }[]
  }[]
}

/**
 * kafkajs takes no metadata at all while a single partition has no leader: nobody could read or write the others. Here
 * that partition has the leader -1 until it has one again, and whoever needs it waits. A topic that is refused is named.
 */
async function parseMetadata(metadata: Metadata): Promise<Metadata> {
  for (const { topic, topicErrorCode, partitionMetadata } of metadata.topicMetadata) {
    if (topicErrorCode !== 0 && topicErrorCode !== LEADER_NOT_AVAILABLE) {
      throw Object.assign(errors.createErrorFromCode(topicErrorCode), { topic })
    }
    for (const partition of partitionMetadata) {
      if (partition.partitionErrorCode === LEADER_NOT_AVAILABLE) partition.leader = -1
    }
  }
  return metadata
}

const OPERATION_NOT_ATTEMPTED = 55

interface AddedPartitions {
  readonly errors: readonly {
    readonly topic: string
    readonly partitionErrors: readonly { readonly partition: number; readonly errorCode: number }[]
  }[]
}

/**
 * Where one partition may not be in a transaction, a broker adds none of them, and says so of the others. kafkajs throws
 * what it said of the first; here the one that is at fault is named.
 */
async function parseAddedPartitions(added: AddedPartitions): Promise<AddedPartitions> {
  const refused = added.errors.flatMap(({ topic, partitionErrors }) =>
    partitionErrors
      .filter(({ errorCode }) => errorCode !== 0)
      .map(({ partition, errorCode }) => ({ topic, partition, errorCode })),
  )
  const culprit = refused.find(({ errorCode }) => errorCode !== OPERATION_NOT_ATTEMPTED) ?? refused[0]
  if (culprit === undefined) return added
  throw Object.assign(errors.createErrorFromCode(culprit.errorCode), { topic: `${culprit.topic}/${culprit.partition}` })
}

const require = createRequire(import.meta.url)
for (const version of [0, 1]) {
  require(`kafkajs/src/protocol/requests/addPartitionsToTxn/v${version}/response`).parse = parseAddedPartitions
}
for (const version of METADATA_VERSIONS) {
  require(`kafkajs/src/protocol/requests/metadata/v${version}/response`).parse = parseMetadata
}
