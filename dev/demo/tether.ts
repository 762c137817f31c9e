// Loaded into a replica before anything else (node --import): ends it, by SIGKILL, when its standard input ends. The demo
// holds the other end of that pipe, so a replica cannot outlive it, however the demo ends.

import { isMainThread } from 'node:worker_threads'

// Worker threads are started with the options of their process, this one included.
if (isMainThread) {
  process.stdin.on('close', () => process.kill(process.pid, 'SIGKILL'))
  process.stdin.resume()
  // Waiting for this is no reason to stay.
  ;(process.stdin as NodeJS.ReadStream).unref()
}
