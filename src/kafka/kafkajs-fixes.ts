import Cluster from 'kafkajs/src/cluster/index.js'
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js'

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
