// Loaded into a worker before anything else (node --import), in every thread. The second I/O thread says of the first version that it
// is to make ready that it cannot.
import { isMainThread, parentPort, threadName } from 'node:worker_threads'

if (!isMainThread && threadName === 'io 2') {
  const post = parentPort!.postMessage.bind(parentPort)
  let refused = false
  parentPort!.postMessage = message => {
    if (message.kind === 'prepared' && !refused) {
      refused = true
      post({ ...message, error: { code: 'session-failed', message: 'this thread has no room left' } })
    } else post(message)
  }
}
