// The process between us and a server we start: it outlives us by a moment, so that the server and its folder never do.
//
//   node guardian.ts FOLDER
//
// Its parent forks it with an IPC channel (see guarded.ts). The server is a child of the guardian, and neither is in
// the parent's process group: Ctrl-C in a terminal reaches the parent alone, which then drains before it stops the server.
// When the channel closes, because the parent asked for it or because it is dead, SIGKILL included, the guardian kills
// the server, removes FOLDER and exits. There is no other way out, so there is one clean-up and it is always the same.

import { type ChildProcess, spawn } from 'node:child_process'
import { openSync, rmSync } from 'node:fs'
import type { FromGuardian, ToGuardian } from './guarded.ts'

const folder = process.argv[2]!
let server: ChildProcess | undefined

process.on('message', (message: ToGuardian) => {
  if (message.type === 'start') start(message.command, message.args, message.logFile)
  else server?.kill(message.signal)
})

process.on('disconnect', () => {
  if (server === undefined) return cleanUp()
  server.once('exit', cleanUp)
  server.kill('SIGKILL')
})

// A stop of the whole group or a closing terminal is the parent's business; its death closes the channel.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

function start(command: string, args: readonly string[], logFile: string): void {
  const log = openSync(logFile, 'w')
  const child = spawn(command, args, { stdio: ['ignore', log, log] })
  server = child
  child.once('spawn', () => tell({ type: 'started', pid: child.pid! }))
  child.once('error', error => exited(error.message))
  child.once('exit', (code, signal) => exited(signal === null ? `exit code ${code}` : `signal ${signal}`))
}

function exited(reason: string): void {
  server = undefined
  tell({ type: 'exited', reason })
}

function tell(message: FromGuardian): void {
  // A dead parent is no error here: 'disconnect' is on its way.
  if (process.connected) process.send!(message, () => {})
}

function cleanUp(): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  process.exit(0)
}
