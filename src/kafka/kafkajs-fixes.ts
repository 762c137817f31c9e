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
