import type { Session } from './session.ts'
import type { Thread } from './thread.ts'

/** How long the end of the process may wait for runs in the runtime. */
const EXIT_PATIENCE_MS = 5_000

/**
 * Lets the process end with the code that it is meant to end with. Whatever thread is inside the runtime when Node tears
 * it down aborts the process instead, with another code (see `Thread.dismiss`), and one that hangs keeps Node waiting for
 * ever. So this, called in the `exit` event, waits a little for the threads that work, and not at all for those that were
 * left behind; if one is inside still, the process becomes another one whose only act is to exit with `code`. Replacing
 * a process ends its threads in the kernel, without asking them: of all ways out, the one that keeps the exit code.
 */
export function endInOrder(code: number, sessions: readonly Session[], leftBehind: Iterable<Thread>): void {
  const deadline = performance.now() + EXIT_PATIENCE_MS
  const left = () => Math.max(0, deadline - performance.now())
  const idle = sessions.map(session => session.awaitRuntime(left()))
  for (const thread of leftBehind) idle.push(thread.awaitRuntime(0))
  if (idle.includes(false)) exitNow(code)
}

function exitNow(code: number): void {
  try {
    process.execve?.(process.execPath, [process.execPath, '--eval', `process.exit(${code})`], {})
  } catch {
    // This platform has no such thing.
  }
  process.kill(process.pid, 'SIGKILL')
}
