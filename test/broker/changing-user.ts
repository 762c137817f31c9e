// Loaded into a worker before anything else (node --import). The test says as whom it goes on, so that file permissions apply to
// a worker of root's as well.
import { isMainThread } from 'node:worker_threads'

if (isMainThread && process.geteuid!() === 0) {
  process.on('message', uid => {
    process.seteuid!(uid as number)
    process.send!(uid)
  })
  process.channel?.unref()
}
