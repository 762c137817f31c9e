/** A session thread that dies, as from `process.exit` in a library, when it is asked to run exactly 13 rows. */
import { parentPort } from 'node:worker_threads'
import type { SessionRequest } from '../../src/inference/messages.ts'

await import('../../src/inference/session-thread.ts')

parentPort!.on('message', (request: SessionRequest) => {
  if (request.kind === 'run' && request.rows === 13) process.exit(7)
})
