import { awaitOutside, type RunPhase } from './run-phase.ts'

/** How long the end of the process may wait for runs in the runtime. */
const EXIT_PATIENCE_MS = 5_000

/**
 * Every session thread of this process that has not ended, by its phase, and whether it is known to hang. One list and one
 * `exit` listener for all pools, so that a pool which was closed leaves none behind, though a thread of it may hang still.
 */
const threads = new Map<RunPhase, { hangs: boolean }>()

/** A thread is about to begin. */
export function threadBegins(phase: RunPhase): void {
  if (threads.size === 0) process.on('exit', endInOrder)
  threads.set(phase, { hangs: false })
}

/** The end of the process need not wait for this thread: it hangs. */
export function threadHangs(phase: RunPhase): void {
  const thread = threads.get(phase)
  if (thread !== undefined) thread.hangs = true
}

/** A thread has ended. */
export function threadEnded(phase: RunPhase): void {
  threads.delete(phase)
  if (threads.size === 0) process.off('exit', endInOrder)
}

/**
 * Lets the process end with the code that it is meant to end with. Whatever thread is inside the runtime when Node tears
 * it down aborts the process instead, with another code (see `Thread.dismiss`), and one that hangs keeps Node waiting for
 * ever. So this, called in the `exit` event, waits a little for the threads that work, and not at all for those that
 * hang; if one is inside still, the process becomes another one whose only act is to exit with `code`. Replacing
 * a process ends its threads in the kernel, without asking them: of all ways out, the one that keeps the exit code.
 */
function endInOrder(code: number): void {
  const deadline = performance.now() + EXIT_PATIENCE_MS
  const left = () => Math.max(0, deadline - performance.now())
  const outside = [...threads].map(([phase, { hangs }]) => awaitOutside(phase, hangs ? 0 : left()))
  if (outside.includes(false)) exitNow(code)
}

function exitNow(code: number): void {
  try {
    process.execve?.(process.execPath, [process.execPath, '--eval', `process.exit(${code})`], {})
  } catch {
    // This platform has no such thing.
  }
  process.kill(process.pid, 'SIGKILL')
}
