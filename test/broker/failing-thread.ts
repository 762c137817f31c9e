// Loaded into a worker before anything else (node --import), in every thread. Once the test sends a message, the second I/O
// thread throws where nobody catches it.
import { BroadcastChannel, isMainThread, threadName } from 'node:worker_threads'

const channel = new BroadcastChannel('failing-thread')
channel.unref()
if (isMainThread) {
  process.on('message', message => channel.postMessage(message))
  process.channel?.unref()
} else if (threadName === 'io 2') {
  channel.onmessage = () =>
    setImmediate(() => {
      throw new TypeError('nothing is as it was')
    })
}
